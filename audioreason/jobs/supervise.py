"""Keep a model server running for as long as it is wanted: load, wait for health, restart, stop all of it.

The one runner of servers: the job `serve` runs it in its own thread, self-training and the optimiser in the
background (`BackgroundServer`). The server is tied to this process (`engines.tied`), so it ends with it,
however that ends. What the server prints goes to the log. Knows a command and a URL, nothing about models.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol

from audioreason.engines.tied import tied
from audioreason.errors import JobError, LabError
from audioreason.jobs.redact import redact
from audioreason.progress import Progress
from audioreason.wording import counted

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint

log = logging.getLogger("audioreason.jobs")

LOADING, SERVING = "loading model", "serving"  # phases
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
# "(EngineCore_DP0 pid=7) ERROR 11-23 02:00:00 [core.py:708] ValueError: ..." -> "ValueError: ..."
_BEFORE_TEXT = re.compile(
    r"^(?P<process>\([^)]*\)\s*)?(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+[\d-]+\s+[\d:.,]+\s+)?(?:\[[^\]]*\]\s*)?"
)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b: \S")
_CORE = re.compile(r"EngineCore|Worker", re.IGNORECASE)
_LONGEST_BACKOFF = 60.0
_POLL = 0.25
_HEALTH_EVERY = 5.0
_NOTICED = 10.0  # seconds from a server's end, at most, until it is known


class Watcher(Protocol):
    """What a supervisor reports to; `JobProgress` is one."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase."""

    def done(self, count: int, note: str = "") -> None:
        """Report how far it is."""

    def ready(self, is_ready: bool = True) -> None:
        """Say whether the server answers."""

    def should_stop(self) -> bool:
        """Whether a stop was asked for."""

    def wait_for_stop(self, seconds: float) -> bool:
        """Sleep, but not beyond a stop; True if one was asked for."""


class Supervisor:
    """Runs one server command; see `serve`.

    Args:
        command: the program and its arguments, never through a shell.
        health: URL that answers 200 when the server is of use.
        name: stands before its lines in the log, such as "vllm".
        model: what it serves, for sentences.
        patience: seconds from start to health.
        attempts: failures in a row after which it gives up.
        backoff: seconds before the first restart, doubled each time.
        settled: seconds of health after which failures are counted anew.
        deaf: seconds without an answer after which a server that was healthy is started again.
        stop_seconds: from SIGTERM to SIGKILL of all of it; `tied` needs less.
        insist: whether a server that was never healthy is started again.
        before: called before each start with the watcher; returns False if a stop was asked for.
        environment: variables of the server alone, such as its key.
    """

    def __init__(
        self,
        command: Sequence[str],
        health: str,
        name: str,
        model: str,
        *,
        patience: float = 900.0,
        attempts: int = 5,
        backoff: float = 1.0,
        settled: float = 60.0,
        deaf: float = 180.0,
        stop_seconds: float = 30.0,
        insist: bool = True,
        before: Callable[[Watcher], bool] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.title = "vLLM" if name == "vllm" else f"The {name} engine"
        self.model = model
        self.health = health
        self.starts = 0
        self._command = list(command)
        self._patience = patience
        self._attempts = attempts
        self._backoff = backoff
        self._settled = settled
        self._deaf = deaf
        self._stop_seconds = stop_seconds
        self._insist = insist
        self._before = before
        self._environment = dict(environment or {})
        self._said = _Said()

    def serve(self, watcher: Watcher, on_ready: Callable[[], None]) -> int:
        """Serve until a stop is asked for; returns how often the server was restarted.

        `on_ready` is called each time it becomes healthy.

        Raises:
            JobError: if it failed too often in a row, with the first cause in its log.
            LabError: as `before`.
        """
        failures, restarts, served = 0, 0, False
        while not watcher.should_stop():
            if self._before is not None and not self._before(watcher):
                break
            again = f" ({counted(restarts, 'restart')})" if restarts else ""
            watcher.phase(f"{LOADING}{again}")
            healthy_since, why = self._once(watcher, on_ready)
            watcher.ready(False)
            if watcher.should_stop():
                break
            served = served or healthy_since is not None
            lived = 0.0 if healthy_since is None else time.monotonic() - healthy_since
            failures = 1 if lived >= self._settled else failures + 1
            if failures >= self._attempts or not (served or self._insist):
                after = f" (after {counted(restarts, 'restart')})" if restarts else ""
                raise JobError(f"{self.title} {why}{after}: {self._said.cause()}", "The log has the details.")
            wait = min(_LONGEST_BACKOFF, self._backoff * 2 ** (failures - 1))
            log.warning("%s %s; it is started again in %.0f s", self.title, why, wait)
            restarts += 1
            watcher.phase(f"wait {wait:.0f} s to restart")
            watcher.wait_for_stop(wait)
        return restarts

    def _once(self, watcher: Watcher, on_ready: Callable[[], None]) -> tuple[float | None, str]:
        """One life of the server: since when it was healthy (None if it never was), and how it ended."""
        log.info("%s: %s", self.name, " ".join(self._command))
        self._said = _Said()
        process = subprocess.Popen(
            tied(self._command),
            stdin=subprocess.PIPE,  # all of the server ends when this closes
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | self._environment,
            process_group=0,  # not the worker's: it is ended alone
        )
        self.starts += 1
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(process.stdout,), name="server log", daemon=True)
        reader.start()
        healthy: float | None = None
        why = "was stopped"
        try:
            began = heard = time.monotonic()
            while process.poll() is None and not watcher.wait_for_stop(_POLL):
                now = time.monotonic()
                if healthy is None and answers(self.health):
                    healthy = heard = time.monotonic()
                    log.info("%s is healthy after %.1f s", self.title, healthy - began)
                    on_ready()
                    watcher.phase(SERVING)
                    watcher.ready()
                elif healthy is None:
                    watcher.done(round(now - began), redact(self._said.note()))
                    if now - began > self._patience:
                        why = f"did not answer within {self._patience:.0f} s"
                        break
                elif now - heard > _HEALTH_EVERY and answers(self.health, 5.0):
                    heard = time.monotonic()
                elif now - heard > self._deaf:
                    why = f"has not answered for {self._deaf:.0f} s"
                    break
            if process.poll() is not None and not watcher.should_stop():
                why = f"ended with status {process.returncode}"
                if healthy is None:
                    why += f" before it could serve {self.model}"
                reader.join(2)  # what it said last names the cause
                log.error("%s %s", self.title, why)
            return healthy, why
        finally:
            self._end(process)
            reader.join(2)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End the server and whatever it started: `tied` does that, and is killed if it takes too long."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop within %.0f s and is killed", self.title, self._stop_seconds)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            text = line.rstrip()
            for name, value in self._environment.items():  # known to this process alone, as its key is
                text = text.replace(value, f"[removed: value of {name}]")
            if text:
                self._said.hear(text)
                match = _LEVEL.search(text[:60])
                log.log(
                    logging.getLevelNamesMapping()[match[1]] if match else logging.INFO,
                    "[%s] %s",
                    self.name,
                    text,
                )


