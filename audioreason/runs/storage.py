"""How predictions lie on disk: JSONL while a run lives, Parquet once it is finished, and both merged.

    predictions.jsonl     one JSON object a line, append-only; the last line may be torn
    predictions.parquet   every (item, sample) once, in the order of the items

Every Parquet file that the lab writes carries a seal: the checksum of all its bytes, and a note if there is
one, between its last page and its footer, where Parquet allows anything and readers look at nothing.

Both may be there: a finished run whose errors are being retried, or a crash between two steps of
finishing. What the JSONL says then comes later and supersedes (`supersedes`). Knows nothing about scores.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from audioreason.errors import RunError
from audioreason.runs.record import Prediction
from audioreason.workspace import disk_error

Key = tuple[str, int]
Stamp = tuple[int, int, int, int]

_SEAL = b"audioreason sha256"
_DIGEST = 32  # bytes of a checksum
_BLOCK = 1 << 20

# Rows per group: a page of 50 scattered rows reads 50 groups, so they are small (DuckDB reads whole groups);
# 4,096 is two of DuckDB's vectors, and scanning a small column over 250 groups still costs milliseconds.
ROW_GROUP = 4096

PREDICTIONS = pa.schema(
    [
        ("item_id", pa.string()),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
        ("content", pa.string()),
        ("reasoning", pa.string()),
        ("finish_reason", pa.string()),
        ("error", pa.string()),
        ("error_kind", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("seconds", pa.float64()),
        ("created", pa.string()),
        ("attempt", pa.int32()),
        ("tokens_estimated", pa.bool_()),  # runs from before it was recorded have no such column
    ]
)

# what the columns take, so that a line that somebody damaged spoils no table
_TYPES: Mapping[str, frozenset[type]] = {
    field.name: frozenset(
        {
            "string": (str, type(None)),
            "int32": (int, type(None)),
            "int64": (int, type(None)),
            "double": (float, int, type(None)),
            "bool": (bool,),
        }[str(field.type)]
    )
    for field in PREDICTIONS
} | {"item_id": frozenset({str}), "sample": frozenset({int})}
_LARGEST = 1 << 31  # seeds are below it too (`seeds`)


def supersedes(new_ok: bool, old_ok: bool) -> bool:
    """Whether a later record replaces an earlier one of the same key: always, unless an error would replace
    an answer."""
    return new_ok or not old_ok


def encode_line(prediction: Prediction) -> bytes:
    """A prediction as one line of JSON, without the newline.

    Every Unicode text and NUL survives. A lone surrogate, which no encoding can carry, becomes U+FFFD.
    """
    try:
        return orjson.dumps(prediction)
    except TypeError:
        return orjson.dumps(
            {
                name: encodable(value) if isinstance(value, str) else value
                for name, value in flat(prediction).items()
            }
        )


def flat(row: Any) -> dict[str, Any]:
    """The fields of a slotted dataclass by name, without the copies that `dataclasses.asdict` makes."""
    return {name: getattr(row, name) for name in row.__slots__}


def encodable(text: str) -> str:
    """`text` with surrogate pairs joined and each lone surrogate replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def decode_line(line: bytes) -> Prediction | None:
    """The prediction in one line; None if the line is not one."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        if (takes := _TYPES.get(name)) is None:
            continue
        kind = type(inner)
        if kind not in takes or (kind is int and not -_LARGEST <= inner < _LARGEST):
            return None
        kept[name] = inner
    return Prediction(**kept) if "item_id" in kept and "sample" in kept else None


def read_lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Byte offset and bytes of each complete line from byte `start` on; nothing if there is no file.

    A torn last line is left out: its writer has died, or is about to finish it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield offset, line
            offset += len(line)


def read_jsonl(path: Path, start: int = 0) -> Iterator[tuple[int, Prediction | None]]:
    """Byte offset and prediction of each complete line from `start` on; None for a line that is not one."""
    for offset, line in read_lines(path, start):
        yield offset, decode_line(line)


def read_at(file: BinaryIO, offset: int) -> Prediction | None:
    """The prediction in the line at a byte offset of an open JSONL file."""
    file.seek(offset)
    return decode_line(file.readline())


def read_parquet(path: Path, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, one at a time, without holding them all; without columns it does not have.

    Raises:
        RunError: if the file is not whole, or has changed since its checksum was written.
    """
    verify(path)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROW_GROUP, columns=list(columns) if columns else None):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        why = first_line(error) if path.exists() else "it is not there"
        raise RunError(
            f"{path} cannot be read ({why}).",
            "Restore the file from a copy, or delete the run's folder.",
        ) from error


