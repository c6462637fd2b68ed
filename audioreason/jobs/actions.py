"""What one can do to jobs: submit, plan, stop, resume, retry, duplicate, delete.

Knows nothing about who asks (a page, a command) or what a kind does.
"""

from __future__ import annotations

import glob
import json
import shlex
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audioreason.errors import JobError, WorkspaceError
from audioreason.jobs import rows as table
from audioreason.jobs.endings import ask_to_stop, end_what_is_over, members_of, settle
from audioreason.jobs.kinds import Kind, Plan, find_kind
from audioreason.jobs.processes import holds_lock, kill
from audioreason.jobs.queue import reconcile, start
from audioreason.jobs.redact import leaked
from audioreason.jobs.resuming import resumable
from audioreason.jobs.rows import Row, queue_table
from audioreason.jobs.spec import (
    CLUSTER_FILE,
    JobSpec,
    ending_on_disk,
    job_folder,
    new_job_id,
    read_spec,
    write_spec,
)
from audioreason.wording import counted
from audioreason.workspace import Workspace

_LAST_THREADS = 2.0  # seconds in which a killed process's threads let go of its files
_ACTIVE = ("queued", "running")


def submit(
    workspace: Workspace,
    kind: str,
    settings: Mapping[str, Any],
    *,
    title: str = "",
    priority: int = 0,
    after: Sequence[str] = (),
) -> str:
    """Queue a job and start it if there is room; returns its id. A matrix becomes a parent with children.

    Nothing of it exists if this process dies before the end.

    Raises:
        JobError: if the kind or a setting is unknown or wrong, holds a key, or `after` names no job.
        WorkspaceError: if the disk is full.
    """
    chosen = find_kind(kind)
    made = chosen.settings(settings)
    dumped = made.model_dump(mode="json")
    if variable := leaked(json.dumps(dumped, ensure_ascii=False)):
        raise JobError(
            f"The settings contain the value of {variable}, and settings are kept in a file.",
            "Leave the key in the environment and name its variable instead.",
        )
    parts = list(chosen.expand(made))
    if not parts:
        raise JobError(f"These settings of {kind} describe no work.", "Choose at least one of everything.")
    now = datetime.now(UTC)
    parent = spec_of(chosen, made, now=now, title=title, priority=priority, after=tuple(after))
    jobs = [parent]
    if len(parts) > 1:
        children = [
            spec_of(chosen, part, now=now, priority=priority, after=tuple(after), parent=parent.id)
            for part in parts
        ]
        jobs += [
            child.model_copy(update={"id": f"{parent.id}.{n:03d}"}) for n, child in enumerate(children, 1)
        ]
    elif parts[0] is not made:
        jobs = [parent.model_copy(update={"spec": parts[0].model_dump(mode="json")})]
    making: list[Path] = []
    try:
        with queue_table(workspace) as connection:
            for job_id in after:
                if table.row(connection, job_id) is None:
                    raise JobError(
                        f"There is no job {job_id} to wait for.", "List them: audioreason jobs list"
                    )
            for spec in jobs:
                folder = job_folder(workspace, spec.id)
                making.append(folder)
                write_spec(folder, spec)
                table.insert(connection, spec, "group" if len(jobs) > 1 and spec is parent else "queued")
    except BaseException:
        for folder in making:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    reconcile(workspace)
    return parent.id


def plan(workspace: Workspace, kind: str, settings: Mapping[str, Any]) -> Plan:
    """What such a job would do, with the command line that submits it.

    Raises:
        JobError: as `submit`.
        LabError: if what the settings name does not exist.
    """
    chosen = find_kind(kind)
    made = chosen.settings(settings)
    return replace(
        chosen.plan(made, workspace), jobs=len(chosen.expand(made)), command=command_line(chosen, made)
    )


def command_line(kind: Kind, settings: Any) -> str:
    """The command that submits these settings; what equals the default is left out."""
    values = settings.model_dump(mode="json", exclude_defaults=True)
    words = ["audioreason", "jobs", "submit", kind.name]
    for name, value in values.items():
        words += ["--set", f"{name}={_typed(value)}"]
    return shlex.join(words)


