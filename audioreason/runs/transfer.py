"""Predictions in from elsewhere and out to other tools: MMAR's submission form, logs, CSV, Parquet.

Knows those formats; an imported file becomes a finished run like any other.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from audioreason import answers
from audioreason.errors import ItemError, RunError
from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset, Item, load_dataset
from audioreason.items.guard import benchmark_note
from audioreason.items.rows import COLUMNS, read_table
from audioreason.items.splits import split_of
from audioreason.items.tables import is_table
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
from audioreason.wording import counted
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
    """Make a finished run of a file of predictions: a table (JSON, JSONL, CSV) with `id`, `answer_prediction`
    and `thinking_prediction` (optional) or the names that MMAU's, MMAR's and other scripts give these, an
    object of answers by id, several candidates an item, an Inspect log, or lmms-eval's samples.

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
        f"{counted(len(predictions), 'prediction')} imported as {record.run_id}.",
        *_remark(unknown, f"left out, with an id that {dataset} does not have"),
        *_remark(duplicates, "given more than once; the first of each counts"),
        *_remark(missing, f"of the {len(data.items)} items of {dataset} without a prediction"),
    )
    if samples > 1 and temperature is None:
        remarks += ("The file does not say at which temperature it was sampled; 1 is noted.",)
    return ImportOutcome(record.run_id, len(predictions), unknown, missing, duplicates, remarks)


def export_run(workspace: Workspace, run_id: str, format: str, path: Path, *, excel: bool = False) -> int:
    """Write a run's predictions to `path`; returns how many.

    `mmar`: the challenge's JSONL, one line per item (its first sample, left out after a server error) with
    the text that the official rule is applied to. `inspect`: a log for `inspect view`. `csv` and `parquet`:
    every prediction with its scores; CSV cells that a spreadsheet would run as a formula get a leading
    apostrophe. With `excel`, CSV begins with a byte order mark (BOM): without it Excel takes UTF-8 for
    another encoding.

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
    write_atomic(path, ("\ufeff" if excel else "") + text)
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
        parsed = answers.parse(
            answers.RawResponse(prediction.content, prediction.reasoning, prediction.finish_reason), sections
        )
        yield {
            "id": prediction.item_id,
            "thinking_prediction": parsed.thinking,
            "answer_prediction": parsed.answer,
        }


# column -> names that people give it, best first; `answer` itself is the gold choice in benchmarks' own files
_IDS = COLUMNS["id"]
_ANSWERS = (
    *(
        "answer_prediction",
        "model_prediction",
        "model_output",
        "prediction",
        "model_answer",
        "model_response",
    ),
    *("response", "predicted_answer", "prediction_text", "pred", "generated_text", "generated_answer"),
    *("generation", "completion", "output_text", "output", "raw_output", "full_response", "answer_text"),
)
_THOUGHTS = (
    *(
        "thinking_prediction",
        "reasoning_prediction",
        "model_thinking",
        "model_reasoning",
        "reasoning_content",
    ),
    *("reasoning", "thoughts"),
)
_CANDIDATES = ("candidates", "samples", "generations")  # several answers to one item
_SAMPLE = ("sample", "sample_index", "epoch", "shot_index", "candidate")
_HINT = "Nothing was imported. Each entry needs id and answer_prediction, and may have thinking_prediction."


def _submitted(file: Path, data: Dataset) -> tuple[Told, ...]:
    """What a table of predictions holds: MMAR's submission form, or one with other names for its columns."""
    known = {item.id: item for item in data.items}
    found: list[Prediction] = []
    for where, row in _rows(file):
        found += _predictions(where, row)
    named = [replace(one, item_id=_known_id(one.item_id, known)) for one in found]
    return tuple(Told(one.item_id, known.get(one.item_id), one) for one in named)


def _known_id(name: str, known: Mapping[str, Item]) -> str:
    """The id without the `.0` that pandas writes into a column with gaps, where the dataset has that one."""
    whole = name.removesuffix(".0")
    return whole if name not in known and whole in known else name


