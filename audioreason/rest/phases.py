"""What the phases of a round share: who is asked, whose model is served, and how a stop is heard.

Knows nothing about what a phase does, nor how a server is made: `Serve` is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from audioreason.errors import LabError, RestError
from audioreason.progress import Progress
from audioreason.rest.config import RestConfig
from audioreason.rest.record import Round, adapter_name, merged_folder
from audioreason.workspace import Workspace, shipped

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint

# (model folder, adapter folder or None, name) -> a server for the time of a `with` block
Serve = Callable[[Path, Path | None, str], AbstractContextManager["Endpoint"]]


class Interrupted(Exception):
    """A stop was asked for; what was done is kept, and the same call goes on."""


@runtime_checkable
class Restarting(Protocol):
    """A server that is started again when it ends in the middle."""

    def came_back(self) -> bool:
        """Whether it had ended and answers again; waits meanwhile, and raises if it is given up."""


class Server:
    """At most one server at a time: it stays while the same model is asked, and goes before a training."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._stack = ExitStack()
        self._now: tuple[Path, Path | None] | None = None
        self._running: AbstractContextManager[Endpoint] | None = None
        self._endpoint: Endpoint | None = None
        self.seconds = 0.0  # spent on loading models

    def ask(self, folder: Path, adapter: Path | None, name: str) -> Endpoint:
        """The endpoint of a model; another's server is stopped first."""
        if self._endpoint is None or self._now != (folder, adapter):
            self.stop()
            began = time.monotonic()
            running = self._serve(folder, adapter, name)
            self._endpoint = self._stack.enter_context(running)
            self.seconds += time.monotonic() - began
            self._running, self._now = running, (folder, adapter)
        return self._endpoint

    def came_back(self, error: LabError) -> bool:
        """After `error` of a phase: whether the server had ended in it and answers again.

        Raises:
            LabError: if the server is given up: its own error, with what the phase left.
            Interrupted: if a stop was asked for meanwhile.
        """
        if not isinstance(self._running, Restarting):
            return False
        try:
            return self._running.came_back()
        except LabError as given_up:
            given_up.message = f"{given_up.message} {error.message}"
            given_up.hint = f"{given_up.hint} {error.hint}".strip()
            raise given_up from error

    def stop(self) -> None:
        """Stop what is running; a second call does nothing."""
        self._endpoint = self._now = self._running = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Named:
    """A progress whose phases carry the round's name."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase."""
        self._progress.phase(f"{self._name}: {name}", total)

    def done(self, count: int, note: str = "") -> None:
        """Pass the count on."""
        self._progress.done(count, note)

    def metrics(self, step: int, **values: float) -> None:
        """Pass the values on."""
        self._progress.metrics(step, **values)

    def should_stop(self) -> bool:
        """Whether a stop was asked for."""
        return self._progress.should_stop()


def base_folder(config: RestConfig) -> Path:
    """The model that the experiment begins with.

    Raises:
        RestError: if there is none.
    """
    folder = Path(config.model).expanduser().resolve() if config.model else shipped("pocket-listener")
    if not (folder / "config.json").is_file():
        raise RestError(
            f"There is no model in {folder}.", "Name a folder that holds config.json and weights."
        )
    return folder


def to_serve(workspace: Workspace, config: RestConfig, one: Round) -> tuple[Path, Path | None, str]:
    """Model folder, adapter folder (None without, or once it is merged) and name of what a round made."""
    folder = Path(one.folder)
    merged = one.number > 0 and folder == merged_folder(workspace, config.name, one.number)
    adapter = None if merged or not one.adapter else workspace.adapters / one.adapter
    return folder, adapter, one.model


def merges(config: RestConfig, number: int) -> bool:
    """Whether a round ends with a merged model: vLLM serves no other, and the next round may train on it."""
    return config.engine == "vllm" or (config.start == "previous" and number < config.rounds)


def say_how_to_go_on(name: str, error: LabError) -> None:
    """Add to an error's hint how the experiment goes on."""
    hint = f"Nothing that was done is lost; go on with: audioreason rest run {name} --resume"
    error.hint = f"{error.hint} {hint}".strip()


def round_model(config: RestConfig, number: int) -> str:
    """What the model after a round is called when it is served."""
    return base_folder(config).name if number == 0 else adapter_name(config.name, number)
