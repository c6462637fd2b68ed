"""How jobs end: which attempts are over, the end of whatever is left of them, and the sentence that says so.

Processes are ended outside any transaction, since a killed one may take seconds to go; the row is written
after. Knows nothing about what starts next.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from audioreason.jobs import rows as table
from audioreason.jobs.processes import belonging, holds_lock, is_same, kill, of_this_boot, terminate
from audioreason.jobs.rows import Row
from audioreason.jobs.spec import JobState, job_folder, read_state
from audioreason.workspace import Workspace

_START_SECONDS = 60.0  # a worker that has not taken its lock by then never will
_FULL_DISK = 4 << 20  # bytes: with less, not even a log line is sure to be written
FOLDER_GONE = "Its folder was removed while it ran. Delete it, and submit it again."


@dataclass(frozen=True)
class Ended:
    """An attempt that is over; `gone` is False if a process of it cannot be ended."""

    token: str
    gone: bool


def end_what_is_over(workspace: Workspace) -> dict[str, Ended]:
    """Kill what is left of every attempt that is over, or was told to stop long ago; by job id.

    Waits for the killed to go, so it is never called inside a transaction. Two may do so at once.

    Raises:
        WorkspaceError: if lab.sqlite cannot be used.
    """
    # a worker has become a reconciler by the time it is over, unless it died: ending it loses nothing
    return {
        row.id: Ended(row.token, gone=not kill(members_of(workspace, row)))
        for row in table.peek(workspace)
        if row.state == "running" and is_over(workspace, row)
    }


def is_over(workspace: Workspace, row: Row) -> bool:
    """Whether nothing useful comes from a running row's attempt any more."""
    now = time.time()
    if row.stop_asked is not None and now > row.stop_asked + row.grace:
        return True
    folder = job_folder(workspace, row.id)
    if holds_lock(folder):
        return False
    # who asks is a reconciler, though it may have been this job's worker until just now
    lives = is_same(row.pid, row.started) and row.pid != os.getpid()
    if folder_gone(workspace, row):
        return not lives  # its lock went with the folder
    return own_state(workspace, row) is not None or not lives or now - (row.began or 0) > _START_SECONDS


def folder_gone(workspace: Workspace, row: Row) -> bool:
    """Whether somebody removed the job's folder."""
    return not (job_folder(workspace, row.id) / "job.json").exists()


def own_state(workspace: Workspace, row: Row) -> JobState | None:
    """What the present attempt wrote of itself; None if it wrote nothing."""
    state = read_state(job_folder(workspace, row.id))
    return state if state is not None and state.token == row.token else None


def members_of(workspace: Workspace, row: Row) -> list[psutil.Process]:
    """Every process of a job's present attempt but the caller."""
    state = own_state(workspace, row)
    return belonging(row.token, row.pid, row.started, state.clock if state else None)


def settle(workspace: Workspace, connection: sqlite3.Connection, ended: Mapping[str, Ended]) -> None:
    """Write how each attempt ended that `end_what_is_over` has cleared away."""
    for row in table.rows(connection, "state = 'running'"):
        found = ended.get(row.id)
        if found is None or found.token != row.token:
            if row.stop_asked is None and folder_gone(workspace, row):
                ask_to_stop(connection, row, "stop")
        elif found.gone:
            _settle_one(workspace, connection, row)
        else:
            table.update(
                connection, row.id, reason="A process of this job cannot be ended; its GPUs stay taken."
            )


def ask_to_stop(connection: sqlite3.Connection, row: Row, wanted: table.Wanted) -> None:
    """Send SIGTERM to a running job once, and remember since when it should stop; a stop outranks a pause."""
    if row.stop_asked is None:
        terminate(row.pid, row.started)
        table.update(connection, row.id, wanted=wanted, stop_asked=time.time())
    elif wanted == "stop" and row.wanted != "stop":
        table.update(connection, row.id, wanted="stop")


def _settle_one(workspace: Workspace, connection: sqlite3.Connection, row: Row) -> None:
    """Write how an attempt ended; a preempted job goes back into the queue."""
    state = own_state(workspace, row)
    ending: table.RowState
    if state is not None and state.ending is not None:
        ending, reason = state.ending, state.error
    elif row.ending is not None:  # its folder had no room for it
        ending, reason = row.ending, row.reason
    elif folder_gone(workspace, row):
        ending, reason = "failed", FOLDER_GONE
    elif row.wanted != "run":
        ending, reason = "stopped", "It was ended before it could say how far it came. Resume continues it."
    else:
        ending, reason = "crashed", _why_gone(workspace, row)
    if row.wanted == "pause" and ending == "stopped":
        ending, reason = "queued", "It gave its GPUs to another job and waits for them."
    at = state.ended if state is not None and state.ended is not None else time.time()
    table.update(
        connection, row.id, state=ending, wanted="run", pid=None, started=None, gpu_ids=(),
        ended=None if ending == "queued" else at, stop_asked=None, ending=None, reason=reason,
    )  # fmt: skip


def _why_gone(workspace: Workspace, row: Row) -> str:
    if shutil.disk_usage(workspace.root).free < _FULL_DISK:
        return f"It ended, and the disk of {workspace.root} is full. Free some space; resume continues it."
    if row.started is not None and not of_this_boot(row.started):
        return "The machine was restarted while it ran. Resume continues it."
    return "Its process ended without a word (killed, or out of memory). Resume continues it."
