"""The queue: `reconcile` settles what died and starts what fits, in one transaction. There is no daemon.

Called at submit, at a worker's end, at a page's poll and by the CLI; any number of processes may call it at
any moment and be killed in it. A worker starts inside the transaction and asks the table, after it, whether
it was meant: if the transaction never came to be, it leaves without a word.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterable

import psutil

from audioreason.errors import JobError
from audioreason.jobs import rows as table
from audioreason.jobs.local import reap, spawn
from audioreason.jobs.machine import cpu_slots, gpu_ids
from audioreason.jobs.processes import belonging, holds_lock, is_same, kill, of_this_boot, terminate
from audioreason.jobs.rows import Row, queue_table
from audioreason.jobs.spec import JobState, job_folder, read_spec, read_state
from audioreason.workspace import Workspace

_START_SECONDS = 60.0  # a worker that has not taken its lock by then never will
_FULL_DISK = 4 << 20  # bytes: with less, not even a log line is sure to be written
_UNDONE = ("failed", "stopped", "crashed", "deleting")


def reconcile(workspace: Workspace) -> None:
    """Bring the queue in line with the world.

    Raises:
        WorkspaceError: if lab.sqlite cannot be used.
        JobError: if an environment variable about this machine makes no sense.
    """
    reap()
    if not (workspace.root / "lab.sqlite").exists():
        return
    with queue_table(workspace) as connection:
        settle(workspace, connection)
        start(workspace, connection)


def settle(workspace: Workspace, connection: sqlite3.Connection) -> None:
    """For each job that should run: if it is over, say how; if it was told to stop long ago, end it."""
    now = time.time()
    for row in table.rows(connection, "state = 'running'"):
        folder = job_folder(workspace, row.id)
        if holds_lock(folder):
            if row.stop_asked is None or now <= row.stop_asked + row.grace:
                continue
        else:
            state = read_state(folder)
            own = state is not None and state.token == row.token
            starting = not own and is_same(row.pid, row.started) and now - (row.began or 0) < _START_SECONDS
            if starting and (row.stop_asked is None or now <= row.stop_asked + row.grace):
                continue
        # the worker itself has become a reconciler by now, unless it died or must: ending it loses nothing
        if kill(members_of(workspace, row)):
            table.update(
                connection, row.id, reason="A process of this job cannot be ended; its GPUs stay taken."
            )
            continue
        state = read_state(folder)
        settle_one(workspace, connection, row, state if state and state.token == row.token else None, now)


def members_of(workspace: Workspace, row: Row) -> list[psutil.Process]:
    """Every process of a job's present attempt but the caller."""
    state = read_state(job_folder(workspace, row.id))
    own = state is not None and state.token == row.token
    return belonging(row.token, row.pid, row.started, state.clock if state and own else None)


def settle_one(
    workspace: Workspace, connection: sqlite3.Connection, row: Row, state: JobState | None, now: float
) -> None:
    """Write how an attempt ended; a preempted job goes back into the queue."""
    reason = ""
    if state is not None and state.ending is not None:
        ending: table.RowState = state.ending
        reason = state.error
    elif row.wanted != "run":
        ending = "stopped"
        reason = "It was ended before it could say how far it came. Resume continues it."
    else:
        ending = "crashed"
        reason = row.reason or _why_gone(workspace, row)
    if row.wanted == "pause" and ending == "stopped":
        ending, reason = "queued", "It gave its GPUs to another job and waits for them."
    ended = state.ended if state is not None and state.ended is not None else now
    table.update(
        connection, row.id, state=ending, wanted="run", pid=None, started=None, gpu_ids=(),
        ended=None if ending == "queued" else ended, stop_asked=None, reason=reason,
    )  # fmt: skip


def _why_gone(workspace: Workspace, row: Row) -> str:
    if shutil.disk_usage(workspace.root).free < _FULL_DISK:
        return f"It ended, and the disk of {workspace.root} is full. Free some space; resume continues it."
    if row.started is not None and not of_this_boot(row.started):
        return "The machine was restarted while it ran. Resume continues it."
    return "Its process ended without a word (killed, or out of memory). Resume continues it."


