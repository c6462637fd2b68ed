"""The index of finished runs, `cache/runs.json`: what a list shows of each, so that no folder need be opened.

A cache and never the truth: an entry counts only while the footprint of its run's folder is the same, and a
file that is torn, damaged, missing or of another version counts as empty. Knows nothing about tables.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from audioreason.runs.tables import RUNS, TOTALS
from audioreason.workspace import Workspace

# footprint of the folder, row of the table `runs`, rows of the table `totals`
Entry = tuple[list[Any], list[Any], list[list[Any]]]

_VERSION = f"1 {','.join(RUNS.names)} {','.join(TOTALS.names)}"


def read(workspace: Workspace) -> Mapping[str, Entry]:
    """Every entry by the id of its run."""
    try:
        checksum, _, content = _path(workspace).read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != checksum:
            return {}
        stored = orjson.loads(content)
        return dict(stored["runs"]) if stored["version"] == _VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write(workspace: Workspace, entries: Iterable[tuple[str, Entry]]) -> None:
    """Replace the index; where the disk refuses, the next look at the runs takes longer and that is all."""
    path = _path(workspace)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    content = orjson.dumps({"version": _VERSION, "runs": dict(entries)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # not synced: what a crash of the machine leaves is found out by its checksum
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _path(workspace: Workspace) -> Path:
    return workspace.cache / "runs.json"
