"""Rows of somebody's table to items: column names people use, choices and answers as people write them.

Pure: text in, items out. Knows nothing about folders, clips or datasets.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from audioreason.errors import ItemError
from audioreason.items.schema import Item
from audioreason.items.validate import Finding

Row = Mapping[str, Any]

# our name -> names people give the column, best first; compared in lower case with `-` and space as `_`
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "item_id", "uid", "uuid", "question_id", "qid"),
    "question": ("question", "prompt", "query", "instruction", "q"),
    "choices": ("choices", "options", "candidates", "multi_choice", "answers"),
    "answer": ("answer", "gold", "correct", "correct_answer", "label", "target", "answer_gt", "solution"),
    "audio_path": (
        "audio_path",
        "audio",
        "file",
        "file_name",
        "filename",
        "clip",
        "wav",
        "audio_file",
        "path",
    ),
    "modality": ("modality", "domain"),
    "category": ("category", "layer"),
    "sub-category": ("sub_category", "subcategory", "task", "task_name", "type"),
    "language": ("language", "lang"),
    "source": ("source",),
    "url": ("url", "source_url", "youtube_url", "link"),
    "timestamp": ("timestamp", "time", "segment"),
}
_CHOICE = re.compile(r"(?:choice|option|answer)_?([a-z]|\d{1,2})|([a-h])")
_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
_KNOWN_BY_CONSTRUCTION = ("thinking", "cue", "rubric", "family", "difficulty", "seed", "events")
_ANSWER_INDEX = ("answer_index", "answer_idx", "correct_index", "label_index")  # counted from 0


def read_table(name: str, raw: bytes) -> list[Row]:
    """The rows of a `.csv`, `.tsv`, `.json` (a list) or `.jsonl` file.

    Raises:
        ItemError: if the text is not UTF-8 or not what the name says; the message names the line.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ItemError(f"{name}, line {line}, is not UTF-8 text.", "Save the file as UTF-8.") from error
    if name.lower().endswith((".csv", ".tsv")):
        return _read_csv(name, text)
    if text.lstrip().startswith("["):
        return _rows(name, list(_json(name, 1, text)))
    return _rows(name, [_json(name, n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()])


def items_of_rows(rows: Iterable[Row], prefix: str) -> tuple[list[Item], list[Finding]]:
    """Items of rows, and a finding for each row that is none or repeats an id; both in the rows' order.

    Args:
        rows: as `read_table` gives them.
        prefix: for the ids of rows that have none (`PREFIX-00001`).
    """
    items: dict[str, Item] = {}
    findings = []
    for number, row in enumerate(rows, 1):
        name = f"{prefix}-{number:05d}"
        try:
            item = item_of_row(row, name)
        except ItemError as error:
            findings.append(
                Finding(str(row.get("id") or name), "not-an-item", "error", f"Row {number}: {error}")
            )
            continue
        if item.id not in items:
            items[item.id] = item
            continue
        same = (
            "It repeats the first one and" if items[item.id] == item else "It differs from the first one and"
        )
        findings.append(
            Finding(item.id, "duplicate-id", "error", f"Row {number} has this id again. {same} was left out.")
        )
    return list(items.values()), findings


def item_of_row(row: Row, name: str) -> Item:
    """One item of a row; `name` is its id if the row has none. Columns nobody knows are kept as they are.

    Raises:
        ItemError: if the question, the choices or the answer cannot be found.
    """
    plain = {re.sub(r"[-\s]+", "_", str(key).strip().lower()): key for key in row}
    fields: dict[str, Any] = {}
    used: set[Any] = set()
    for field, names in COLUMNS.items():
        key = next(
            (plain[column] for column in names if column in plain and _given(row[plain[column]])), None
        )
        if key is not None and key not in used:
            fields[field], used = row[key], used | {key}
    choices, from_columns = _choices(row, plain, fields.get("choices"))
    fields |= {"id": str(fields.get("id", name)), "choices": choices}
    fields["answer"] = _answer(row, plain, fields.get("answer"), choices)
    fields["question"] = str(fields.get("question", ""))
    if isinstance(fields.get("audio_path"), Mapping):  # as the datasets library writes an audio column
        fields["audio_path"] = fields["audio_path"].get("path")
    for field in (
        "audio_path",
        "modality",
        "category",
        "sub-category",
        "language",
        "source",
        "url",
        "timestamp",
    ):
        if fields.get(field) is not None:
            fields[field] = str(fields[field])
    if isinstance(row.get("cue"), str):
        fields["cue"], used = [row["cue"]], used | {"cue"}
    rest = {str(key): row[key] for key in row if key not in used | from_columns and _given(row[key])}
    return _item({**rest, **fields})


def _item(values: dict[str, Any]) -> Item:
    """An item; a column of ours that holds something else (`difficulty`: "hard") is kept as `given_NAME`."""
    try:
        return Item.model_validate(values)
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors(include_url=False)}
        if wrong <= set(_KNOWN_BY_CONSTRUCTION):
            return _item({f"given_{key}" if key in wrong else key: value for key, value in values.items()})
        first = error.errors(include_url=False)[0]
        raise ItemError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", "Correct the row.") from error