def start(workspace: Workspace, connection: sqlite3.Connection) -> None:
    """Start what fits, by priority and then age; a job that waits for a GPU keeps younger ones from it."""
    queued = table.rows(connection, "state = 'queued'")
    if not queued:
        return
    running = table.rows(connection, "state = 'running'")
    everything = gpu_ids()
    free = [gpu for gpu in everything if all(gpu not in row.gpu_ids for row in running)]
    all_slots = cpu_slots()
    slots = all_slots - sum(row.cpus for row in running)
    states = {row.id: row for row in table.rows(connection)}
    gpu_held = cpu_held = False
    for row in sorted(queued, key=lambda row: (-row.priority, row.preemptible, row.created, row.id)):
        reason = _waits_for(workspace, row, states) or _never_fits(row, len(everything))
        if not reason and row.gpus and (gpu_held or row.gpus > len(free)):
            gpu_held = True
            asked = _preempt(connection, row, running, len(free))
            reason = (
                f"It waits until {', '.join(asked)} gives its GPUs free."
                if asked
                else f"It waits for {_gpus(row.gpus)}; {len(free)} of {len(everything)} free."
            )
        # a job that wants more slots than there are gets them all, alone
        if not reason and row.cpus and (cpu_held or min(row.cpus, all_slots) > slots):
            cpu_held = True
            reason = f"It waits for a CPU slot; {max(0, slots)} of {all_slots} free."
        if not reason:
            leased = tuple(free[: row.gpus])
            reason = _launch(workspace, connection, row, leased)
            if not reason:
                free = free[row.gpus :]
                slots -= row.cpus
                continue
        if reason != row.reason:
            table.update(connection, row.id, reason=reason)


def _launch(workspace: Workspace, connection: sqlite3.Connection, row: Row, leased: tuple[str, ...]) -> str:
    """Start one job; returns why it could not be started, if so."""
    folder = job_folder(workspace, row.id)
    token = secrets.token_hex(8)
    try:
        where = read_spec(folder).folder
    except JobError as error:
        table.update(connection, row.id, state="failed", reason=str(error), ended=time.time())
        return str(error)
    try:
        pid, started = spawn(workspace, folder, token, leased, where)
    except JobError as error:
        return str(error)
    table.update(
        connection, row.id, state="running", wanted="run", token=token, attempt=row.attempt + 1, pid=pid,
        started=started, gpu_ids=leased, began=time.time(), ended=None, stop_asked=None, reason="",
    )  # fmt: skip
    return ""


def _waits_for(workspace: Workspace, row: Row, states: dict[str, Row]) -> str:
    for job_id in row.after:
        other = states.get(job_id)
        if other is None:
            return f"It waits for {job_id}, which was deleted. Delete it, or submit it anew."
        parts = (
            [child for child in states.values() if child.parent == job_id]
            if other.state == "group"
            else [other]
        )
        undone = [part for part in parts if part.state in _UNDONE]
        if undone:
            return (
                f"It waits for {undone[0].id}, which is {undone[0].state}."
                " Resume that one, or delete this one."
            )
        if not all(part.state == "finished" or _is_ready(workspace, part) for part in parts):
            return f"It waits for {job_id}."
    return ""


def _is_ready(workspace: Workspace, row: Row) -> bool:
    if row.state != "running":
        return False
    state = read_state(job_folder(workspace, row.id))
    return state is not None and state.token == row.token and state.ready


def _never_fits(row: Row, gpus: int) -> str:
    if row.gpus <= gpus:
        return ""
    return f"It needs {_gpus(row.gpus)}, and this machine has {gpus}."


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _preempt(connection: sqlite3.Connection, row: Row, running: Iterable[Row], free: int) -> list[str]:
    """Ask preemptible jobs of no higher priority to stop, the least important first; returns whom."""
    if row.preemptible:
        return []
    able = [
        other for other in running if other.preemptible and other.gpu_ids and other.priority <= row.priority
    ]
    chosen: list[Row] = []
    for other in sorted(
        able, key=lambda other: (other.stop_asked is None, other.priority, -(other.began or 0))
    ):
        if free >= row.gpus:
            break
        chosen.append(other)
        free += len(other.gpu_ids)
    if free < row.gpus:
        return []
    for other in chosen:
        ask_to_stop(connection, other, "pause")
    return [other.id for other in chosen]


def ask_to_stop(connection: sqlite3.Connection, row: Row, wanted: table.Wanted) -> None:
    """Send SIGTERM to a running job once, and remember since when it should stop; a stop outranks a pause."""
    if row.stop_asked is None:
        terminate(row.pid, row.started)
        table.update(connection, row.id, wanted=wanted, stop_asked=time.time())
    elif wanted == "stop" and row.wanted != "stop":
        table.update(connection, row.id, wanted="stop")


def main() -> int:
    """`python -m audioreason.jobs.queue WORKSPACE`: reconcile once; what a worker becomes at its end."""
    # a late stop of the job that ended must not end this; an ignored signal would be inherited by workers
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    reconcile(Workspace.open(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
