"""Rows of somebody's table to items: column names people use, choices and answers as people write them.

Pure: rows in, items out. Knows nothing about files (`tables`), folders, clips or datasets.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from audioreason.errors import ItemError
from audioreason.items.schema import Item
from audioreason.items.tables import CHAT, Row, read_table
from audioreason.items.texts import LETTERED, split_choices
from audioreason.items.validate import Finding
from audioreason.json_text import read_json

__all__ = ["COLUMNS", "Row", "described", "item_of_row", "items_of_rows", "names_clip", "read_table"]

# our name -> names people give the column, best first; compared in lower case with `-` and space as `_`
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "item_id", "uid", "uuid", "question_id", "qid", "sample_id", "example_id", "index", "idx"),
    "question": ("question", "question_text", "prompt", "query", "instruction", "q", "problem"),
    "choices": (
        "choices",
        "options",
        "candidates",
        "multi_choice",
        "answer_choices",
        "answer_options",
        "choice_list",
        "answers",
        "choice",
        "option",
    ),
    "answer": (
        "answer",
        "gold",
        "correct",
        "correct_answer",
        "label",
        "target",
        "answer_gt",
        "solution",
        "ground_truth",
        "groundtruth",
        "gt",
        "gold_answer",
        "correct_choice",
        "correct_option",
        "answer_text",
        "answer_key",
        "reference",
    ),
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
        "audio_filename",
        "file_path",
        "filepath",
        "wav_path",
        "wav_file",
        "clip_path",
        "sound",
        "sound_path",
        "audio_id",
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
_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]?")
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Za-z]|\d{1,2})[)\].:]\s*(\S.*)", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_KNOWN_BY_CONSTRUCTION = ("thinking", "cue", "rubric", "family", "difficulty", "seed", "events")
_ANSWER_INDEX = (  # counted from 0
    "answer_index",
    "answer_idx",
    "correct_index",
    "correct_idx",
    "label_index",
    "label_idx",
    "gold_index",
    "gold_idx",
    "target_index",
    "correct_answer_index",
    "correct_choice_index",
    "correct_option_index",
)
_TEXTS = ("text", "value", "content", "choice", "option", "answer")  # of one choice as an object
_LABELS = ("label", "key", "letter", "id", "index")

Choice = tuple[str, str | None]  # its label, "" if it has none; its text, None where the table has nothing


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
            about = f" {described(row)}" if not items else ""
            findings.append(
                Finding(_id(row) or name, "not-an-item", "error", f"Row {number}: {error}{about}")
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


def _id(row: Row) -> str:
    plain = {_column(key): row[key] for key in row}
    return next((_text(plain[column]) for column in COLUMNS["id"] if _given(plain.get(column))), "")


def described(row: Row) -> str:
    """The columns of a row in a sentence, with what they look like where that is known."""
    names = ", ".join(str(key) for key in list(row)[:20]) + (", ..." if len(row) > 20 else "")
    form = next((key for key in CHAT if isinstance(row.get(key), list)), None)
    chat = " These are chat rows for training: an item needs its question, choices and answer apart."
    return f"Its columns: {names or 'none'}.{chat if form else ''}"


def names_clip(row: Row) -> bool:
    """Whether a column that names clips has something in it."""
    plain = {_column(key): row[key] for key in row}
    return any(_given(plain.get(column)) for column in COLUMNS["audio_path"])


def item_of_row(row: Row, name: str) -> Item:
    """One item of a row; `name` is its id if the row has none. Columns nobody knows are kept as they are.

    Raises:
        ItemError: if the question, the choices or the answer cannot be found, or it has several clips.
    """
    plain = {_column(key): key for key in row}
    fields: dict[str, Any] = {}
    used: set[Any] = set()
    for field, names in COLUMNS.items():
        key = next(
            (plain[column] for column in names if column in plain and _given(row[plain[column]])), None
        )
        if key is not None and key not in used:
            fields[field], used = row[key], used | {key}
    question = fields.get("question", "")
    fields["question"] = question if isinstance(question, str) else _text(question)
    choices, from_columns = _choices(row, plain, fields.get("choices"))
    if not choices:
        fields["question"], listed = split_choices(fields["question"])
        choices = [("", choice) for choice in listed]
    if not choices:
        raise ItemError(
            "no choices.", "Give a column choices (a list, or A|B|C) or columns choice_a, choice_b ..."
        )
    if "question" not in fields or (not fields["question"] and not set(plain) & set(COLUMNS["question"])):
        raise ItemError("no question.", "Give a column question.")
    fields["answer"] = _answer(row, plain, fields.get("answer"), choices)
    fields["choices"] = tuple(text for _, text in choices if text is not None)
    fields["id"] = _text(fields.get("id", name))
    fields["audio_path"] = _clip(fields.get("audio_path"))
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
            fields[field] = _text(fields[field])
    for field in ("cue", "rubric", "events"):
        if isinstance(row.get(field), str):  # a cell of a CSV file
            fields[field], used = _split(row[field]) if _given(row[field]) else (), used | {field}
    rest = {
        str(key): row[key]
        for key in row
        if key not in used | from_columns and _given(row[key]) and not isinstance(row[key], bytes)
    }
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


def _column(key: object) -> str:
    """A column's name as `COLUMNS` has it: `Audio Path`, `audio-path` and `audioPath` are `audio_path`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(key).strip())
    return re.sub(r"[-\s]+", "_", name.lower())


