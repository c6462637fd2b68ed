"""The queue: `reconcile` settles what died and starts what fits. There is no daemon.

Called at submit, at a worker's end, at a page's poll and by the CLI; any number of processes may call it at
any moment and be killed in it. A worker starts inside the transaction and asks the table, after it, whether
it was meant: if the transaction never came to be, it leaves without a word.
"""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence

from audioreason.errors import JobError
from audioreason.jobs import rows as table
from audioreason.jobs.endings import ask_to_stop, end_what_is_over, own_state, settle
from audioreason.jobs.local import reap, spawn
from audioreason.jobs.machine import cpu_slots, gpu_ids
from audioreason.jobs.rows import Row, queue_table
from audioreason.jobs.spec import job_folder, read_spec
from audioreason.wording import counted
from audioreason.workspace import Workspace

_UNDONE = ("failed", "stopped", "crashed", "deleting")


def reconcile(workspace: Workspace) -> None:
    """Bring the queue in line with the world; a workspace that is read-only stays as it is.

    Raises:
        WorkspaceError: if lab.sqlite cannot be used.
        JobError: if an environment variable about this machine makes no sense.
    """
    reap()
    if not os.access(workspace.root / "lab.sqlite", os.W_OK):
        return  # there is no queue yet, or it can only be read
    ended = end_what_is_over(workspace)
    with queue_table(workspace) as connection:
        settle(workspace, connection, ended)
        start(workspace, connection)


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
        # a job that wants more slots than there are gets them all, alone
        wanted = min(row.cpus, all_slots)
        no_slot = f"It waits for a CPU slot; {max(0, slots)} of {all_slots} free."
        if not reason and row.gpus and (gpu_held or row.gpus > len(free)):
            reason = f"It waits for {counted(row.gpus, 'GPU')}; {len(free)} of {len(everything)} free."
            if not gpu_held:
                used = _in_use(workspace, running)
                way = _who_gives_way(row, running, used, len(free))
                if way and (cpu_held or wanted > slots + sum(other.cpus for other in way)):
                    cpu_held, reason = True, no_slot  # a server is not stopped for a job that waits on
                elif way:
                    for other in way:
                        ask_to_stop(connection, other, "pause")
                    slots -= row.cpus  # kept for it until the GPUs are free
                    reason = f"It waits until {', '.join(other.id for other in way)} gives its GPUs free."
                elif busy := [o.id for o in _who_gives_way(row, running, {}, len(free)) if o.id in used]:
                    reason = (
                        f"It waits for {counted(row.gpus, 'GPU')}; {used[busy[0]]} uses the server {busy[0]}."
                    )
            gpu_held = True
        if not reason and row.cpus and (cpu_held or wanted > slots):
            cpu_held, reason = True, no_slot
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
    state = own_state(workspace, row)
    return state is not None and state.ready


def _never_fits(row: Row, gpus: int) -> str:
    if row.gpus <= gpus:
        return ""
    return f"It needs {counted(row.gpus, 'GPU')}, and this machine has {gpus}."


def _who_gives_way(row: Row, running: Sequence[Row], used: Mapping[str, str], free: int) -> list[Row]:
    """Preemptible jobs of no higher priority that nobody uses, the least important first; [] if too few."""
    if row.preemptible:
        return []
    able = [
        other
        for other in running
        if other.preemptible
        and other.gpu_ids
        and other.priority <= row.priority
        and (other.id not in used or other.stop_asked is not None)
    ]
    chosen: list[Row] = []
    for other in sorted(
        able, key=lambda other: (other.stop_asked is None, other.priority, -(other.began or 0))
    ):
        if free >= row.gpus:
            break
        chosen.append(other)
        free += len(other.gpu_ids)
    return chosen if free >= row.gpus else []


def _in_use(workspace: Workspace, running: Sequence[Row]) -> dict[str, str]:
    """Which running servers other running jobs need, by the server's id: the id of one who does."""
    states = {row.id: own_state(workspace, row) for row in running}
    used: dict[str, str] = {}
    for server in (row for row in running if row.preemptible):
        state = states[server.id]
        for other in running:
            asks = states[other.id]
            # who is just starting has not said yet whom it asks
            unknown = not other.preemptible and (asks is None or asks.uses is None)
            named = state is not None and asks is not None and state.address in (asks.uses or ())
            if other.id != server.id and (server.id in other.after or unknown or named):
                used.setdefault(server.id, other.id)
    return used


def main() -> int:
    """`python -m audioreason.jobs.queue WORKSPACE`: reconcile once; what a worker becomes at its end."""
    # a late stop of the job that ended must not end this; an ignored signal would be inherited by workers
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    reconcile(Workspace.open(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
