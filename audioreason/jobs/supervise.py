"""Keep a model server running for as long as a job wants it: start, wait for health, restart, stop all of it.

Knows a command and a URL; knows nothing about models. What the server says goes to the job's log.
"""

from __future__ import annotations

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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from audioreason.errors import JobError
from audioreason.jobs.live import JobProgress
from audioreason.jobs.processes import TOKEN_VARIABLE, belonging, identity, kill

log = logging.getLogger("audioreason.jobs")

_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_LONGEST_BACKOFF = 60.0
_POLL = 0.25
_HEALTH_EVERY = 5.0


class Supervisor:
    """Runs one server command; see `serve`.

    Args:
        command: the program and its arguments, never through a shell.
        health: URL that answers 200 when the server is of use.
        name: stands before its lines in the log.
        progress: hears phases and says when to stop.
        patience: seconds from start to health.
        attempts: failures in a row after which it gives up.
        backoff: seconds before the first restart, doubled each time.
        settled: seconds of health after which failures are counted anew.
        deaf: seconds without an answer after which a server that was healthy is started again.
        stop_seconds: from SIGTERM to SIGKILL.
        environment: variables of the server alone, such as its key.
    """

    def __init__(
        self,
        command: Sequence[str],
        health: str,
        name: str,
        progress: JobProgress,
        *,
        patience: float = 900.0,
        attempts: int = 5,
        backoff: float = 1.0,
        settled: float = 60.0,
        deaf: float = 180.0,
        stop_seconds: float = 10.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._health = health
        self._name = name
        self._progress = progress
        self._patience = patience
        self._attempts = attempts
        self._backoff = backoff
        self._settled = settled
        self._deaf = deaf
        self._stop_seconds = stop_seconds
        self._environment = dict(environment or {})
        self._last: deque[str] = deque(maxlen=12)
        self._pid = 0

    def serve(self, on_ready: Callable[[], None]) -> int:
        """Serve until a stop is asked for; returns how often the server was restarted.

        `on_ready` is called each time it becomes healthy.

        Raises:
            JobError: if it failed too often in a row, with its last words.
        """
        failures, restarts = 0, 0
        while not self._progress.should_stop():
            self._progress.phase("start server" if not restarts else f"restart server ({restarts})")
            began_healthy = self._once(on_ready)
            self._progress.ready(False)
            if self._progress.should_stop():
                break
            lived = 0.0 if began_healthy is None else time.monotonic() - began_healthy
            failures = 1 if lived >= self._settled else failures + 1
            if failures >= self._attempts:
                often = "once" if failures == 1 else f"{failures} times in a row"
                raise JobError(
                    f"The server {self._name} failed {often}. Its last words: {self._words()}",
                    "The log has the details.",
                )
            wait = min(_LONGEST_BACKOFF, self._backoff * 2 ** (failures - 1))
            log.warning("%s ended; it is started again in %.0f s", self._name, wait)
            restarts += 1
            self._progress.phase(f"wait {wait:.0f} s to restart")
            self._progress.wait_for_stop(wait)
        return restarts

    def _once(self, on_ready: Callable[[], None]) -> float | None:
        """One life of the server; returns since when it was healthy, None if it never was."""
        log.info("%s: %s", self._name, " ".join(self._command))
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # the local engine ends when this closes
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | self._environment,
                process_group=0,  # not the worker's: it is ended alone
            )
        except OSError as error:
            raise JobError(
                f"{self._command[0]} cannot be started ({error.strerror or error}).",
                "Check the path, or set AUDIOREASON_VLLM.",
            ) from error
        self._pid = process.pid
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(process.stdout,), name="server log", daemon=True)
        reader.start()
        healthy: float | None = None
        try:
            began = heard = time.monotonic()
            while process.poll() is None and not self._progress.wait_for_stop(_POLL):
                now = time.monotonic()
                if healthy is None and answers(self._health):
                    healthy = heard = time.monotonic()
                    log.info("%s is healthy after %.1f s", self._name, healthy - began)
                    on_ready()
                    self._progress.phase("serving")
                    self._progress.ready()
                elif healthy is None and now - began > self._patience:
                    log.error("%s was not healthy within %.0f s", self._name, self._patience)
                    break
                elif healthy is not None and now - heard > _HEALTH_EVERY and answers(self._health, 5.0):
                    heard = time.monotonic()
                elif healthy is not None and now - heard > self._deaf:
                    log.error("%s has not answered for %.0f s", self._name, self._deaf)
                    break
            if process.poll() is not None and not self._progress.should_stop():
                log.error("%s ended with status %s", self._name, process.returncode)
            return healthy
        finally:
            self._end(process)
            reader.join(2)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """SIGTERM to the server, SIGKILL to whatever is left of it, as token and session tell."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop within %.0f s and is killed", self._name, self._stop_seconds)
        me = os.getpid()
        rest = belonging(os.environ.get(TOKEN_VARIABLE, ""), me, identity(me))
        if rest and process.poll() is not None:  # its children get a moment once it has gone
            deadline = time.monotonic() + 1.0
            while rest and time.monotonic() < deadline:
                time.sleep(0.05)
                rest = [one for one in rest if one.is_running() and one.status() != "zombie"]
        if left := kill(rest):
            log.error("%d processes of %s cannot be ended", len(left), self._name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            text = line.rstrip()
            if text:
                self._last.append(text)
                match = _LEVEL.search(text[:40])
                log.log(
                    logging.getLevelNamesMapping()[match[1]] if match else logging.INFO,
                    "[%s] %s",
                    self._name,
                    text,
                )

    def _words(self) -> str:
        errors = [line for line in self._last if "Error" in line or "error" in line]
        return (errors or list(self._last) or ["none."])[-1][:300]


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