@dataclass
class _Said:
    """What a server printed in one life, as far as a sentence needs it."""

    last: str = ""
    core: str = ""  # the first exception of its engine's processes: the others follow from it
    exception: str = ""
    error: str = ""

    def hear(self, line: str) -> None:
        """Take in a line."""
        match = _BEFORE_TEXT.match(line)
        text = line[match.end() :].strip() if match else line.strip()
        self.last = text or self.last
        if _EXCEPTION.match(text):
            self.exception = self.exception or text
            if _CORE.search(match["process"] or "" if match else ""):
                self.core = self.core or text
        elif "error" in text.lower() and "Traceback" not in text and not text.startswith("File "):
            self.error = self.error or text

    def cause(self) -> str:
        """The first line that names why it failed, at most 300 characters."""
        return (self.core or self.exception or self.error or self.last or "it printed nothing.")[:300]

    def note(self) -> str:
        """Its last line, short enough for a progress line."""
        return self.last[:120]


class BackgroundServer(AbstractContextManager["Endpoint"]):
    """A server that a thread keeps running, on one port, for the length of a `with` block.

    Entering waits until it answers. If it ends in the middle, it is started again on the same port.

    Args:
        supervisor: of the server.
        endpoint: where it is asked.
        progress: hears of the loading, and may ask for a stop.
        stopped: raised on entering after a stop.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        endpoint: Endpoint,
        progress: Progress,
        stopped: Callable[[], Exception],
    ) -> None:
        self._supervisor = supervisor
        self._endpoint = endpoint
        self._progress = progress
        self._stopped = stopped
        self._lock = threading.Lock()
        self._now: tuple[str, int, str] = ("", 0, "")  # phase, seconds, note
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._starts = 0  # of the server when it was last known to answer
        self._failure: LabError | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self._endpoint

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def came_back(self) -> bool:
        """Whether the server had ended and answers again; waits while it is being started.

        Raises:
            LabError: if it is given up, with the cause.
            Exception: what `stopped` makes, after a stop.
        """
        deadline = time.monotonic() + _NOTICED
        while self._ready.is_set() and self._supervisor.starts == self._starts and self._failure is None:
            if answers(self._supervisor.health):
                return False
            if time.monotonic() > deadline:  # it lives and does not answer: the supervisor decides
                break
            time.sleep(_POLL)
        before = self._starts
        self._wait()
        return self._starts > before

    def _wait(self) -> None:
        """Wait until it answers, and report what it does meanwhile."""
        told = ""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._ready.is_set() and answers(self._supervisor.health):
                self._starts = self._supervisor.starts
                return
            if self._progress.should_stop():
                raise self._stopped()
            with self._lock:
                phase, seconds, note = self._now
            if phase not in ("", SERVING):
                if phase != told:
                    told = phase
                    self._progress.phase(phase)
                self._progress.done(seconds, note)
            self._ready.wait(_POLL) if not self._ready.is_set() else time.sleep(_POLL)

    def _run(self) -> None:
        try:
            self._supervisor.serve(self, lambda: None)
        except LabError as error:
            self._failure = error
        except Exception as error:
            log.exception("the server's supervisor failed")
            self._failure = JobError(
                f"The server could not be kept running ({type(error).__name__}: {error})."
            )

    # --- what the supervisor reports to ---

    def phase(self, name: str, total: int | None = None) -> None:
        """Keep the phase."""
        with self._lock:
            self._now = (name, 0, "")

    def done(self, count: int, note: str = "") -> None:
        """Keep seconds and note."""
        with self._lock:
            self._now = (self._now[0], count, note)

    def ready(self, is_ready: bool = True) -> None:
        """Keep whether it answers."""
        if is_ready:
            self._ready.set()
        else:
            self._ready.clear()

    def should_stop(self) -> bool:
        """Whether the block was left."""
        return self._stop.is_set()

    def wait_for_stop(self, seconds: float) -> bool:
        """Sleep, but not beyond the block's end."""
        return self._stop.wait(seconds)


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether a GET of `url` gives 200; proxies are not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
