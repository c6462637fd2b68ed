"""The same jobs on a Ray cluster, through Ray Jobs: submit, look, read, stop, resume, delete.

The workspace is a folder that every node sees. `lab.sqlite` stays out of it: there is no queue of ours, Ray
orders and places, and the cluster's status is the proof that a job lives; how far it is stands in its
`state.json`, as anywhere. `AUDIOREASON_RAY_PYTHON` is the Python of the nodes that has the lab; how the
cluster is spoken to is `ray_api`'s.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from audioreason.errors import ItemError, JobError, LabError, PromptError, WorkspaceError
from audioreason.jobs.actions import spec_of
from audioreason.jobs.kinds import find_kind, kind_of
from audioreason.jobs.local import NO_TELEMETRY
from audioreason.jobs.processes import TOKEN_VARIABLE, holds_lock
from audioreason.jobs.ray_api import ADDRESS_VARIABLE, Cluster, Status, the_cluster
from audioreason.jobs.redact import leaked
from audioreason.jobs.spec import (
    CLUSTER_FILE,
    JobSpec,
    JobState,
    job_folder,
    read_spec,
    read_state,
    write_spec,
)
from audioreason.jobs.watch import JobView, with_state
from audioreason.workspace import Workspace, write_atomic

PYTHON_VARIABLE = "AUDIOREASON_RAY_PYTHON"
_PATIENCE = 20.0  # seconds for a job that ended to be seen so by its cluster
_OVER = ("SUCCEEDED", "FAILED", "STOPPED")
_UNKNOWN = "The cluster does not know this job any more: its head was started anew. Resume continues it."


class Place(BaseModel):
    """`jobs/ID/cluster.json`: where an attempt runs, and under which token it writes."""

    address: str
    submission: str
    attempt: int
    token: str
    submitted: float
    stop_asked: float | None = None


def submit(workspace: Workspace, kind: str, settings: Mapping[str, Any], *, title: str = "") -> list[str]:
    """Give a job to the cluster; a matrix becomes one job a part. Returns the ids.

    Whether the shared workspace has what it needs is seen to here; GPUs, models and servers are the nodes'.

    Raises:
        ItemError, PromptError: if a dataset or a prompt is missing; nothing was sent.
        JobError: if the kind or a setting is wrong or holds a key, or the cluster refuses; nothing stays.
        WorkspaceError: if the disk is full.
    """
    cluster = the_cluster()
    chosen = find_kind(kind)
    made = chosen.settings(settings)
    if variable := leaked(json.dumps(made.model_dump(mode="json"), ensure_ascii=False)):
        raise JobError(
            f"The settings contain the value of {variable}, and settings are kept in a file.",
            "Leave the key in the environment of the nodes and name its variable instead.",
        )
    parts = list(chosen.expand(made))
    if not parts:
        raise JobError(f"These settings of {kind} describe no work.", "Choose at least one of everything.")
    try:
        chosen.plan(made, workspace)
    except (ItemError, PromptError):
        raise
    except LabError:
        pass  # of this machine: the nodes have their own
    now = datetime.now(UTC)
    ids = []
    for part in parts:
        spec = spec_of(chosen, part, title=title, now=now)
        folder = job_folder(workspace, spec.id)
        try:
            write_spec(folder, spec)
            _start(cluster, workspace, spec, attempt=1)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        ids.append(spec.id)
    return ids


def list_jobs(workspace: Workspace) -> list[JobView]:
    """Every job of this workspace that a cluster got, newest first.

    Raises:
        JobError: if there is none, and the cluster of the environment cannot be reached.
    """
    folders = (
        [path.parent for path in workspace.jobs.glob(f"*/{CLUSTER_FILE}")] if workspace.jobs.is_dir() else []
    )
    if not folders and os.environ.get(ADDRESS_VARIABLE):
        the_cluster().everything()  # that a wrong address is said
    known: dict[str, dict[str, Status] | JobError] = {}
    views = []
    for folder in folders:
        place = read_place(folder)
        if place.address not in known:
            try:
                known[place.address] = Cluster(place.address).everything()
            except JobError as error:
                known[place.address] = error
        found = known[place.address]
        views.append(
            _view(folder, place, found if isinstance(found, JobError) else found.get(place.submission))
        )
    return sorted(views, key=lambda view: (view.created, view.id), reverse=True)


def job(workspace: Workspace, job_id: str) -> JobView:
    """One job as its cluster and its own state tell it.

    Raises:
        JobError: if no cluster got such a job.
    """
    folder, place = _placed(workspace, job_id)
    try:
        status: Status | JobError | None = Cluster(place.address).status(place.submission)
    except JobError as error:
        status = error
    return _view(folder, place, status)


def logs(workspace: Workspace, job_id: str) -> str:
    """What a job said; before it began, what Ray says of its start.

    Raises:
        JobError: if no cluster got such a job, or its cluster cannot be reached.
    """
    folder, place = _placed(workspace, job_id)
    own = folder / "log.txt"
    if own.is_file() and own.stat().st_size:
        return own.read_text(encoding="utf-8", errors="replace")
    return Cluster(place.address).logs(place.submission)


def stop(workspace: Workspace, job_id: str) -> None:
    """Ask a job to stop at its next checkpoint.

    Raises:
        JobError: if no cluster got such a job, it is over, or its cluster cannot be reached.
    """
    view = job(workspace, job_id)
    folder, place = _placed(workspace, job_id)
    if view.over:
        raise JobError(f"The job {job_id} is {view.state}; there is nothing to stop.")
    write_atomic(
        folder / CLUSTER_FILE, place.model_copy(update={"stop_asked": time.time()}).model_dump_json()
    )
    Cluster(place.address).stop(place.submission)


def resume(workspace: Workspace, job_id: str) -> None:
    """Give a job that stopped, failed or crashed to the cluster again; it goes on where it was.

    Raises:
        JobError: if no cluster got such a job, it is not over, it finished, or what it needs is gone.
    """
    view = job(workspace, job_id)
    folder, place = _placed(workspace, job_id)
    if not view.over or view.state == "finished":
        raise JobError(f"The job {job_id} is {view.state}; there is nothing to resume.")
    if holds_lock(folder):
        raise JobError(
            f"A process still works on {job_id}, though its cluster does not say so.",
            "Try again in a minute.",
        )
    spec = read_spec(folder)
    kind, settings = kind_of(spec)
    kind.check_resume(settings, workspace, job_id)
    _start(the_cluster(), workspace, spec, place.attempt + 1)


def delete(workspace: Workspace, job_id: str) -> None:
    """Remove a job that is over from the cluster and from disk; what it made stays.

    Raises:
        JobError: if no cluster got such a job, or it is not over.
        WorkspaceError: if its folder cannot be removed.
    """
    view = job(workspace, job_id)
    folder, place = _placed(workspace, job_id)
    if not view.over:
        raise JobError(f"The job {job_id} is {view.state}.", "Stop it first.")
    ray = Cluster(place.address)
    give_up = time.monotonic() + _PATIENCE
    # its last word comes a moment before its process ends
    while (
        (status := ray.status(place.submission)) and status.word not in _OVER and time.monotonic() < give_up
    ):
        time.sleep(0.2)
    ray.delete(place.submission)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise WorkspaceError(f"{folder} could not be removed ({error.strerror or error}).") from error


def read_place(folder: Path) -> Place:
    """Where a job's attempt runs.

    Raises:
        JobError: if no cluster got it, or the file cannot be read.
    """
    try:
        return Place.model_validate_json((folder / CLUSTER_FILE).read_bytes())
    except FileNotFoundError as error:
        raise JobError(
            f"No cluster got the job {folder.name}.", "List those with: audioreason cluster list"
        ) from error
    except (OSError, ValidationError) as error:
        raise JobError(
            f"{folder / CLUSTER_FILE} cannot be read ({error}).", "Submit the job again."
        ) from error


def _placed(workspace: Workspace, job_id: str) -> tuple[Path, Place]:
    folder = job_folder(workspace, job_id)
    return folder, read_place(folder)


def _start(cluster: Cluster, workspace: Workspace, spec: JobSpec, attempt: int) -> None:
    folder = job_folder(workspace, spec.id)
    token = secrets.token_hex(8)
    place = Place(
        address=cluster.address,
        submission=f"{spec.id}-a{attempt}",
        attempt=attempt,
        token=token,
        submitted=time.time(),
    )
    python = os.environ.get(PYTHON_VARIABLE) or sys.executable
    entrypoint = shlex.join([python, "-P", "-m", "audioreason.jobs.cluster_worker", str(folder)])
    environment = {
        **NO_TELEMETRY,
        TOKEN_VARIABLE: token,
        "AUDIOREASON_WORKSPACE": str(workspace.root),
        "RAY_JOB_STOP_WAIT_TIME_S": str(int(spec.grace) + 5),  # Ray's own 3 s would cut a checkpoint short
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("AUDIOREASON_JOB_KINDS", "PYTHONPATH", "OMP_NUM_THREADS"):
        if value := os.environ.get(name):
            environment[name] = value
    before = folder / CLUSTER_FILE
    earlier = before.read_bytes() if before.exists() else None
    write_atomic(before, place.model_dump_json())
    try:
        cluster.submit(place.submission, entrypoint, environment, spec)
    except BaseException:
        if earlier is not None:
            write_atomic(before, earlier)
        raise


def _view(folder: Path, place: Place, status: Status | JobError | None) -> JobView:
    """A job as it is: its own last word first, then the cluster's."""
    try:
        spec = read_spec(folder)
    except JobError as error:
        return JobView(folder.name, "", folder.name, "stopped", reason=error.message, hint=error.hint)
    state = read_state(folder)
    own = state if state is not None and state.token == place.token else None
    name, reason = _true_state(place, status, own)
    view = JobView(
        id=spec.id,
        kind=spec.kind,
        title=spec.title,
        state=name,
        reason=reason,
        created=spec.created.timestamp(),
        began=None if own is None else own.began,
        attempt=place.attempt,
        wants_gpus=spec.needs.gpus,
        runs=(spec.id,) if spec.kind == "evaluate" and state is not None else (),
    )
    return view if state is None else with_state(view, state, alive=name in ("running", "stopping"))


def _true_state(place: Place, status: Status | JobError | None, own: JobState | None) -> tuple[str, str]:
    if own is not None and own.ending is not None:
        return own.ending, own.error
    if isinstance(status, JobError):
        return (
            "running" if own is not None else "starting"
        ), f"{status.message} This is its last known state."
    if status is None:
        return "crashed", _UNKNOWN
    if status.word in _OVER:
        if place.stop_asked is not None or status.word == "STOPPED":
            return "stopped", "It was ended before it could say how far it came. Resume continues it."
        said = _first(status.message).partition(", last available logs")[0] or "It ended without a word"
        return "crashed", f"{said.rstrip('.')}. Resume continues it."
    if place.stop_asked is not None:
        return "stopping", ""
    if status.word == "PENDING":
        return "queued", _first(status.message)
    return ("running" if own is not None else "starting"), ""


def _first(message: str) -> str:
    return next(iter(message.strip().splitlines()), "")[:300]