class Seal(NamedTuple):
    """What a Parquet file says of itself: its note, and whether it is the file that was written."""

    note: bytes
    intact: bool


def read_seal(path: str | Path, stamp: Stamp | None = None) -> Seal | None:
    """The seal of a Parquet file; None if it has none, as those of earlier versions and other programs.

    The file is read again only after it has changed; `stamp` is its `file_stamp`, if that is known.

    Raises:
        OSError: if the file cannot be read.
    """
    return _read_seal(str(path), stamp or file_stamp(path))


def verify(path: str | Path, stamp: Stamp | None = None) -> Seal | None:
    """The seal of a file, if it has one that can be read; see `read_seal`.

    Raises:
        RunError: if the file is not the one that was written.
    """
    try:
        seal = read_seal(path, stamp)
    except OSError:
        return None  # whoever reads it says why
    if seal is not None and not seal.intact:
        raise RunError(
            f"{path} has changed since it was written: its checksum is another.",
            "Delete it: the lab makes it again from the answers."
            if Path(path).parent.name == "derived"
            else "Restore the file from a copy, or delete the run.",
        )
    return seal


def check_parquet(path: Path) -> bool:
    """Whether a Parquet file has a checksum; one that has none is read to its end.

    Raises:
        RunError: if it is not the file that was written, or cannot be read.
    """
    if verify(path) is not None:
        return True
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches(ROW_GROUP):
                pass
    except (pa.ArrowException, OSError) as error:
        raise RunError(
            f"{path} cannot be read ({first_line(error)}).",
            "Restore the file from a copy, or delete the run's folder.",
        ) from error
    return False


@functools.lru_cache(maxsize=4096)
def _read_seal(path: str, stamp: Stamp) -> Seal | None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        start = max(0, size - _BLOCK)
        end = memoryview(os.pread(fd, size - start, start))  # for most files, all of it
        footer = _footer(end)
        head = footer - _DIGEST - len(_SEAL) - 8
        if head < 0 or end[head : head + len(_SEAL)] != _SEAL:
            return None
        place = footer - _DIGEST
        note = head - int.from_bytes(end[place - 8 : place], "little")
        found = hashlib.sha256()
        for offset in range(0, start, _BLOCK):
            found.update(os.pread(fd, min(_BLOCK, start - offset), offset))
        found.update(end[:place])
        found.update(end[footer:])
        intact = note >= 0 and found.digest() == end[place:footer]
        return Seal(bytes(end[note:head]) if intact else b"", intact)
    finally:
        os.close(fd)


def _footer(end: bytes | memoryview) -> int:
    """Where the footer of a Parquet file begins in its last bytes; 0 if they are not those of one."""
    if len(end) < 12 or end[-4:] != b"PAR1":
        return 0
    return max(0, len(end) - 8 - int.from_bytes(end[-8:-4], "little"))


