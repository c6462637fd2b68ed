"""A memory of small computed values in a cache folder: a JSONL file that may be deleted at any time.

Append-only, so two processes may both add to it; what one does not see of the other it computes again.
Knows nothing about what is remembered.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from audioreason.errors import WorkspaceError
from audioreason.workspace import JsonlWriter


class Memory:
    """Values by key, kept in one file (or none: forgotten with the object); safe from any thread."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        if file and file.is_file():
            for line in file.read_bytes().splitlines():
                try:
                    key, value = orjson.loads(line)
                except ValueError:  # a line torn by a killed writer: its value is computed again
                    continue
                self._known[key] = value

    def get(self, key: str) -> Any:
        """The value of a key, None if it is not known."""
        return self._known.get(key)

    def put(self, found: Mapping[str, Any]) -> None:
        """Remember values that JSON can hold; where the disk refuses, in this process alone."""
        if not found:
            return
        with self._lock:
            self._known.update(found)
            if self._file:
                with suppress(WorkspaceError), JsonlWriter(self._file) as writer:
                    writer.append(b"\n".join(orjson.dumps([key, value]) for key, value in found.items()))


@functools.cache
def memory(file: Path) -> Memory:
    """The process's one memory for a file."""
    return Memory(file)
