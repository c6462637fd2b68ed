"""What pages and their polls read about jobs, once for all tabs together."""

from __future__ import annotations

import functools
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from app.session import runs, workspace
from audioreason.engines.gpus import Gpu, gpus_now
from audioreason.errors import JobError
from audioreason.jobs.logs import LogLine
from audioreason.jobs.resources import Usage, usage
from audioreason.jobs.spec import job_folder
from audioreason.jobs.watch import JobView, job, list_jobs, metrics, tail_log

_SERIES = 5_000  # metric rows kept of one job
_USAGE_EVERY = 2.0  # seconds; with a GPU a look starts a process
_LINES = 400  # of a log
_LOG_SHARE = 0.02  # of the time may go into searching one log that grows
_LOGS = 16  # kept, for tabs that look for different things


def everyone() -> list[JobView]:
    """Every job, newest first, the children of a matrix behind it; at most half a second old."""
    return _jobs(int(2 * time.monotonic()))


@functools.lru_cache(maxsize=1)
def _jobs(moment: int) -> list[JobView]:
    return list_jobs(workspace())


def jobs() -> list[JobView]:
    """Every job without the children of a matrix."""
    known = {view.id for view in everyone()}
    return [view for view in everyone() if view.parent is None or view.parent not in known]


def forget() -> None:
    """Read everything again: something was just done to a job."""
    _jobs.cache_clear()


def one(job_id: str) -> JobView | None:
    """A job or a child of one; None if there is none of that id."""
    found = next((view for view in everyone() if view.id == job_id), None)
    if found is not None:
        return found
    try:
        return job(workspace(), job_id)  # made within this half second
    except JobError:
        return None


def parts(view: JobView) -> list[JobView]:
    """The children of a matrix."""
    wanted = set(view.children)
    return [other for other in everyone() if other.id in wanted]


def why(view: JobView) -> str:
    """Why a queued job waits, behind "waits", or a sentence; jobs are called by their titles."""
    waiting = next((part for part in parts(view) if part.state == "queued"), view)
    reason = waiting.reason
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


def used(view: JobView) -> Usage | None:
    """What the job uses now; None if it is over or waits."""
    if view.over or view.pid is None:
        return None
    return _used(view.pid, int(time.monotonic() / _USAGE_EVERY))


@functools.lru_cache(maxsize=16)
def _used(pid: int, moment: int) -> Usage | None:
    return usage(pid)


def accuracy_so_far(view: JobView, every: float) -> tuple[float, float, float, int] | None:
    """Strict accuracy of the job's run, its 95% interval, and the number of items rated so far; at most
    `every` seconds old, since whatever has been answered meanwhile is scored."""
    if len(view.runs) != 1:
        return None
    return _accuracies(every, int(time.monotonic() / every)).get(view.runs[0])


@functools.lru_cache(maxsize=2)
def _accuracies(every: float, moment: int) -> dict[str, tuple[float, float, float, int]]:
    frame = runs()
    rated = frame[frame["rated"] > 0]
    columns = (rated[name] for name in ("run_id", "strict", "strict_low", "strict_high", "rated"))
    return {
        run: (float(value), float(low), float(high), int(n))
        for run, value, low, high, n in zip(*columns, strict=True)
    }


@dataclass(frozen=True)
class Log:
    """The end of a log; `stamp` is another when its lines are."""

    stamp: str
    lines: list[LogLine]


class Logs:
    """The ends of logs as tabs filter them. A log is looked through again only when it has grown, and a
    long search of one that always grows is rationed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], tuple[Log, float, float]] = OrderedDict()

    def read(self, job_id: str, level: str, search: str) -> Log:
        """The last lines of `level` or worse that contain `search`."""
        try:
            found = (job_folder(workspace(), job_id) / "log.txt").stat()
            grown = f"{found.st_ino}.{found.st_size}"
        except FileNotFoundError:
            grown = "none"
        stamp = f"{grown} {job_id} {level} {search}"
        key = (job_id, level, search)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                log, took, when = known
                if log.stamp == stamp or time.monotonic() - when < took / _LOG_SHARE:
                    return log
            start = time.thread_time()
            log = Log(stamp, tail_log(workspace(), job_id, _LINES, level, search))
            self._known[key] = (log, time.thread_time() - start, time.monotonic())
            self._known.move_to_end(key)
            while len(self._known) > _LOGS:
                self._known.popitem(last=False)
            return log


_logs = Logs()


def log(job_id: str, level: str, search: str) -> Log:
    """The end of a job's log, for all tabs that filter it alike."""
    return _logs.read(job_id, level, search)


def metrics_size(job_id: str) -> int:
    """Bytes of the job's metrics: other charts are worth drawing when it is another."""
    try:
        return (job_folder(workspace(), job_id) / "metrics.jsonl").stat().st_size
    except (FileNotFoundError, JobError):
        return 0


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
