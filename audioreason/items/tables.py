"""Table files to rows: CSV, TSV, JSON, JSONL and Parquet, in the layouts that tools write.

A JSON file may be a list of objects, one object a line, columns (`{"id": [...], ...}`, as pandas writes it),
rows by their ids (`{"q1": {...}}`), or a list inside an object (`{"data": [...]}`). Knows nothing about what
the columns mean.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioreason.errors import ItemError
from audioreason.json_text import read_json

Row = Mapping[str, Any]

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".ndjson", ".parquet")
_LARGEST = 1 << 30  # bytes of a table in memory; Parquet is read in pieces
_AT_ONCE = 64  # rows of a Parquet file in memory; each may hold a clip
_LISTS = ("data", "rows", "items", "questions", "examples", "records", "results", "predictions")
_IDS = frozenset(("id", "item_id", "question_id"))
CHAT = frozenset(("messages", "conversations", "conversation"))  # columns of a chat, turn by turn
_SHARD = re.compile(r"(.*?)[-_.]?\d+-of-(\d+)((?:-[0-9a-f]+)?\.\w+)")


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table, compressed or not."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def shards(path: Path) -> list[Path]:
    """The files that are one table with `path`: all parts of `train-00000-of-00004.parquet`, else itself."""
    part = _SHARD.fullmatch(path.name)
    if part is None:
        return [path]
    beside = ((other, _SHARD.fullmatch(other.name)) for other in path.parent.iterdir())
    return sorted(other for other, found in beside if found and found.group(1, 2) == part.group(1, 2))


def read_files(paths: Sequence[Path]) -> tuple[int, Iterator[Row]]:
    """How many rows the parts of one table have together, and the rows, in the order of the parts.

    Raises:
        ItemError: as `read_table`, or if a file cannot be read or is larger than 1 GB.
    """
    if paths[0].name.lower().endswith(".parquet"):
        return _read_parquet(paths)
    parts = [read_table(path.name, _read(path)) for path in paths]
    return sum(map(len, parts)), (row for part in parts for row in part)


def read_table(name: str, raw: bytes) -> list[Row]:
    """The rows of a `.csv`, `.tsv`, `.json` or `.jsonl` file, or of one with `.gz` behind its name.

    Raises:
        ItemError: if the text is not UTF-8 (or UTF-16 with its mark), or not what the name says; the message
            names the line.
    """
    if name.lower().endswith(".gz"):
        name, raw = name[:-3], _unpacked(name, raw)
    text = _text(name, raw)
    if name.lower().endswith((".csv", ".tsv")):
        return _read_csv(name, text)
    start = text.lstrip()[:1]
    if start == "[":
        return _rows(name, list(_json(name, 1, text)))
    if start == "{" and (whole := _whole(text)) is not None:
        return _rows(name, rows_of(name, whole))
    return _rows(name, [_json(name, n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()])


def rows_of(name: str, value: Mapping[str, Any]) -> list[Any]:
    """The rows that one JSON object stands for; the object itself is the only row if it is no layout of rows.

    Raises:
        ItemError: if it holds several lists of rows; the message names them.
    """
    if CHAT & set(value) or (
        _is_row(value) and not all(isinstance(inner, list | Mapping) for inner in value.values())
    ):
        return [value]
    if any(isinstance(value[key], str | int) for key in _IDS & set(value)) and not set(_LISTS) & set(value):
        return [value]
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list):  # pandas, orient="split"
        return [dict(zip(map(str, columns), row, strict=False)) for row in data if isinstance(row, list)]
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)}
    tables = [key for key, inner in lists.items() if inner and all(isinstance(row, Mapping) for row in inner)]
    if len(lists) == len(value) > 1 and len({len(inner) for inner in lists.values()}) == 1:
        return _transposed({key: dict(enumerate(inner)) for key, inner in lists.items()})
    chosen = tables if len(tables) == 1 else [key for key in _LISTS if key in tables][:1]
    if chosen:
        return [_inner(row) for row in value[chosen[0]]]
    if len(tables) > 1:
        raise ItemError(
            f"{name} holds several tables: {', '.join(tables)}.", "Give a file with one of them, as a list."
        )
    inner = list(value.values())
    if len(inner) > 0 and all(isinstance(one, Mapping) and one for one in inner):
        keys = list(inner[0])
        if all(list(one) == keys for one in inner) and (
            all(key.isdecimal() for key in keys) or (len(inner) > 1 and _is_row(value))
        ):
            return _transposed(value)
        return [{"id": key, **row} for key, row in value.items()]
    return [value]


def _is_row(value: Mapping[str, Any]) -> bool:
    """Whether the keys are those of a row of questions or predictions."""
    names = {key.strip().lower() for key in value}
    return bool(names & {"question", "answer", "answer_prediction", "choices", "options"})


def _inner(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row as the hub's viewer wraps it: `{"row_idx": 0, "row": {...}}`."""
    return row["row"] if isinstance(row.get("row"), Mapping) else row


