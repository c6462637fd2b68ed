"""Playground generations: `scratch/DATE.jsonl`, each with its full recipe; days that are over become Parquet.

Any process may append. Knows nothing about how a generation is made or scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from audioreason.errors import WorkspaceError
from audioreason.inference.endpoint import Sampling
from audioreason.items import Item
from audioreason.runs.record import DatasetRef, EndpointRef, Prediction, PromptRef
from audioreason.runs.storage import encodable, read_lines, read_parquet, write_rows
from audioreason.workspace import FileLock, JsonlWriter, Workspace, write_atomic

_LOCK_SECONDS = 10.0

# `record` is the whole generation as JSON; the other columns are what it is found by
_COMPACTED = pa.schema([("id", pa.string()), ("record", pa.string())])


class Generation(BaseModel):
    """One playground generation: what was asked of whom, and what came back.

    `item` is the question as it was asked (its choices may be empty, its dataset unknown: a recording, a
    question typed in). `error` and `error_kind` say why nothing came.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    dataset: DatasetRef | None = None
    item: Item
    prompt: PromptRef
    endpoint: EndpointRef
    sampling: Sampling
    seed: int
    content: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    error_kind: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None

    @field_validator("content", "reasoning")
    @classmethod
    def _encodable(cls, value: str | None) -> str | None:
        return None if value is None else encodable(value)

    def prediction(self) -> Prediction:
        """The response as a prediction, so that it is scored like any other."""
        return Prediction(
            self.item.id,
            seed=self.seed,
            content=self.content,
            reasoning=self.reasoning,
            finish_reason=self.finish_reason,
            error=self.error,
            error_kind=self.error_kind,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            seconds=self.seconds,
        )

    def to_line(self) -> bytes:
        """The generation as one line of JSON, without the newline; what is None is left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def append_generation(workspace: Workspace, generation: Generation) -> None:
    """Keep a generation under the day of its making (UTC); the first of a day compacts the days before.

    Raises:
        WorkspaceError: if the disk is full; earlier generations are intact.
    """
    with _locked(workspace):
        path = workspace.scratch / f"{generation.created.astimezone(UTC):%Y-%m-%d}.jsonl"
        new_day = not path.exists()
        with JsonlWriter(path) as writer:
            writer.append(generation.to_line())
        if new_day:
            _compact(workspace, keep=path)


def compact(workspace: Workspace) -> int:
    """Turn the days before today (UTC) into one Parquet file each; returns how many days.

    Raises:
        WorkspaceError: if the disk is full; the days that are left stay as they were.
    """
    with _locked(workspace):
        return _compact(workspace, keep=workspace.scratch / f"{datetime.now(UTC):%Y-%m-%d}.jsonl")


def scratch_files(workspace: Workspace) -> list[Path]:
    """The files that hold generations, oldest day first; a day's Parquet before its JSONL."""
    found = [*workspace.scratch.glob("*.parquet"), *workspace.scratch.glob("*.jsonl")]
    return sorted(found, key=lambda path: (path.stem, path.suffix != ".parquet"))


def read_generations(path: Path, start: int = 0) -> Iterator[tuple[int, int, Generation | None]]:
    """Place, place to read on from, and generation of each entry of one file; None for one that is not.

    A place is a byte offset in JSONL and a row number in Parquet; JSONL is read from byte `start` on.
    """
    for place, line in _entries(path, start):
        after = place + (len(line) if path.suffix == ".jsonl" else 1)
        try:
            yield place, after, Generation.model_validate_json(line)
        except ValidationError:
            yield place, after, None


def generations_at(path: Path, places: Collection[int]) -> dict[int, Generation]:
    """The generations at some places of one file; one that cannot be read, or has gone, is left out."""
    lines: dict[int, bytes] = {}
    try:
        if path.suffix == ".jsonl":
            with path.open("rb") as file:
                for place in places:
                    file.seek(place)
                    lines[place] = file.readline()
        else:
            lines = {place: line for place, line in _entries(path) if place in places}
    except FileNotFoundError:  # compacted or deleted a moment ago
        return {}
    found = {}
    for place, line in lines.items():
        with suppress(ValidationError):
            found[place] = Generation.model_validate_json(line)
    return found


def delete_generations(workspace: Workspace, matches: Callable[[Generation], bool]) -> int:
    """Delete every generation that `matches`, such as all made from a recording; returns how many.

    Raises:
        WorkspaceError: if the disk is full; a file is rewritten whole or not at all.
    """
    deleted = 0
    with _locked(workspace):
        for path in scratch_files(workspace):
            entries = [line for _, line in _entries(path)]
            kept = [
                line
                for line, (_, _, found) in zip(entries, read_generations(path), strict=True)
                if found is None or not matches(found)
            ]
            if len(kept) == len(entries):
                continue
            deleted += len(entries) - len(kept)
            if path.suffix == ".jsonl":
                write_atomic(path, b"".join(line.rstrip(b"\n") + b"\n" for line in kept))
            else:
                _write_compacted(path, kept)
    return deleted


def _compact(workspace: Workspace, keep: Path) -> int:
    days = 0
    for live in sorted(workspace.scratch.glob("*.jsonl")):
        if live >= keep:
            continue
        target = live.with_suffix(".parquet")
        # both exist if a crash came before the unlink below, or a process wrote past midnight
        lines = [*(_lines(target) if target.exists() else ()), *_lines(live)]
        _write_compacted(target, lines)
        live.unlink()
        days += 1
    return days


def _write_compacted(path: Path, lines: list[bytes]) -> None:
    """Write entries once each (by id); an entry that is not a generation is kept as it is."""
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines):
        text = line.rstrip(b"\n").decode("utf-8", "replace")
        try:
            name = Generation.model_validate_json(text).id
        except ValidationError:
            name = f"unreadable-{number}"
        rows[name] = {"id": name, "record": text}
    write_rows(path, _COMPACTED, rows.values())


def _lines(path: Path) -> Iterator[bytes]:
    return (line for _, line in _entries(path))


def _entries(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    if path.suffix == ".jsonl":
        yield from read_lines(path, start)
    else:
        for number, row in enumerate(read_parquet(path, ("record",))):
            yield number, row["record"].encode()


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    lock = FileLock(workspace.scratch / "lock")
    give_up = time.monotonic() + _LOCK_SECONDS
    while not lock.acquire():
        if time.monotonic() > give_up:
            raise WorkspaceError(
                f"Another process has been writing {workspace.scratch} for {_LOCK_SECONDS:g} s.",
                "Close it and try again.",
            )
        time.sleep(0.005)
    try:
        yield
    finally:
        lock.release()
