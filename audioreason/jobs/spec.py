"""What a job is on disk: `job.json` (what to do, written once) and `state.json` (how far it is).

    jobs/ID/job.json       JobSpec
    jobs/ID/state.json     JobState, written by the worker alone, whole file at a time
    jobs/ID/log.txt        what the worker and its children said
    jobs/ID/metrics.jsonl  values at steps
    jobs/ID/lock           held by the worker as long as it lives
    jobs/ID/cluster.json   only of a job that a cluster got: where it runs

Knows nothing about queues, processes or what a kind does with its settings.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.errors import JobError, WorkspaceError
from audioreason.workspace import Workspace, write_atomic

Ending = Literal["finished", "failed", "stopped"]
CLUSTER_FILE = "cluster.json"  # in the folder of a job that a cluster got
JOB_FORMAT = 1  # of job.json itself; a kind's settings have their own version

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class Needs(BaseModel):
    """What a job occupies while it runs: whole GPUs, and slots of the limit on parallel CPU jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpus: int = Field(default=0, ge=0)
    cpus: int = Field(default=1, ge=0)


class JobSpec(BaseModel):
    """`job.json`. `spec` holds the kind's settings, of the kind's `spec_version`.

    A higher `priority` starts first. `after` names jobs that must be finished (a server: ready) before.
    `preemptible` jobs give their GPUs to others and start again later. `folder` is where it was submitted:
    `.streamlit/secrets.toml` is looked for there. Keys never come here.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    title: str
    spec: dict[str, Any]
    spec_version: int = 1
    format: int = JOB_FORMAT
    priority: int = 0
    needs: Needs = Needs()
    after: tuple[str, ...] = ()
    preemptible: bool = False
    parent: str | None = None
    grace: float = 10.0
    created: datetime
    folder: str = ""


class Phase(BaseModel):
    """A stretch of a job's timeline; times are seconds since 1970, `ended` None while it lasts."""

    name: str
    attempt: int = 1
    began: float
    ended: float | None = None
    done: int = 0
    total: int | None = None


class JobState(BaseModel):
    """`state.json`: written only by the worker whose `token` it carries; times are seconds since 1970.

    `ending` is None until the work is over. `rate` is units a second, `eta` seconds to go, None if unknown.
    `ready` is True while a server answers. `clock` is when `updated` was, on `processes.clock`.
    `uses` are servers that it asks (None until it has said), `address` is its own; both as HOST:PORT.
    """

    token: str
    attempt: int = 1
    began: float
    updated: float
    clock: float | None = None
    ended: float | None = None
    ending: Ending | None = None
    phase: str = ""
    done: int = 0
    total: int | None = None
    rate: float | None = None
    eta: float | None = None
    note: str = ""
    ready: bool = False
    uses: tuple[str, ...] | None = None
    address: str = ""
    error: str = ""
    hint: str = ""
    result: dict[str, Any] | None = None
    phases: list[Phase] = []


def new_job_id(label: str, now: datetime | None = None) -> str:
    """A readable id that sorts by time (UTC), such as `20261123-010203-evaluate-a3f9c01b`."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60].strip("-") or "job"
    return f"{now or datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(4)}"


def job_folder(workspace: Workspace, job_id: str) -> Path:
    """`jobs/ID`, whether it exists or not.

    Raises:
        JobError: if the id cannot be a folder's name.
    """
    if not _ID.fullmatch(job_id):
        raise JobError(f"{job_id!r} cannot be the id of a job.", "List the jobs with: audioreason jobs list")
    return workspace.jobs / job_id


def write_spec(folder: Path, spec: JobSpec) -> None:
    """Write `job.json`, once."""
    write_atomic(folder / "job.json", spec.model_dump_json(indent=2) + "\n")


def read_spec(folder: Path) -> JobSpec:
    """The job in a folder.

    Raises:
        JobError: if there is none, it cannot be read, or a newer version of the lab wrote it.
    """
    path = folder / "job.json"
    try:
        spec = JobSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise JobError(
            f"There is no job {folder.name} in {folder.parent}.",
            "List the jobs with: audioreason jobs list",
        ) from error
    except OSError as error:
        raise JobError(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise JobError(
            f"{path} is not a job: {where}: {first['msg']}.", "Restore the file, or delete the job."
        ) from error
    if spec.format > JOB_FORMAT:
        raise JobError(
            f"The job {spec.id} was written by a newer version of the lab"
            f" (format {spec.format}; this one reads up to {JOB_FORMAT}).",
            "Update audioreason, or submit the job again from here.",
        )
    return spec


def read_state(folder: Path) -> JobState | None:
    """How far the job is, as its worker last wrote; None if no worker has written anything readable."""
    try:
        return JobState.model_validate_json((folder / "state.json").read_bytes())
    except (OSError, ValidationError):  # never started, or written by another version: the row knows more
        return None


def ending_on_disk(workspace: Workspace, job_id: str) -> Ending:
    """How the job ended as far as its folder tells; what never ended counts as stopped."""
    state = read_state(job_folder(workspace, job_id))
    return state.ending or "stopped" if state is not None else "stopped"


def write_state(folder: Path, state: JobState) -> None:
    """Write `state.json`; only the worker that holds the lock does.

    Raises:
        WorkspaceError: if the disk is full, or the folder is gone.
    """
    if not folder.is_dir():  # it shall not come back with nothing but a state in it
        raise WorkspaceError(f"The folder {folder} was removed while its job ran.")
    write_atomic(folder / "state.json", state.model_dump_json() + "\n")