def _transposed(columns: Mapping[str, Mapping[Any, Any]]) -> list[dict[str, Any]]:
    places = list(next(iter(columns.values())))
    return [{key: column[place] for key, column in columns.items()} for place in places]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise ItemError(f"{path} is larger than 1 GB.", "Is it a table of questions? Clips go beside it.")
        return path.read_bytes()
    except OSError as error:
        raise ItemError(f"{path} cannot be read ({error.strerror or error}).", "Check the path.") from error


def _unpacked(name: str, raw: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
            text = packed.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ItemError(f"{name} cannot be unpacked ({error}).", "Copy it again.") from error
    if len(text) > _LARGEST:
        raise ItemError(f"{name} unpacks to more than 1 GB.", "Is it a table of questions?")
    return text


def _text(name: str, raw: bytes) -> str:
    if raw.startswith(b"version https://git-lfs"):
        raise ItemError(f"{name} is a Git LFS pointer, not the table.", "Fetch it with: git lfs pull")
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))  # how Excel saves "Unicode text"
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ItemError(
            f"{name}, line {line}, is not UTF-8 text.", "Save the file as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    if text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        raise ItemError(f"{name} is a web page (HTML), not a table.", "Download the file itself again.")
    return text


def _whole(text: str) -> Mapping[str, Any] | None:
    """The text as one JSON object; None if it is not one."""
    try:
        value = read_json(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Mapping) else None


def _json(name: str, line: int, text: str) -> Any:
    try:
        return read_json(text)
    except (ValueError, RecursionError) as error:
        raise ItemError(f"{name}, line {line}, is not JSON ({error}).", "Correct the line.") from error


def _rows(name: str, values: Iterable[Any]) -> list[Row]:
    rows = list(values)
    for number, value in enumerate(rows, 1):
        if not isinstance(value, Mapping):
            raise ItemError(
                f"{name}, row {number}, is not an object with columns.", "Give one object an item."
            )
    return rows


def _read_csv(name: str, text: str) -> list[Row]:
    marked = re.match(r'"?sep=(.)"?\r?\n', text)  # Excel's own first line
    if marked:
        text = text[marked.end() :]
    header = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    delimiter = marked.group(1) if marked else "\t" if name.lower().endswith(".tsv") else ""
    limit = csv.field_size_limit(10_000_000)
    try:
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=delimiter or max(",;\t", key=header.count), strict=True
        )
        # cells beyond the header have no name
        return [{key: value for key, value in row.items() if key is not None} for row in reader]
    except csv.Error as error:
        raise ItemError(f"{name} is not a table ({error}).", "Check its quotes and separators.") from error
    finally:
        csv.field_size_limit(limit)


def _read_parquet(paths: Sequence[Path]) -> tuple[int, Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def rows() -> Iterator[Row]:
        for path in paths:
            try:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(_AT_ONCE):
                        yield from batch.to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(path, error) from error

    count = 0
    for path in paths:
        try:
            count += pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
    return count, rows()


def _unreadable(path: Path, error: Exception) -> ItemError:
    try:
        with path.open("rb") as file:
            if file.read(23) == b"version https://git-lfs":
                return ItemError(
                    f"{path.name} is a Git LFS pointer, not the table.", "Fetch it with: git lfs pull"
                )
    except OSError:
        pass
    return ItemError(f"{path.name} cannot be read as Parquet ({error}).", "Fetch it again.")