def file_stamp(path: str | Path) -> Stamp:
    """Inode, times of change and size: equal stamps mean that nobody has written the file meanwhile.

    Raises:
        OSError: if there is no such file.
    """
    status = os.stat(path)  # noqa: PTH116 - ten thousand paths are made of text in no time
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def stored_keys(folder: Path) -> dict[Key, bool]:
    """Every (item id, sample) that a run has recorded, and whether an answer came (False: an error)."""
    keys: dict[Key, bool] = {}
    finished = folder / "predictions.parquet"
    if finished.exists():
        for row in read_parquet(finished, ("item_id", "sample", "error")):
            keys[row["item_id"], row["sample"]] = row["error"] is None
    for _, prediction in read_jsonl(folder / "predictions.jsonl"):
        if prediction is not None:
            ok = prediction.error is None
            if supersedes(ok, keys.get(prediction.key, False)):
                keys[prediction.key] = ok
    return keys


def merged_predictions(folder: Path, order: Iterable[Key]) -> Iterator[Prediction]:
    """One prediction per recorded key: finished ones in their file's order, others as `order` says."""
    live = folder / "predictions.jsonl"
    offsets: dict[Key, tuple[int, bool]] = {}
    for offset, prediction in read_jsonl(live):
        if prediction is not None:
            ok = prediction.error is None
            if prediction.key not in offsets or supersedes(ok, offsets[prediction.key][1]):
                offsets[prediction.key] = (offset, ok)

    finished = folder / "predictions.parquet"
    with live.open("rb") if offsets else nullcontext() as file:
        if finished.exists():
            for row in read_parquet(finished, PREDICTIONS.names):
                old = Prediction(**row)
                offset, ok = offsets.pop(old.key, (-1, False))
                if file is not None and offset >= 0 and supersedes(ok, old.error is None):
                    yield _read_again(file, offset)
                else:
                    yield old
        if file is not None:
            for key in order:
                if key in offsets:
                    yield _read_again(file, offsets[key][0])


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write a whole predictions.parquet, or nothing; returns the number of rows.

    Raises:
        WorkspaceError: if the disk is full or the folder is not writable.
    """
    return write_rows(path, PREDICTIONS, map(flat, predictions))


def write_rows(
    path: Path,
    schema: pa.Schema,
    rows: Iterable[dict[str, Any]],
    note: Callable[[Path], bytes] | None = None,
) -> int:
    """Write rows as a Parquet file that appears whole or not at all; returns their number.

    `note` makes a note that the file carries (`read_seal`) from the file as it will be without it.

    Raises:
        WorkspaceError: if the disk is full or the folder is not writable.
    """
    count = 0
    with _parquet_target(path, schema, note) as write:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == ROW_GROUP:
                write(batch)
                count += len(batch)
                batch = []
        if batch or count == 0:
            write(batch)
            count += len(batch)
    return count


@contextmanager
def _parquet_target(
    path: Path, schema: pa.Schema, note: Callable[[Path], bytes] | None
) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """A function that appends a batch of rows; at the end the file is sealed, synced and takes its name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w+b") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema), ROW_GROUP)
            file.flush()
            _seal(file, note(temporary) if note else b"")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written: what went wrong there is raised already
            temporary.unlink(missing_ok=True)


def _seal(file: BinaryIO, note: bytes) -> None:
    """Put note, checksum and footer where the footer was; the checksum is of all other bytes."""
    file.seek(-8, os.SEEK_END)
    footer = file.tell() - int.from_bytes(file.read(4), "little")
    head = note + _SEAL + len(note).to_bytes(8, "little")
    found = hashlib.sha256()
    file.seek(0)
    for offset in range(0, footer, _BLOCK):
        found.update(file.read(min(_BLOCK, footer - offset)))
    end = file.read()
    found.update(head)
    found.update(end)
    file.seek(footer)
    file.write(head + found.digest() + end)


def remove_unfinished(folder: Path) -> None:
    """Delete what a writer that died left half-written; only the holder of the run's lock may."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def _read_again(file: BinaryIO, offset: int) -> Prediction:
    prediction = read_at(file, offset)
    if prediction is None:
        raise RunError(
            f"{file.name} changed while it was being read.", "Only one process may write a run; try again."
        )
    return prediction


def first_line(error: BaseException) -> str:
    """What an exception says, as far as it fits into a sentence."""
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__
