"""Whether resuming a job can help, and if not, why. Pages ask before they offer it, commands before they do.

Reads only. What the settings of a kind still need is asked of the kind.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from audioreason.errors import LabError
from audioreason.jobs.kinds import kind_of
from audioreason.jobs.spec import job_folder, read_spec
from audioreason.jobs.watch import JobView, job
from audioreason.workspace import Workspace

_RESUMABLE = ("stopped", "failed", "crashed")


@dataclass(frozen=True)
class Resumption:
    """`possible` says whether; `why` why not, in a sentence, or what it leaves out; `jobs` go on."""

    possible: bool
    why: str = ""
    hint: str = ""
    jobs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return asdict(self)


def resumable(workspace: Workspace, job_id: str) -> Resumption:
    """Whether a job, or some children of a matrix, can go on where they stopped.

    Raises:
        JobError: if there is no such job.
    """
    view = job(workspace, job_id)
    parts = [job(workspace, child) for child in view.children] or [view]
    over = [part for part in parts if part.state in _RESUMABLE]
    if not over:
        hint = "Submit it again with: audioreason jobs retry" if view.state == "finished" else ""
        return Resumption(False, f"The job {job_id} is {view.state}; there is nothing to resume.", hint)
    refused = {part.id: why for part in over if (why := _why_not(workspace, part))}
    able = tuple(part.id for part in over if part.id not in refused)
    if not able:
        message, hint = next(iter(refused.values()))
        return Resumption(False, message, hint)
    left_out = f"{len(refused)} of {len(over)} cannot: {next(iter(refused.values()))[0]}" if refused else ""
    return Resumption(True, left_out, jobs=able)


def _why_not(workspace: Workspace, view: JobView) -> tuple[str, str] | None:
    """The sentence and its hint; None if nothing is in the way."""
    folder = job_folder(workspace, view.id)
    if not (folder / "job.json").exists():
        return (
            f"The folder of {view.id} is gone, and with it what the job was to do.",
            "Delete it, and submit it again.",
        )
    try:
        kind, settings = kind_of(read_spec(folder))
        kind.check_resume(settings, workspace, view.id)
    except LabError as error:
        return error.message, error.hint
    return None
