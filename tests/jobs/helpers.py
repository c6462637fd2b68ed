"""Small things that the jobs' tests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from audioreason.jobs.processes import holds_lock
from audioreason.jobs.queue import reconcile
from audioreason.jobs.rows import peek
from audioreason.jobs.watch import JobView, job
from audioreason.workspace import Workspace


def until(condition: Callable[[], object], seconds: float = 20.0, what: str = "") -> None:
    """Wait for a condition, reconciling nothing."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what or "waited too long"
        time.sleep(0.02)


def until_state(workspace: Workspace, job_id: str, *states: str, seconds: float = 30.0) -> JobView:
    """Reconcile until the job is in one of these states."""
    deadline = time.monotonic() + seconds
    while True:
        reconcile(workspace)
        view = job(workspace, job_id)
        # a crash is seen before it is settled; what follows from it (leases, orphans) is true after
        unsettled = view.over and any(row.id == job_id and row.state == "running" for row in peek(workspace))
        if view.state in states and not unsettled:
            return view
        assert time.monotonic() < deadline, f"{job_id} is {view.state} ({view.reason}), not {states}"
        time.sleep(0.05)


def until_reason(workspace: Workspace, job_id: str, reason: str) -> None:
    """Reconcile until the job says this of itself; what others write of themselves comes a moment later."""

    def says() -> bool:
        reconcile(workspace)
        return job(workspace, job_id).reason == reason

    until(says, what=f"{job_id} does not say: {reason}")


def until_counted(workspace: Workspace, job_id: str, count: int) -> None:
    """Wait until the job `count` has written so many lines."""
    out = lines_file(workspace, job_id)
    until(lambda: out.exists() and len(out.read_bytes().splitlines()) >= count, what=f"{count} lines")


def written(workspace: Workspace, job_id: str) -> list[int]:
    """What the job `count` wrote, over all attempts."""
    return [int(line) for line in lines_file(workspace, job_id).read_bytes().splitlines()]


def lines_file(workspace: Workspace, job_id: str) -> Path:
    """Where the job `count` writes."""
    return workspace.root / f"{job_id}-lines.jsonl"


def gone(pid: int) -> bool:
    """Whether there is no such process, zombies counted as none."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def nothing_lives(workspace: Workspace) -> bool:
    """Whether no job's lock is held."""
    return not any(holds_lock(folder) for folder in workspace.jobs.iterdir())