def _rows(file: Path) -> Iterator[tuple[str, Any]]:
    """Place and value of each entry of a table."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror or error}).", "Check the path.") from error
    try:
        rows: Sequence[Any] = read_table(file.name if is_table(file) else f"{file.name}.jsonl", raw)
    except ItemError as error:
        raise RunError(
            error.message.replace(file.name, str(file), 1), f"Nothing was imported. {error.hint}"
        ) from error
    if len(rows) == 1 and not _first(rows[0], (*_IDS, *_ANSWERS)):
        (one,) = rows
        if len(one) > 1 and all(isinstance(value, str | None) for value in one.values()):  # answers by id
            rows = [{"id": key, "answer_prediction": value} for key, value in one.items()]
    _refuse_other(file, rows)
    lines = [number for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    one_a_line = len(lines) == len(rows) and not raw.lstrip().startswith(b"[")
    for number, row in enumerate(rows, 1):
        yield f"{file}, line {lines[number - 1]}," if one_a_line else f"{file}, entry {number},", row


def _refuse_other(file: Path, rows: Sequence[Any]) -> None:
    """Name what a file is that holds something else than predictions, where that can be told.

    Raises:
        RunError: if it is results of several models, or a training set.
    """
    if not rows or not isinstance(rows[0], Mapping):
        return
    first = rows[0]
    if isinstance(first.get("summary"), Mapping) and isinstance(first.get("results"), list):
        models = ", ".join(f"{row.get('id')} ({len(row.get('results') or ())} answers)" for row in rows)
        raise RunError(
            f"{file} holds evaluation results of {counted(len(rows), 'model')}: {models}.",
            "Nothing was imported. Give one model's `results` as a list of its own.",
        )
    training = (
        "conversations" in first or "messages" in first or {"sound", "question", "answer"} <= set(first)
    )
    if (training and not _first(first, (*_ANSWERS[:-1], *_CANDIDATES))) or (
        "audio_dir" in first and "answer" in first
    ):
        raise RunError(
            f"{file} is a training set ({counted(len(rows), 'example')} with {', '.join(list(first)[:8])}),"
            f" not predictions.{benchmark_note(rows)}",
            "Nothing was imported. To look at its questions: audioreason data import folder",
        )


def _predictions(where: str, row: Any) -> list[Prediction]:
    """The predictions of one entry: one, or one a candidate."""
    key = _first(row, _IDS) if isinstance(row, Mapping) else None
    if key is None or isinstance(row[key], Mapping | list):
        found = (
            f" It has {', '.join(map(str, list(row)[:12])) or 'nothing'}." if isinstance(row, Mapping) else ""
        )
        raise RunError(f"{where} has no id.{found}", _HINT)
    name = str(int(row[key])) if isinstance(row[key], float) and row[key].is_integer() else str(row[key])
    several = _first(row, _CANDIDATES)
    if several is not None and isinstance(row[several], list):
        return [_one(f"{where} candidate {n},", name, n - 1, one) for n, one in enumerate(row[several], 1)]
    sample = _first(row, _SAMPLE)
    place = str(row[sample]) if sample else "0"
    number = int(place) - (sample == "epoch") if place.isdecimal() else 0
    answer = _first(row, _ANSWERS)
    if answer is not None and isinstance(row[answer], list) and row[answer]:
        return [_one(where, name, n, {**row, answer: one}) for n, one in enumerate(row[answer])]
    return [_one(where, name, max(number, 0), row)]


def _one(where: str, name: str, sample: int, value: Any) -> Prediction:
    """One prediction: a text, or an object with an answer and perhaps its thoughts."""
    row: Mapping[str, Any] = value if isinstance(value, Mapping) else {"answer_prediction": value}
    answer, thoughts = _first(row, _ANSWERS), _first(row, _THOUGHTS)
    if answer is None:
        gold = " Its `answer` is taken for the right choice, not for the model's." if "answer" in row else ""
        raise RunError(
            f"{where} has no answer_prediction. It has {', '.join(map(str, list(row)[:12]))}.{gold}", _HINT
        )
    # a whole reply is better than what somebody cut out of it, and holds its own thoughts
    raw = row.get("raw_output")
    if isinstance(raw, str) and raw.strip():
        answer, thoughts = "raw_output", None
    texts = [row[key] if key is not None else None for key in (answer, thoughts)]
    for key, text in zip((answer, thoughts), texts, strict=True):
        if not isinstance(text, str | None):
            raise RunError(f"{where} has a {key} that is not text: {str(text)[:60]}.", _HINT)
    return Prediction(
        name,
        sample,
        content=texts[0],
        reasoning=texts[1],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of some columns that a row has, with something in it if any of them has."""
    there = {str(key).strip().lower(): key for key in reversed(list(row))}
    found = [there[name] for name in names if name in there]
    return next((key for key in found if row[key] is not None), found[0] if found else None)


def _remark(ids: tuple[str, ...], sentence: str) -> Iterator[str]:
    if ids:
        rest = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        named = ", ".join(ids[:_SHOWN]) + rest
        yield f"{len(ids)} {sentence}: {named}."