def _typed(value: Any) -> str:
    """A setting as a person would type it: text as it is, simple lists with commas, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(type(part) in (str, int, float) for part in value):
        texts = [str(part) for part in value]
        if all(text and text.strip() == text and "," not in text and text[0] != "[" for text in texts):
            return ",".join(texts)
    return json.dumps(value, ensure_ascii=False)


def stop(workspace: Workspace, job_id: str, *, now: bool = False) -> list[str]:
    """Ask a job, or all children of a matrix, to stop; `now` kills at once. Returns the ids that were asked.

    A queued job simply leaves the queue. A running one ends at its next checkpoint, at the latest after its
    grace time, when whoever reconciles kills what is left.

    Raises:
        JobError: if there is no such job, or it is over already.
    """
    with queue_table(workspace) as connection:
        active = [row for row in _members(workspace, connection, job_id) if row.state in _ACTIVE]
        if not active:
            state = _needed(workspace, connection, job_id).state
            what = "over" if state == "group" else state
            raise JobError(f"The job {job_id} is {what}; there is nothing to stop.")
        for row in active:
            if row.state == "queued":
                table.update(connection, row.id, state="stopped", reason="", ended=time.time(), wanted="run")
            else:
                ask_to_stop(connection, row, "stop")
    if now:
        for row in active:
            if row.state == "running":
                kill(members_of(workspace, row))
    reconcile(workspace)
    return [row.id for row in active]


def wait_until_over(workspace: Workspace, job_id: str, seconds: float) -> bool:
    """Reconcile until neither the job nor a child is queued or running; False if time ran out."""
    deadline = time.monotonic() + seconds
    while True:
        reconcile(workspace)
        members = [row for row in table.peek(workspace) if row.id == job_id or row.parent == job_id]
        if not any(row.state in _ACTIVE for row in members):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def resume(workspace: Workspace, job_id: str) -> list[str]:
    """Continue a job that stopped, failed or crashed, or such children of a matrix; returns the ids queued.

    Raises:
        JobError: if there is no such job, or `resuming.resumable` says that nothing of it can go on.
    """
    ended = end_what_is_over(workspace)
    with queue_table(workspace) as connection:
        settle(workspace, connection, ended)
        _members(workspace, connection, job_id)  # a job that the database lost is put back
    can = resumable(workspace, job_id)
    if not can.possible:
        raise JobError(can.why, can.hint)
    with queue_table(workspace) as connection:
        for one in can.jobs:
            row = table.row(connection, one)
            if row is not None and row.state in ("stopped", "failed", "crashed"):  # nobody was faster
                table.update(connection, one, state="queued", wanted="run", reason="", ended=None)
        start(workspace, connection)
    return list(can.jobs)


def retry(workspace: Workspace, job_id: str) -> str:
    """Submit the same settings as a new job, from the beginning; returns its id.

    Raises:
        JobError: as `submit`.
    """
    spec = duplicate(workspace, job_id)
    return submit(workspace, spec.kind, spec.spec, title=spec.title, priority=spec.priority)


def duplicate(workspace: Workspace, job_id: str) -> JobSpec:
    """The job's spec, to be edited and submitted again.

    Raises:
        JobError: if there is no such job.
    """
    return read_spec(job_folder(workspace, job_id))


@dataclass(frozen=True)
class Removal:
    """What goes when a job is deleted: job ids, their files and bytes; `keeps` says what stays."""

    jobs: tuple[str, ...]
    files: int
    bytes: int
    running: tuple[str, ...]
    keeps: str

    def sentence(self) -> str:
        """For people, before they confirm."""
        many = len(self.jobs) > 1
        what = counted(len(self.jobs), "job") if many else f"the job {self.jobs[0]}"
        stop_first = f" {len(self.running)} running will be stopped first." if self.running else ""
        size = f"{self.bytes / 1e6:.1f} MB" if self.bytes >= 100_000 else f"{self.bytes / 1e3:.1f} kB"
        return f"This deletes {what}: settings, log and metrics, {size}.{stop_first} {self.keeps}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return asdict(self) | {"sentence": self.sentence()}


def what_goes(workspace: Workspace, job_id: str) -> Removal:
    """What `delete` would remove.

    Raises:
        JobError: if there is no such job.
    """
    with queue_table(workspace) as connection:
        _needed(workspace, connection, job_id)
        members = _members(workspace, connection, job_id, whole=True)
    files = [path for row in members for path in job_folder(workspace, row.id).rglob("*") if path.is_file()]
    return Removal(
        jobs=tuple(row.id for row in members),
        files=len(files),
        bytes=sum(path.stat().st_blocks * 512 for path in files),
        running=tuple(row.id for row in members if row.state == "running"),
        keeps="Runs, datasets and adapters that it made stay.",
    )


def delete(workspace: Workspace, job_id: str, *, stop_first: bool = False) -> Removal:
    """Delete a job and its children: rows, settings, logs. What they made stays.

    Raises:
        JobError: if there is no such job, it runs and `stop_first` is not given, or it cannot be ended.
        WorkspaceError: if its folder cannot be removed.
    """
    reconcile(workspace)
    removal = what_goes(workspace, job_id)
    if removal.running and not stop_first:
        raise JobError(f"The job {job_id} is running.", "Stop it first, or say that it shall be stopped.")
    with queue_table(workspace) as connection:
        members = _members(workspace, connection, job_id, whole=True)
        for row in members:
            if row.state == "running":
                ask_to_stop(connection, row, "stop")
            elif row.state != "group":
                table.update(connection, row.id, state="deleting")  # so that nobody starts it meanwhile
    grace = max((row.grace for row in members), default=0.0)
    if removal.running and not wait_until_over(workspace, job_id, grace + 10):
        raise JobError(f"The job {job_id} cannot be stopped.", "Look at its log, and try again.")
    with queue_table(workspace) as connection:
        for row in _members(workspace, connection, job_id, whole=True):
            folder = job_folder(workspace, row.id)
            give_up = time.monotonic() + _LAST_THREADS
            while holds_lock(folder) and time.monotonic() < give_up:
                time.sleep(0.02)
            if holds_lock(folder):
                raise JobError(f"A process still works on {row.id}.", "Try again in a few seconds.")
            _remove_folder(folder)
            table.remove(connection, row.id)
    reconcile(workspace)
    return removal


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorkspaceError(f"{folder} could not be removed ({error.strerror or error}).") from error


def spec_of(
    kind: Kind,
    settings: Any,
    *,
    now: datetime,
    title: str = "",
    priority: int = 0,
    after: tuple[str, ...] = (),
    parent: str | None = None,
) -> JobSpec:
    """A new job of a kind with these settings, under an id of its own."""
    return JobSpec(
        id=new_job_id(kind.name, now),
        kind=kind.name,
        title=title or kind.label(settings) or kind.title,
        spec=settings.model_dump(mode="json"),
        spec_version=kind.version,
        priority=priority,
        needs=kind.needs(settings),
        after=after,
        preemptible=kind.preemptible,
        parent=parent,
        grace=kind.grace,
        created=now,
        folder=str(Path.cwd()),
    )


def _needed(workspace: Workspace, connection: sqlite3.Connection, job_id: str) -> Row:
    """The job's row; made again, with its children's, from the folders if the database lost it.

    Raises:
        JobError: if there is no such job.
    """
    found = table.row(connection, job_id)
    if found is None:
        spec = read_spec(job_folder(workspace, job_id))  # raises if there is no such job
        if (job_folder(workspace, job_id) / CLUSTER_FILE).exists():
            raise JobError(
                f"The job {job_id} is on a cluster.", "Use: audioreason cluster stop|resume|delete"
            )
        children = [read_spec(folder) for folder in workspace.jobs.glob(f"{glob.escape(job_id)}.*")]
        for child in (child for child in children if child.parent == job_id):
            if table.row(connection, child.id) is None:
                table.insert(connection, child, ending_on_disk(workspace, child.id))
        state: table.RowState = "group" if children else ending_on_disk(workspace, job_id)
        table.insert(connection, spec, state)
        found = table.row(connection, job_id)
    assert found is not None
    return found


def _members(
    workspace: Workspace, connection: sqlite3.Connection, job_id: str, whole: bool = False
) -> list[Row]:
    """The children of a matrix, or the job alone; `whole` includes the parent."""
    own = _needed(workspace, connection, job_id)
    children = table.rows(connection, "parent = ?", [job_id])
    if not children:
        return [own]
    return [*children, own] if whole else children