def _given(value: Any) -> bool:
    return value is not None and value != "" and value == value  # NaN is how some tools write "nothing"


def _text(value: Any) -> str:
    """A value as text; a whole number without the `.0` that pandas gives a column with gaps."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _clip(value: Any) -> Any:
    """The path of the one clip that a cell names: a path, a list of one, or the datasets library's object."""
    if isinstance(value, str) and value.strip().startswith("["):
        value = _split(value)
    if isinstance(value, list | tuple):
        if len(value) > 1:
            named = ", ".join(str(_clip(one)) for one in value[:3]) + (", ..." if len(value) > 3 else "")
            raise ItemError(
                f"it has {len(value)} clips ({named}).", "An item has one clip: join them into one file."
            )
        value = value[0] if value else None
    if isinstance(value, Mapping):
        value = value.get("path")
    return value if _given(value) and not isinstance(value, bytes) else None


def _choices(row: Row, plain: Mapping[str, str], value: Any) -> tuple[list[Choice], set[str]]:
    """The choices, and the columns they came from if each has its own (choice_a, choice_b ...)."""
    if isinstance(value, str):
        value = _split(value)
    if isinstance(value, Mapping):
        return _labelled(value), set()
    if isinstance(value, list | tuple):
        return [_one_choice(choice) for choice in value], set()
    columns = {
        match.group(1) or match.group(2): key
        for name, key in plain.items()
        if (match := _CHOICE.fullmatch(name))
    }
    ordered = sorted(columns, key=_mark)
    found = {mark: columns[mark] for mark in ordered if _given(row[columns[mark]])}
    return [(mark, _text(row[key])) for mark, key in found.items()], set(found.values())


def _mark(label: str) -> tuple[int, str]:
    return len(label), label.lower()


def _labelled(value: Mapping[str, Any]) -> list[Choice]:
    """Choices as an object: `{label: [...], text: [...]}`, or text by label, in the order of the labels."""
    texts = next((value[name] for name in _TEXTS if isinstance(value.get(name), list)), None)
    if texts is not None:
        given: list[Any] = next((value[name] for name in _LABELS if isinstance(value.get(name), list)), [])
        marks = [_text(label) for label in given] if len(given) == len(texts) else [""] * len(texts)
        return [(mark, _choice_text(text)) for mark, text in zip(marks, texts, strict=True)]
    mark_of = {key: re.sub(r"^[(\[]?([A-Za-z]|\d{1,2})[)\].:]?$", r"\1", str(key).strip()) for key in value}
    keys = list(value)
    if all(re.fullmatch(r"[A-Za-z]|\d{1,2}", mark) for mark in mark_of.values()):
        keys.sort(key=lambda key: _mark(mark_of[key]))
    return [(mark_of[key], _choice_text(value[key])) for key in keys]


def _one_choice(value: Any) -> Choice:
    """A choice of a list: its text, `{label, text}`, or `{"A": text}`."""
    if not isinstance(value, Mapping):
        return "", _choice_text(value)
    plain = {str(key).lower(): inner for key, inner in value.items()}
    if len(plain) == 1:
        ((mark, text),) = plain.items()
        return (mark if len(mark) < 3 else ""), _choice_text(text)
    named = next((name for name in _TEXTS if name in plain), None)
    label = next((plain[name] for name in _LABELS if name in plain), None)
    if label is None and named == "text" and "option" in plain:
        label = plain["option"]
    if named is None:
        return "", str(value)
    return (_text(label) if _given(label) else ""), _choice_text(plain[named])


def _choice_text(value: Any) -> str | None:
    return None if value is None or value != value else str(value)


def _split(text: str) -> Any:
    """Choices in one cell: a list of JSON, Python or numpy, else separated by `|`, line breaks or `;`."""
    stripped = text.strip()
    if stripped.startswith("array("):
        stripped = stripped[6:].rstrip(")").rsplit(", dtype=", 1)[0].strip()
    if stripped.startswith(("[", "{")) and len(stripped) < 100_000:
        if (spaced := _numpy_list(stripped)) is not None:
            return spaced
        for read in (read_json, ast.literal_eval):
            # a choice may begin with a bracket: what neither reads is text after all
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                return read(stripped)
    for mark in ("|", "\n", ";"):
        if mark in stripped:
            return [part.strip() for part in stripped.split(mark)]
    return [stripped]


