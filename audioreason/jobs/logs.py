"""The end of a log, however long it is, and metrics as they come. Never reads a whole log."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

EARLIER = "log.1.txt"  # what a log was before it grew too long; one is kept
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+(.*)", re.S
)
_BLOCK = 1 << 16
_MOST_READ = 8 << 20  # bytes from the end in which a search looks
_LONGEST_LINE = 4000  # characters shown of one line


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; where it does not say (a traceback), `time` is empty and `level` that of the line before."""

    time: str
    level: str
    text: str


def tail(path: Path, lines: int = 200, level: str = "", search: str = "") -> list[LogLine]:
    """The last `lines` lines that are of `level` or worse and contain `search` (any case), oldest first.

    Looks through at most 8 MB from the end; an unreadable or missing file gives nothing.
    """
    lowest = LEVELS.index(level.upper()) if level.upper() in LEVELS else 0
    needle = search.casefold()
    wanted = _BLOCK
    while True:
        data, complete = _end_of(path, wanted)
        found = [
            line
            for line in _parsed(data, complete)
            if LEVELS.index(line.level) >= lowest and needle in line.text.casefold()
        ]
        if len(found) > lines or complete or wanted >= _MOST_READ:
            return found[-lines:] if lines > 0 else []
        wanted = min(wanted * 8, _MOST_READ)


def read_metrics(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Metrics recorded behind byte `offset`, and the offset for the next call. A torn last line waits.

    If the file is shorter than `offset` (a torn line was cut, or another file) it is read from its start.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = offset if offset <= size else 0
            file.seek(start)
            data = file.read(size - start)
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    rows = [orjson.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
    return rows, start + len(whole)


def _end_of(path: Path, wanted: int) -> tuple[bytes, bool]:
    """The last `wanted` bytes of a log and of the one before it, and whether that is all there is."""
    data, complete = _end_of_file(path, wanted)
    if not complete:
        return data, False
    earlier, complete = _end_of_file(path.with_name(EARLIER), wanted - len(data))
    return earlier + data, complete


def _end_of_file(path: Path, wanted: int) -> tuple[bytes, bool]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - wanted))
            return file.read(wanted), size <= wanted
    except OSError:
        return b"", True


def _parsed(data: bytes, complete: bool) -> list[LogLine]:
    raw = data.split(b"\n")
    if not complete:
        raw = raw[1:]  # the first is the end of a line
    if raw and not raw[-1]:
        raw.pop()
    level, found = "INFO", []
    for line in raw:
        text = line.decode("utf-8", "replace").rstrip("\r")
        if match := _LINE.match(text):
            level = match[2]
            found.append(LogLine(match[1], level, match[3][:_LONGEST_LINE]))
        elif text:
            found.append(LogLine("", level, text[:_LONGEST_LINE]))
    return found
