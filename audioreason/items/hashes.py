"""Content hashes of clips, remembered by path, time and size so that a clip is read once.

Knows nothing about datasets or what is in a clip.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audioreason.errors import ItemError
from audioreason.items.memory import Memory, memory

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
        raise _unreadable(path, error) from error


def clip_hashes(paths: Iterable[Path], cache: Path | None) -> list[str]:
    """SHA-256 of clips, in their order; a clip whose path, time and size are known is not read again.

    Args:
        paths: clips; one may come twice.
        cache: the workspace's cache folder (`clip-hashes.jsonl` in it), or None to remember nothing.

    Raises:
        ItemError: if a clip cannot be read.
    """
    keys = [(_key(path), path) for path in paths]
    known = memory(cache / "clip-hashes.jsonl") if cache else Memory()
    missing = {key: path for key, path in keys if known.get(key) is None}
    if len(missing) > 1:
        with ThreadPoolExecutor(_THREADS) as pool:
            known.put(dict(zip(missing, pool.map(file_hash, missing.values()), strict=True)))
    else:
        known.put({key: file_hash(path) for key, path in missing.items()})
    return [known.get(key) for key, _ in keys]


def _key(path: Path) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path's stat costs twice as much, and this runs per item
    except OSError as error:
        raise _unreadable(path, error) from error
    return f"{path}|{status.st_mtime_ns}|{status.st_size}"


def _unreadable(path: Path, error: OSError) -> ItemError:
    return ItemError(
        f"The clip {path} cannot be read ({error.strerror or error}).", "Check the file and its permissions."
    )