def _numpy_list(text: str) -> list[str] | None:
    """The values of a list as numpy prints it, without commas; None if it is none."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    inside = text[1:-1]
    quoted = _QUOTED.findall(inside)
    if len(quoted) > 1 and not _QUOTED.sub("", inside).strip():
        with contextlib.suppress(ValueError, SyntaxError):
            return [str(ast.literal_eval(one)) for one in quoted]
    numbers = inside.split()
    return numbers if len(numbers) > 1 and all(map(_NUMBER.fullmatch, numbers)) else None


def _answer(row: Row, plain: Mapping[str, str], value: Any, choices: Sequence[Choice]) -> str:
    """The gold choice's text, from its text, its label or letter, or both, or (in a column that says so)
    its index from 0.

    Raises:
        ItemError: if there is none, there are several, or it is a number that no choice is.
    """
    texts = [text for _, text in choices]
    for column in _ANSWER_INDEX:
        given = row[plain[column]] if column in plain else None
        if not _given(given):
            continue
        place = str(given).strip()
        place = _text(float(place)) if _NUMBER.fullmatch(place) else place
        if not place.isdecimal():
            if _NUMBER.fullmatch(place):
                raise ItemError(
                    f"{plain[column]} is {place}.",
                    "Give a whole number, counted from 0, or the answer itself.",
                )
            continue
        if int(place) >= len(texts) or texts[int(place)] is None:
            raise ItemError(
                f"{plain[column]} is {place}, and there are {len(texts)} choices.",
                f"Count from 0: the last one is {len(texts) - 1}.",
            )
        return str(texts[int(place)])
    if not isinstance(value, str) or value not in texts:
        value = _one_answer(value)
    if not _given(value):
        raise ItemError("no answer.", "Give a column answer with the right choice's text or letter.")
    text = _text(value)
    if any(choice is not None and choice.strip() in (text.strip(), str(value)) for choice in texts):
        return text if text in texts or str(value) not in texts else str(value)
    named = _named(text.strip(), choices)
    if named is not None:
        return named
    if _NUMBER.fullmatch(text.strip()) and not isinstance(value, bool):
        number = float(text)
        equal = [one for one in texts if one and _NUMBER.fullmatch(one.strip()) and float(one) == number]
        if len(equal) == 1:
            return equal[0]
        raise ItemError(
            f"the answer is the number {text.strip()}, which is none of the choices.",
            "Write the right choice's text or letter, or name the column answer_index if it counts from 0.",
        )
    return text


def _one_answer(value: Any) -> Any:
    """The one answer that a cell holds: text, a list of one (also as text), or `{text: ...}`."""
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        read = _split(value)
        value = read if isinstance(read, list | Mapping) and read != [value.strip()] else value
    if isinstance(value, list | tuple) and value:
        if len(value) > 1:
            raise ItemError(f"it has {len(value)} answers.", "An item has one right choice.")
        return _one_answer(value[0])
    if isinstance(value, Mapping):
        return next((value[name] for name in (*_TEXTS, *_LABELS) if _given(value.get(name))), None)
    return value


def _named(text: str, choices: Sequence[Choice]) -> str | None:
    """The choice that an answer names by label or letter, by both letter and text, or without its letter."""
    texts = [text for _, text in choices]
    split = [_without_letter(text or "") for text in texts]
    own, bare = [mark for mark, _ in split], [rest for _, rest in split]
    labels = [label for label, _ in choices]
    if not all(labels):
        labels = own if all(own) else [chr(ord("A") + place) for place in range(min(len(texts), 26))]
    folded = [label.upper() for label in labels]
    distinct = len(set(folded)) == len(folded)
    letter = _LETTER.fullmatch(text)
    for label in (text, letter.group(1) if letter else text):
        if distinct and label.upper() in folded:
            return texts[folded.index(label.upper())]
    both = _LETTER_AND_TEXT.fullmatch(text)
    if both and distinct and both.group(1).upper() in folded:
        chosen = texts[folded.index(both.group(1).upper())]
        if chosen is not None and _same(both.group(2)) in (_same(chosen), bare[texts.index(chosen)]):
            return chosen
    if bare.count(_same(text)) == 1:
        return texts[bare.index(_same(text))]
    return None


def _without_letter(text: str) -> tuple[str, str]:
    """A choice's own letter or number, and its text behind that as it is compared; "" where it has none."""
    match = LETTERED.match(text)
    return (match.group(1), _same(text[match.end() :])) if match else ("", "")


def _same(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
