"""Which model answers here: the chosen endpoint, or the embedded engine that the lab starts by itself.

One object for the whole process, watched by a thread, so that no page ever waits for a server. Knows
nothing about how its state is drawn.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import threading
import time
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from app.session import catalog, workspace
from audioreason.errors import EngineError, LabError
from audioreason.inference.endpoint import Endpoint, default_endpoint
from audioreason.inference.probe import Status, endpoint_status, ready_endpoint
from audioreason.jobs.queue import reconcile
from audioreason.jobs.watch import list_jobs

_ROOMS = (  # what the pages draw with, likeliest first
    "playground.one", "errors.page", "compare.page", "jobs.launch", "jobs.detail", "data.page",
    "optimize.page", "rest.page", "challenge.page", "endpoints",
)  # fmt: skip
_EVERY = 2.0  # seconds between two looks at the server
_READ_BY_THEN = 60.0  # seconds; a browser that must start first takes a while
_UNWATCHED = 15.0  # seconds without a page after which nobody is asked

EngineState = Literal["off", "starting", "running", "failed"]


@dataclass(frozen=True)
class MachineState:
    """What the light in the header shows. `endpoint` is None while there is nobody to ask."""

    endpoint: Endpoint | None = None
    status: Status | None = None  # None until the first answer
    engine: EngineState = "off"
    sentence: str = ""  # why there is no endpoint
    jobs: int = 0  # that run or wait


class Engine:
    """The embedded engine as a child process, started and stopped in the background."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.state: EngineState = "off"
        self.sentence = ""
        self.endpoint: Endpoint | None = None

    def start(self) -> None:
        """Start the engine unless it starts or runs already; returns at once."""
        with self._lock:
            if self.state in ("starting", "running"):
                return
            self.state, self.sentence = "starting", ""
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), daemon=True, name="engine")
            self._thread.start()

    def stop(self) -> None:
        """Stop the engine and wait until its process is gone."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=20)

    def _run(self, stop: threading.Event) -> None:
        from audioreason.engines.launch import start_engine

        try:
            running = start_engine(allowed_media=[workspace().root])
            with running as endpoint:
                self.endpoint, self.state = endpoint, "running"
                while not stop.wait(1.0):
                    if running.process.poll() is not None:
                        raise EngineError(
                            "The embedded model has died.", "Start it again on the Settings page."
                        )
            self.state = "off"
        except LabError as error:
            self.state, self.sentence = "failed", str(error)
        finally:
            self.endpoint = None


class Machine:
    """The endpoint in use and a recent look at it."""

    def __init__(self) -> None:
        self.engine = Engine()
        self._status: Status | None = None
        self._asked: Endpoint | None = None
        self._watched = 0.0
        self._jobs = 0
        self._wanted = True  # the lab starts its own engine until somebody stops it
        self._asking = threading.Lock()
        self._ready: dict[Endpoint, Endpoint | str] = {}
        self._threads: dict[Endpoint, threading.Thread] = {}
        self._wake = threading.Event()
        threading.Thread(target=self._watch, daemon=True, name="machine").start()

    def look(self) -> MachineState:
        """The state now, from memory; keeps the watch going while pages look."""
        self._watched = time.monotonic()
        self._wake.set()
        endpoint = self.endpoint()
        if endpoint is None:
            sentence = self.engine.sentence or "No model is served."
            return MachineState(engine=self.engine.state, sentence=sentence, jobs=self._jobs)
        status = self._status if self._asked == endpoint else None
        return MachineState(endpoint, status, self.engine.state, jobs=self._jobs)

    def endpoint(self) -> Endpoint | None:
        """The endpoint that a generation would go to: the workspace's choice, else the embedded engine."""
        chosen = default_endpoint(workspace())
        if chosen is not None:
            return chosen
        if self._wanted and self.engine.state == "off":
            self.engine.start()
        return self.engine.endpoint

    def ready(self, endpoint: Endpoint) -> Endpoint | str | None:
        """The endpoint with model and transport known, a sentence if it has none, None while it is asked.

        The first call asks in a thread (it takes a request with a clip), later ones answer from memory.
        """
        if endpoint.model and endpoint.transport != "auto":
            return endpoint
        with self._asking:
            if endpoint in self._ready:
                found = self._ready[endpoint]
                if not isinstance(found, str):
                    return found
                del self._ready[endpoint]  # said once; the next call asks again
                return found
            if endpoint not in self._threads:
                thread = threading.Thread(target=self._prepare, args=(endpoint,), daemon=True, name="ready")
                self._threads[endpoint] = thread
                thread.start()
        return None

    def _prepare(self, endpoint: Endpoint) -> None:
        found: Endpoint | str
        try:
            found = ready_endpoint(endpoint, workspace().clips)
        except LabError as error:
            found = str(error)
        with self._asking:
            self._ready[endpoint] = found
            del self._threads[endpoint]

    def serve_embedded(self, wanted: bool) -> None:
        """Start or stop the embedded engine; it stays that way until this is called again."""
        self._wanted = wanted
        if wanted:
            self.engine.start()
        else:
            self.engine.stop()

    def close(self) -> None:
        """Stop what this process started."""
        self._wanted = False
        if self.engine.state == "running":  # one that is still starting ends with this process
            self.engine.stop()

    def _watch(self) -> None:
        while True:
            self._wake.wait()
            if time.monotonic() - self._watched > _UNWATCHED:
                self._wake.clear()
                continue
            endpoint = self.engine.endpoint
            try:
                endpoint = default_endpoint(workspace()) or endpoint
                status = endpoint_status(endpoint) if endpoint else None
            except LabError as error:
                status = Status(error=str(error))
            self._asked, self._status = endpoint, status
            try:
                reconcile(workspace())
                self._jobs = sum(not view.over for view in list_jobs(workspace(), children=False))
            except LabError:
                self._jobs = 0  # the Jobs page says what is wrong; the light is not the place
            time.sleep(_EVERY)


@functools.cache
def machine() -> Machine:
    """The process's one machine; the first call starts its watch."""
    return Machine()


def _warm_up() -> None:
    for module in ("pandas", "altair", "openai", "streamlit.dataframe_util", "streamlit.elements.arrow"):
        importlib.import_module(module)
    catalog().runs()
    for room in _ROOMS:
        importlib.import_module(f"app.{room}")
    # Streamlit collects garbage after every run of a script or a fragment: 0.1 s if it has to look at all of
    # what was imported, next to nothing if that is set aside
    gc.collect()
    gc.freeze()


def _open_browser(page: Path) -> None:
    """Open the page that leads to the lab with its token, and remove it once a browser has read it."""
    webbrowser.open(page.as_uri())
    time.sleep(_READ_BY_THEN)
    page.unlink(missing_ok=True)


@asynccontextmanager
async def while_serving(app: st.App) -> AsyncIterator[None]:
    """Load what the first page needs beforehand, and stop the embedded engine when the server stops."""
    threading.Thread(target=_warm_up, daemon=True, name="warm-up").start()
    page = Path(os.environ.pop("AUDIOREASON_OPEN", ""))
    if page.name:
        threading.Thread(target=_open_browser, args=(page,), daemon=True, name="browser").start()
    yield
    if page.name:
        page.unlink(missing_ok=True)
    if machine.cache_info().currsize:
        machine().close()
