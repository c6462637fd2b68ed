"""The `Progress` of a job: state.json a few times a second, metrics.jsonl, and "stop" as SIGTERM says it.

Knows nothing about the queue or what the work is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from audioreason.errors import WorkspaceError
from audioreason.jobs.processes import BEAT, clock
from audioreason.jobs.redact import redact
from audioreason.jobs.spec import Ending, JobState, Phase, read_state, write_state
from audioreason.workspace import JsonlWriter

log = logging.getLogger("audioreason.jobs")

_EVERY = 0.2  # seconds between two writes of state.json
_WINDOW = 20.0  # seconds over which the rate is taken
_MOST_PHASES = 500


class StoppedEarly(Exception):
    """Raised by a kind's `run` when it heard "stop" and left work behind; the job can be resumed."""


class JobProgress:
    """What a kind reports to. Every method is cheap and safe from any thread.

    Attributes:
        job_id: the job's id; runs of an evaluation carry it too.
        folder: the job's folder.
        attempt: counts from 1; more means that an earlier attempt was stopped or crashed.
    """

    def __init__(self, folder: Path, token: str, attempt: int) -> None:
        self.job_id = folder.name
        self.folder = folder
        self.attempt = attempt
        before = read_state(folder)
        now = time.time()
        self._state = JobState(token=token, attempt=attempt, began=now, updated=now, clock=clock())
        self._state.phases = [_closed(phase, before) for phase in before.phases] if before else []
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._over = threading.Event()
        self._changed = threading.Event()
        self._told_full = False
        self._seen: deque[tuple[float, int]] = deque()
        self._metrics: JsonlWriter | None = None
        self._writer = threading.Thread(target=self._write_on, name="progress", daemon=True)

    def open(self) -> None:
        """Write the first state and keep it up to date from now on."""
        write_state(self.folder, self._state)
        self._writer.start()

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a named phase of `total` units (None: unknown)."""
        now = time.time()
        with self._lock:
            self._end_phase(now)
            self._state.phase, self._state.done, self._state.total = name, 0, total
            self._state.rate = self._state.eta = None
            self._state.note = ""
            self._state.phases.append(Phase(name=name, attempt=self.attempt, began=now, total=total))
            del self._state.phases[:-_MOST_PHASES]
            self._seen.clear()
            self._touch(now)
        log.info("%s%s", name, "" if total is None else f": {total} to do")

    def done(self, count: int, note: str = "") -> None:
        """Say that `count` units of this phase are complete in all."""
        now = time.time()
        with self._lock:
            self._state.done, self._state.note = count, note
            if not self._seen or now - self._seen[-1][0] >= _EVERY:
                self._seen.append((now, count))
            while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
                self._seen.popleft()
            began, first = self._seen[0]
            self._state.rate = (count - first) / (now - began) if now - began > 0.5 else None
            total = self._state.total
            if total is not None and self._state.rate:
                self._state.eta = max(0.0, (total - count) / self._state.rate)
            self._touch(now)

    def metrics(self, step: int, **values: float) -> None:
        """Append named values at a step to metrics.jsonl."""
        line = orjson.dumps(
            {"step": step, "time": round(time.time(), 3), "phase": self._state.phase, **values},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        with self._lock:
            try:
                if self._metrics is None:
                    if not self.folder.is_dir():
                        raise WorkspaceError(f"The folder {self.folder} was removed while its job ran.")
                    self._metrics = JsonlWriter(self.folder / "metrics.jsonl")
                self._metrics.append(line)
            except WorkspaceError as error:
                self._say_full(error)

    def ready(self, is_ready: bool = True) -> None:
        """Say that the job is of use to others from now on, as a server that answers."""
        with self._lock:
            self._state.ready = is_ready
            self._touch(time.time())

    def uses(self, urls: Iterable[str]) -> None:
        """Say which servers the job asks: they are not stopped for another job while it runs."""
        with self._lock:
            known = self._state.uses or ()
            self._state.uses = tuple(dict.fromkeys([*known, *map(place, urls)]))
            self._touch(time.time())

    def address(self, url: str) -> None:
        """Say where this job, a server, is asked."""
        with self._lock:
            self._state.address = place(url)
            self._touch(time.time())

    def should_stop(self) -> bool:
        """True once somebody asked for a graceful stop."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        """Ask the work for a graceful stop."""
        self._stop.set()

    def wait_for_stop(self, seconds: float) -> bool:
        """Sleep, but not beyond a stop; True if one was asked for."""
        return self._stop.wait(seconds)

    def close(
        self, ending: Ending, result: dict[str, Any] | None = None, error: str = "", hint: str = ""
    ) -> None:
        """Write the last state. After this the job is over whatever becomes of the process."""
        now = time.time()
        with self._lock:
            self._over.set()
            self._end_phase(now)
            self._state.ended, self._state.ending, self._state.result = now, ending, result
            self._state.error, self._state.hint = redact(error), redact(hint)
            self._state.ready, self._state.eta = False, None
            self._state.updated, self._state.clock = now, clock()
            if self._metrics is not None:
                self._metrics.close()
            write_state(self.folder, self._state)

    def _end_phase(self, now: float) -> None:
        if self._state.phases and (last := self._state.phases[-1]).ended is None:
            last.ended, last.done, last.total = now, self._state.done, self._state.total

    def _touch(self, now: float) -> None:
        self._state.updated = now
        self._changed.set()

    def _write_on(self) -> None:
        """Write what changed at once, and then nothing for a while; without news, now and then."""
        while not self._over.is_set():
            if not self._changed.wait(BEAT):
                self._touch(time.time())  # a sign of life, though nothing is new
            with self._lock:
                if self._over.is_set():
                    return
                self._changed.clear()
                self._state.clock = clock()
                try:
                    write_state(self.folder, self._state)
                    self._told_full = False
                except (
                    WorkspaceError
                ) as error:  # the work itself may still go on; it will meet a full disk too
                    self._changed.set()
                    self._say_full(error)
            self._over.wait(_EVERY)

    def _say_full(self, error: WorkspaceError) -> None:
        if not self._told_full:
            self._told_full = True
            log.error("%s", error)


def place(url: str) -> str:
    """HOST:PORT of a URL, this machine always under the same name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    own = host in ("localhost", "::1", "0.0.0.0", "::") or host.startswith("127.")  # noqa: S104 - compared only
    return f"{'127.0.0.1' if own else host}:{parts.port or {'https': 443}.get(parts.scheme, 80)}"


def _closed(phase: Phase, before: JobState) -> Phase:
    """A phase of an earlier attempt, ended where that attempt was last heard of."""
    if phase.ended is not None:
        return phase
    return phase.model_copy(update={"ended": before.updated, "done": before.done, "total": before.total})