def _given(value: Any) -> bool:
    return value is not None and value != "" and value == value  # NaN is how some tools write "nothing"


def _choices(row: Row, plain: Mapping[str, str], value: Any) -> tuple[tuple[str, ...], set[str]]:
    """The choices, and the columns they came from if each has its own (choice_a, choice_b ...)."""
    if isinstance(value, str):
        value = _split(value)
    if isinstance(value, Mapping):
        value = value.get("text") if isinstance(value.get("text"), list) else list(value.values())
    if isinstance(value, list | tuple):
        return tuple(str(choice) for choice in value), set()
    columns = {
        match.group(1) or match.group(2): key
        for name, key in plain.items()
        if (match := _CHOICE.fullmatch(name))
    }
    ordered = sorted(columns, key=lambda mark: (len(mark), mark))
    found = [columns[mark] for mark in ordered if _given(row[columns[mark]])]
    if not found:
        raise ItemError(
            "no choices.", "Give a column choices (a list, or A|B|C) or columns choice_a, choice_b ..."
        )
    return tuple(str(row[key]) for key in found), set(found)


def _split(text: str) -> Any:
    """Choices in one cell: a JSON or Python list, else separated by `|`, line breaks or `;`."""
    stripped = text.strip()
    if stripped.startswith(("[", "{")) and len(stripped) < 100_000:
        for read in (orjson.loads, ast.literal_eval):
            # a choice may begin with a bracket: what neither reads is text after all
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                return read(stripped)
    for mark in ("|", "\n", ";"):
        if mark in stripped:
            return [part.strip() for part in stripped.split(mark)]
    return [stripped]


def _answer(row: Row, plain: Mapping[str, str], value: Any, choices: tuple[str, ...]) -> str:
    """The gold choice's text, from its text, its letter or (in a column that says so) its index from 0."""
    for column in _ANSWER_INDEX:
        place = str(row.get(plain.get(column, ""), ""))
        if place.isdecimal() and int(place) < len(choices):
            return choices[int(place)]
    if not _given(value):
        raise ItemError("no answer.", "Give a column answer with the right choice's text or letter.")
    text = str(value)
    if text in choices or any(choice.strip() == text.strip() for choice in choices):
        return text
    letter = _LETTER.fullmatch(text.strip())
    if letter and (index := ord(letter.group(1).upper()) - ord("A")) < len(choices):
        return choices[index]
    return text


def _read_csv(name: str, text: str) -> list[Row]:
    header = text.split("\n", 1)[0]
    delimiter = "\t" if name.lower().endswith(".tsv") else max(",;\t", key=header.count)
    limit = csv.field_size_limit(10_000_000)
    try:
        return [
            _csv_row(row)
            for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        ]
    except csv.Error as error:
        raise ItemError(f"{name} is not a table ({error}).", "Check its quotes and separators.") from error
    finally:
        csv.field_size_limit(limit)


def _csv_row(row: Mapping[str | None, Any]) -> Row:
    """A row without cells beyond the header; lists in columns of ours are read as lists."""
    cells = {key: value for key, value in row.items() if key is not None}
    lists = {key: _split(cells[key]) for key in ("cue", "rubric", "events") if _given(cells.get(key))}
    return cells | lists


def _json(name: str, line: int, text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise ItemError(f"{name}, line {line}, is not JSON ({error}).", "Correct the line.") from error


def _rows(name: str, values: list[Any]) -> list[Row]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, Mapping):
            raise ItemError(
                f"{name}, row {number}, is not an object with columns.", "Give one object an item."
            )
    return values
