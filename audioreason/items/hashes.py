"""Content hashes of clips, remembered by path, time and size so that a clip is read once.

The memory is `cache/clip-hashes.jsonl`, append-only: two processes may both append, and the file may
be deleted at any time. Knows nothing about datasets or what is in a clip.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from audioreason.errors import ItemError
from audioreason.workspace import JsonlWriter

_THREADS = 4  # hashing releases the GIL; more threads only queue at the disk


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits.

    Raises:
        ItemError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ItemError(
            f"The clip {path} cannot be read ({error.strerror or error}).",
            "Check the file and its permissions.",
        ) from error


class ClipHashes:
    """`file_hash` with a memory in a cache folder; safe from any thread."""

    def __init__(self, cache: Path) -> None:
        self._store = cache / "clip-hashes.jsonl"
        self._known: dict[tuple[str, int, int], str] = {}
        self._lock = threading.Lock()
        if self._store.is_file():
            for line in self._store.read_bytes().splitlines():
                try:
                    path, modified, size, digest = orjson.loads(line)
                except ValueError:  # a line torn by a killed writer: that clip is hashed again
                    continue
                self._known[path, modified, size] = digest

    def get(self, path: Path) -> str:
        """SHA-256 of one clip; reads it only if its path, time or size is new.

        Raises:
            ItemError: if the clip cannot be read.
        """
        return self.get_all([path])[0]

    def get_all(self, paths: Iterable[Path]) -> list[str]:
        """SHA-256 of many clips, in their order; unknown ones are read by a few threads.

        Raises:
            ItemError: if a clip cannot be read.
        """
        wanted = list(paths)
        keys = [_key(path) for path in wanted]
        with self._lock:
            missing = {key: path for key, path in zip(keys, wanted, strict=True) if key not in self._known}
        if missing:
            if len(missing) == 1:
                digests = [file_hash(path) for path in missing.values()]
            else:
                with ThreadPoolExecutor(_THREADS) as pool:
                    digests = list(pool.map(file_hash, missing.values()))
            self._remember(dict(zip(missing, digests, strict=True)))
        return [self._known[key] for key in keys]

    def _remember(self, found: dict[tuple[str, int, int], str]) -> None:
        with self._lock:
            self._known.update(found)
            with JsonlWriter(self._store) as writer:
                writer.append(b"\n".join(orjson.dumps([*key, digest]) for key, digest in found.items()))


@functools.cache
def clip_hashes(cache: Path) -> ClipHashes:
    """The process's one memory of clip hashes for a cache folder."""
    return ClipHashes(cache)


def _key(path: Path) -> tuple[str, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path's stat costs twice as much, and this runs per item
    except OSError as error:
        raise ItemError(
            f"The clip {path} cannot be read ({error.strerror or error}).",
            "Check the file and its permissions.",
        ) from error
    return str(path), status.st_mtime_ns, status.st_size
