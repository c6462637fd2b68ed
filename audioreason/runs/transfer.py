"""Predictions in from elsewhere and out to other tools: MMAR's submission form, logs, CSV, Parquet.

Knows those formats; an imported file becomes a finished run like any other.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from audioreason.answers import RawResponse, parse
from audioreason.errors import RunError
from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset, Item, load_dataset
from audioreason.items.splits import split_of
from audioreason.runs.cells import inert
from audioreason.runs.derive import SCORES, score_run, scored
from audioreason.runs.elsewhere import Told, inspect_log, read_log
from audioreason.runs.record import (
    Prediction,
    RunRecord,
    dataset_ref,
    git_commit,
    load_record,
    new_run_id,
    package_versions,
    run_folder,
)
from audioreason.runs.snapshot import read_items
from audioreason.runs.storage import PREDICTIONS, Key, flat, merged_predictions, write_rows
from audioreason.runs.writer import RunWriter
from audioreason.workspace import Workspace, write_atomic

FORMATS = ("mmar", "csv", "parquet", "inspect")
_SHOWN = 5  # ids named in a remark


@dataclass(frozen=True)
class ImportOutcome:
    """What became of an imported file; `remarks` are sentences for the researcher."""

    run_id: str
    imported: int
    unknown: tuple[str, ...]  # ids in the file that the dataset does not have
    missing: tuple[str, ...]  # ids of the dataset that the file does not have
    duplicates: tuple[str, ...]  # ids that the file has more than once; the first one counts
    remarks: tuple[str, ...]


def import_predictions(
    workspace: Workspace, file: Path, dataset: str, run_id: str | None = None
) -> ImportOutcome:
    """Make a finished run of a file of predictions: JSON (a list) or JSONL of objects with `id`,
    `answer_prediction` and `thinking_prediction` (optional), an Inspect log, or lmms-eval's samples.

    The run holds the items that the file answers, in the dataset's order, with their choices in the order in
    which they were asked.

    Raises:
        RunError: if the file cannot be read, is of no such form, or answers no item of the dataset.
        ItemError: if there is no such dataset.
    """
    data = load_dataset(workspace, dataset)
    log = read_log(file, data)
    told = _submitted(file, data) if log is None else log.told
    predictions: dict[Key, Prediction] = {}
    asked: dict[str, Item] = {}
    seen: Counter[Key] = Counter()
    for one in told:
        seen[one.name, one.prediction.sample] += 1
        if one.item is not None:
            predictions.setdefault(one.prediction.key, one.prediction)
            asked.setdefault(one.item.id, one.item)
    items = [asked[item.id] for item in data.items if item.id in asked]
    unknown = tuple({one.name: None for one in told if one.item is None})
    if not items:
        raise RunError(
            f"No id in {file} belongs to the dataset {dataset}"
            + (f" (the first is {unknown[0]!r})." if unknown else ": the file is empty."),
            "Check that the file and the dataset belong together.",
        )

    samples = 1 + max(sample for _, sample in predictions)
    temperature = log.temperature if log else None
    record = RunRecord(
        run_id=run_id or new_run_id(f"import-{file.stem}"),
        created=datetime.now(UTC),
        kind="import",
        dataset=dataset_ref(data),
        endpoint=log.endpoint if log else None,
        sampling=Sampling(temperature=1.0 if temperature is None else temperature, samples=samples)
        if samples > 1
        else None,
        n_items=len(items),
        packages=package_versions(),
        git_commit=git_commit(),
    )
    with RunWriter.create(workspace, record, items, split_of(data)) as writer:
        for item in items:
            for sample in range(samples):
                if (item.id, sample) in predictions:
                    writer.append(predictions[item.id, sample])
                else:
                    lacking = "The imported file has no answer for this sample."
                    writer.append(Prediction(item.id, sample, error=lacking, error_kind="imported"))
        writer.finish()
    score_run(workspace, record.run_id)

    missing = tuple(item.id for item in data.items if item.id not in asked)
    duplicates = tuple(name for (name, _), count in seen.items() if count > 1)
    remarks = (
        f"{len(predictions)} predictions imported as {record.run_id}.",
        *_remark(unknown, f"have an id that {dataset} does not know and were left out"),
        *_remark(duplicates, "appear more than once; the first of each counts"),
        *_remark(missing, f"of the {len(data.items)} items of {dataset} have no prediction"),
    )
    if samples > 1 and temperature is None:
        remarks += ("The file does not say at which temperature it was sampled; 1 is noted.",)
    return ImportOutcome(record.run_id, len(predictions), unknown, missing, duplicates, remarks)


def export_run(workspace: Workspace, run_id: str, format: str, path: Path) -> int:
    """Write a run's predictions to `path`; returns how many.

    `mmar`: the challenge's JSONL, one line per item (its first sample, left out after a server error) with
    the text that the official rule is applied to. `inspect`: a log for `inspect view`. `csv` and `parquet`:
    every prediction with its scores; CSV cells that a spreadsheet would run as a formula get a leading
    apostrophe.

    Raises:
        RunError: if the run is unknown or the format is.
        WorkspaceError: if `path` cannot be written.
    """
    record = load_record(workspace, run_id)
    if format not in FORMATS:
        raise RunError(f"There is no format {format!r}.", f"Choose one of {', '.join(FORMATS)}.")
    folder = run_folder(workspace, run_id)
    order = [(item.id, sample) for item in read_items(folder) for sample in range(record.samples)]
    predictions = merged_predictions(folder, order)
    if format == "mmar":
        lines = [orjson.dumps(row) for row in _submission(predictions, record.expected_sections)]
        write_atomic(path, b"".join(line + b"\n" for line in lines))
        return len(lines)
    if format == "inspect":
        scores = {(row.item_id, row.sample): row for row in scored(workspace, run_id)}
        both = {one.key: (one, scores[one.key]) for one in predictions if one.key in scores}
        write_atomic(path, inspect_log(record, list(read_items(folder)), both))
        return len(both)
    rows = _with_scores(workspace, run_id, predictions)
    if format == "parquet":
        return write_rows(path, _EXPORT, rows)
    text, count = _csv(rows)
    write_atomic(path, text)
    return count


_SCORE_COLUMNS = [field for field in SCORES if field.name not in ("item_id", "sample")]
_EXPORT = pa.schema(
    [
        *(SCORES.field(name) for name in ("item_id", "sample", "choice", "strict", "official", "outcome")),
        *(field for field in _SCORE_COLUMNS if field.name not in ("choice", "strict", "official", "outcome")),
        *(field for field in PREDICTIONS if field.name not in ("item_id", "sample")),
    ]
)


def _with_scores(
    workspace: Workspace, run_id: str, predictions: Iterable[Prediction]
) -> Iterator[dict[str, Any]]:
    scores = {(row.item_id, row.sample): row for row in scored(workspace, run_id)}
    for prediction in predictions:
        key: Key = prediction.key
        if key in scores:  # a live run may have grown between the two readings
            yield flat(prediction) | flat(scores[key])


def _csv(rows: Iterable[dict[str, Any]]) -> tuple[str, int]:
    """CSV text (RFC 4180, with the choice's text under `choice`) and its number of rows."""
    names = [name for name in _EXPORT.names if name not in ("choice", "choice_text")]
    names.insert(2, "choice")
    names.insert(6, "choice_index")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(names)
    count = 0
    for row in rows:
        shown = row | {"choice": row["choice_text"], "choice_index": row["choice"]}
        writer.writerow([_cell(shown[name]) for name in names])
        count += 1
    return buffer.getvalue(), count


def _cell(value: Any) -> str:
    """A value as a CSV cell. Text that starts like a formula is escaped (OWASP, CSV injection)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).replace("\0", "\ufffd")  # csv readers end a file at NUL
    return inert(text) if isinstance(value, str) else text


def _submission(predictions: Iterable[Prediction], sections: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for prediction in predictions:
        if prediction.sample or prediction.error is not None:
            continue
        parsed = parse(
            RawResponse(prediction.content, prediction.reasoning, prediction.finish_reason), sections
        )
        yield {
            "id": prediction.item_id,
            "thinking_prediction": parsed.thinking,
            "answer_prediction": parsed.answer,
        }


def _submitted(file: Path, data: Dataset) -> tuple[Told, ...]:
    """What a file in MMAR's submission form holds."""
    known = {item.id: item for item in data.items}
    found = (_prediction(where, value) for where, value in _objects(file))
    return tuple(Told(one.item_id, known.get(one.item_id), one) for one in found)


def _objects(file: Path) -> Iterator[tuple[str, Any]]:
    """Place and value of each object in a JSON list or in JSONL."""
    try:
        raw = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror or error}).", "Check the path.") from error
    if raw.lstrip().startswith(b"["):
        for number, value in enumerate(_json(str(file), raw), 1):
            yield f"{file}, entry {number},", value
        return
    for number, line in enumerate(raw.split(b"\n"), 1):
        if line.strip():
            yield f"{file}, line {number},", _json(f"{file}, line {number},", line)


def _json(where: str, raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RunError(f"{where} is not JSON ({error.msg}).", "Nothing was imported; correct it.") from error


def _prediction(where: str, value: Any) -> Prediction:
    hint = (
        "Nothing was imported. Each entry needs id and answer_prediction, and may have thinking_prediction."
    )
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise RunError(f"{where} has no id.", hint)
    texts = {name: value.get(name) for name in ("answer_prediction", "thinking_prediction")}
    for name, text in texts.items():
        if not isinstance(text, str | None):
            raise RunError(f"{where} has a {name} that is not text.", hint)
    if "answer_prediction" not in value:
        raise RunError(f"{where} has no answer_prediction.", hint)
    return Prediction(
        value["id"],
        content=texts["answer_prediction"],
        reasoning=texts["thinking_prediction"],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _remark(ids: tuple[str, ...], sentence: str) -> Iterator[str]:
    if ids:
        rest = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        named = ", ".join(ids[:_SHOWN]) + rest
        yield f"{len(ids)} {sentence}: {named}."
