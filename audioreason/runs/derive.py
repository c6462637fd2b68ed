"""What is derived from stored answers: `derived/scores@VERSION.parquet`, rebuilt at will, never by inference.

VERSION is the scorer's. The file carries as a note what a list of runs shows of it (`storage.Seal`). Knows
how a stored prediction meets `answers.score`; knows nothing about queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from audioreason import answers
from audioreason.answers import SCORER_VERSION
from audioreason.errors import RunError, WorkspaceError
from audioreason.items import Item
from audioreason.runs.record import Prediction, RunRecord, load_record, read_record, run_folder
from audioreason.runs.snapshot import read_items
from audioreason.runs.storage import (
    Stamp,
    file_stamp,
    flat,
    merged_predictions,
    read_parquet,
    verify,
    write_rows,
)
from audioreason.runs.tables import TOTALS, totals_of
from audioreason.workspace import Workspace

_ANSWER_CHARACTERS = 500  # of the text that was resolved; the whole text is in the prediction

SCORES = pa.schema(
    [
        ("item_id", pa.string()),
        ("sample", pa.int32()),
        ("choice", pa.int32()),  # index among the item's choices; null if none was chosen
        ("choice_text", pa.string()),
        ("rule", pa.string()),
        ("strict", pa.bool_()),  # null after a server error
        ("official", pa.bool_()),
        ("outcome", pa.string()),
        ("answer", pa.string()),  # the text that was resolved
        ("thinking_chars", pa.int32()),
        ("answer_chars", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of one prediction; `strict` and `official` are None after a server error."""

    item_id: str
    sample: int
    choice: int | None
    choice_text: str | None
    rule: str
    strict: bool | None
    official: bool | None
    outcome: str
    answer: str
    thinking_chars: int
    answer_chars: int


_FIELDS = tuple(field.name for field in fields(Scored))


def score_prediction(prediction: Prediction, item: Item, expected_sections: Sequence[str] = ()) -> Scored:
    """Score one stored prediction against its item; `expected_sections` are those its prompt asks for."""
    raw = None
    if prediction.error is None:
        raw = answers.RawResponse(prediction.content, prediction.reasoning, prediction.finish_reason)
    result = answers.score(
        raw,
        choices=item.choices,
        answer=item.answer,
        gold=item.gold,
        expected_sections=expected_sections,
        error=prediction.error,
    )
    index = result.resolution.index
    return Scored(
        item_id=prediction.item_id,
        sample=prediction.sample,
        choice=index,
        choice_text=None if index is None else item.choices[index],
        rule=result.resolution.rule,
        strict=result.strict,
        official=result.official,
        outcome=result.outcome,
        answer=result.parsed.answer[:_ANSWER_CHARACTERS],
        thinking_chars=len(result.parsed.thinking),
        answer_chars=len(result.parsed.answer),
    )


def scores_path(folder: Path, version: str = SCORER_VERSION) -> Path:
    """Where a run's scores by one version of the scorer are."""
    return folder / "derived" / f"scores@{version}.parquet"


def score_run(workspace: Workspace, run_id: str, force: bool = False) -> Path:
    """Score a finished run from its stored answers, unless this scorer has done so; returns the file.

    `force` scores again even so.

    Raises:
        RunError: if the run is unknown, not finished, or cannot be read.
        WorkspaceError: if the disk is full.
    """
    record = load_record(workspace, run_id)
    folder = run_folder(workspace, run_id)
    finished = folder / "predictions.parquet"
    target = scores_path(folder)
    while force or not target.exists():
        before = _identity(finished)
        if before is None:
            raise RunError(
                f"The run {run_id} is not finished, so its scores cannot be kept yet.",
                f"Resume it with: audioreason eval --run-id {run_id} --resume",
            )
        write_rows(target, SCORES, map(flat, _score_stored(folder, record)), partial(_totals, folder))
        if _identity(finished) == before:
            break
        target.unlink(missing_ok=True)  # the run was finished again while we read the old predictions
    return target


def score_elsewhere(folder: Path, target: Path) -> None:
    """Write the scores of a finished run outside its folder, where that cannot be written.

    Raises:
        RunError: if the run cannot be read.
        WorkspaceError: if `target` cannot be written either.
    """
    record = read_record(folder)
    write_rows(target, SCORES, map(flat, _score_stored(folder, record)), partial(_totals, folder))


def _totals(folder: Path, scores: Path) -> bytes:
    try:
        return orjson.dumps({"totals": totals_of(folder, scores)})
    except duckdb.Error:  # whoever reads the files says what is wrong
        return b""


def read_totals(scores: str | Path, stamp: Stamp | None = None) -> list[list[Any]]:
    """A scored run's totals (the columns of `tables.TOTALS` without the run's number), [] if none were kept.

    `stamp` is the `file_stamp` of the scores, if that is known.

    Raises:
        RunError: if the file of scores has changed since it was written.
    """
    seal = verify(scores, stamp)
    try:
        totals = orjson.loads(seal.note)["totals"] if seal else []
        return list(totals) if all(len(row) == len(TOTALS) - 1 for row in totals) else []
    except (ValueError, KeyError, TypeError):
        return []


def scored(workspace: Workspace, run_id: str) -> Iterator[Scored]:
    """The score of every recorded prediction: from `derived/` for a finished run, else made in memory.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    record = load_record(workspace, run_id)
    folder = run_folder(workspace, run_id)
    live = folder / "predictions.jsonl"
    kept = None
    if (folder / "predictions.parquet").exists() and not live.exists():
        with suppress(WorkspaceError):  # a disk that is full or read-only: the scores are not kept
            kept = score_run(workspace, run_id)
    verify(folder / "predictions.parquet")
    if kept is None:
        yield from _score_stored(folder, record)
    else:
        yield from (Scored(**row) for row in read_parquet(kept, _FIELDS))


def _score_stored(folder: Path, record: RunRecord) -> Iterator[Scored]:
    items = {item.id: item for item in read_items(folder)}
    order = [(item_id, sample) for item_id in items for sample in range(record.samples)]
    for prediction in merged_predictions(folder, order):
        if prediction.item_id not in items:
            raise RunError(
                f"The run {record.run_id} has a prediction for {prediction.item_id!r}, not an item of it.",
                "Restore the run's folder from a copy, or delete it.",
            )
        yield score_prediction(prediction, items[prediction.item_id], record.expected_sections)


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        return file_stamp(path)
    except FileNotFoundError:
        return None
