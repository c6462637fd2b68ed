"""The table `jobs` of lab.sqlite: which jobs there are, in what order, and who runs them.

SQLite owns order; whether a worker lives is asked of its lock, how far it is of its state.json.
Knows nothing about starting or stopping anything.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

from audioreason.jobs.spec import Ending, JobSpec
from audioreason.workspace import Workspace

RowState = Literal["queued", "running", "finished", "failed", "stopped", "crashed", "group", "deleting"]
Wanted = Literal["run", "stop", "pause"]

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, parent TEXT, priority INTEGER NOT NULL,
    gpus INTEGER NOT NULL, cpus INTEGER NOT NULL, preemptible INTEGER NOT NULL, after TEXT NOT NULL,
    grace REAL NOT NULL, created REAL NOT NULL, state TEXT NOT NULL, wanted TEXT NOT NULL DEFAULT 'run',
    attempt INTEGER NOT NULL DEFAULT 0, token TEXT NOT NULL DEFAULT '', pid INTEGER, started TEXT,
    gpu_ids TEXT NOT NULL DEFAULT '[]', began REAL, ended REAL, stop_asked REAL,
    reason TEXT NOT NULL DEFAULT '', ending TEXT
)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One job as the queue sees it; times are seconds since 1970.

    `state` of a `group` is derived from its children. `token` names one attempt: its worker and everything
    that it started carry it in their environment. `pid` and `started` (see `processes.identity`)
    identify the worker; `gpu_ids` are the GPUs leased to it. `reason` says why it waits or how it ended.
    `ending` is how its worker says it ended, where the job's folder could not take that.
    """

    id: str
    kind: str
    title: str
    parent: str | None
    priority: int
    gpus: int
    cpus: int
    preemptible: bool
    after: tuple[str, ...]
    grace: float
    created: float
    state: RowState
    wanted: Wanted
    attempt: int
    token: str
    pid: int | None
    started: str | None
    gpu_ids: tuple[str, ...]
    began: float | None
    ended: float | None
    stop_asked: float | None
    reason: str
    ending: Ending | None = None


_COLUMNS = frozenset(field.name for field in fields(Row))


@contextmanager
def queue_table(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    """One transaction on lab.sqlite in which the table exists; whoever is in here is alone.

    Raises:
        WorkspaceError: if the database cannot be used.
    """
    with workspace.sqlite() as connection:
        connection.execute(_TABLE)
        if not any(column["name"] == "ending" for column in connection.execute("PRAGMA table_info(jobs)")):
            connection.execute("ALTER TABLE jobs ADD COLUMN ending TEXT")  # a lab of before made the table
        yield connection


def peek(workspace: Workspace) -> list[Row]:
    """All rows, oldest first, without waiting for whoever writes; empty if there is no queue yet.

    Raises:
        WorkspaceError: if the database cannot be read.
    """
    if not (workspace.root / "lab.sqlite").exists():
        return []
    with workspace.sqlite_reader() as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
            return []
        return rows(connection)


def rows(connection: sqlite3.Connection, where: str = "", values: Sequence[Any] = ()) -> list[Row]:
    """The rows that fulfil `where` (a constant of the code, never input), oldest first."""
    condition = f"WHERE {where}" if where else ""
    found = connection.execute(f"SELECT * FROM jobs {condition} ORDER BY created, id", values)  # noqa: S608
    return [_row(row) for row in found]


def row(connection: sqlite3.Connection, job_id: str) -> Row | None:
    """One job's row, or None."""
    found = rows(connection, "id = ?", [job_id])
    return found[0] if found else None


def insert(connection: sqlite3.Connection, spec: JobSpec, state: RowState) -> None:
    """Add a job that the table does not hold yet."""
    connection.execute(
        "INSERT INTO jobs (id, kind, title, parent, priority, gpus, cpus, preemptible, after, grace, created,"
        " state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            spec.id,
            spec.kind,
            spec.title,
            spec.parent,
            spec.priority,
            spec.needs.gpus,
            spec.needs.cpus,
            spec.preemptible,
            json.dumps(spec.after),
            spec.grace,
            spec.created.timestamp(),
            state,
        ],
    )


def update(connection: sqlite3.Connection, job_id: str, **values: Any) -> None:
    """Set columns of one job; names come from the code, never from input."""
    if isinstance(values.get("gpu_ids"), tuple):
        values["gpu_ids"] = json.dumps(values["gpu_ids"])
    columns = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE jobs SET {columns} WHERE id = ?", [*values.values(), job_id])  # noqa: S608


def remove(connection: sqlite3.Connection, job_id: str) -> None:
    """Take a job out of the table."""
    connection.execute("DELETE FROM jobs WHERE id = ?", [job_id])


def _row(found: sqlite3.Row) -> Row:
    # not one by one: a column found by its name is searched for
    values = {name: value for name, value in zip(found.keys(), found, strict=True) if name in _COLUMNS}
    values["preemptible"] = bool(values["preemptible"])
    values["after"] = _names(values["after"])
    values["gpu_ids"] = _names(values["gpu_ids"])
    return Row(**values)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "[]" else tuple(json.loads(text))
