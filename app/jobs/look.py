"""What the pages read about jobs, at most twice a second for all tabs together."""

from __future__ import annotations

import functools
import time
from typing import Any

from app.session import workspace
from audioreason.errors import JobError
from audioreason.jobs.machine import Gpu, gpus_now
from audioreason.jobs.watch import JobView, job, list_jobs, metrics

_SERIES = 5_000  # metric rows kept of one job


def jobs() -> list[JobView]:
    """Every job, newest first, without the children of a matrix."""
    return _jobs(int(2 * time.monotonic()))


@functools.lru_cache(maxsize=1)
def _jobs(moment: int) -> list[JobView]:
    return list_jobs(workspace(), children=False)


def forget() -> None:
    """Read everything again: something was just done to a job."""
    _jobs.cache_clear()


def one(job_id: str) -> JobView | None:
    """A job or a child of one; None if there is none of that id."""
    try:
        return job(workspace(), job_id)
    except JobError:
        return None


def why(view: JobView) -> str:
    """Why a queued job waits, behind "waits"; jobs that it waits for are called by their titles."""
    reason = view.reason
    for other in view.after:
        if other in reason and (found := one(other)) is not None:
            reason = reason.replace(other, found.title)
    return reason.removeprefix("It waits ") or "for its turn"


def gpus() -> list[Gpu]:
    """The machine's GPUs, at most five seconds old: asking takes a process."""
    return _gpus(int(time.monotonic() / 5))


@functools.lru_cache(maxsize=1)
def _gpus(moment: int) -> list[Gpu]:
    return gpus_now()


class Series:
    """The metrics of one job, read on from where the last look ended."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.rows: list[dict[str, Any]] = []
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """All rows so far, at most the last 5,000."""
        new, offset = metrics(workspace(), self.job_id, self._offset)
        if offset < self._offset:  # another file, read from its start
            self.rows = []
        self._offset = offset
        self.rows = [*self.rows, *new][-_SERIES:]
        return self.rows
