"""How long work reports and hears "stop". It never knows whether a job, a command or a page is listening."""

from __future__ import annotations

import threading
from typing import Protocol


class Progress(Protocol):
    """What long work takes from whoever started it. Every method is cheap and safe from any thread."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a named phase of `total` units (None: unknown). `done` starts again from zero."""

    def done(self, count: int, note: str = "") -> None:
        """Say that `count` units of this phase are complete in all (absolute, not an increment)."""

    def metrics(self, step: int, **values: float) -> None:
        """Record named values at a step, for live charts."""

    def should_stop(self) -> bool:
        """True once somebody asked for a graceful stop."""


class Quiet:
    """A Progress that nobody watches; `stop()` still works."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def phase(self, name: str, total: int | None = None) -> None:
        """Ignore the phase."""

    def done(self, count: int, note: str = "") -> None:
        """Ignore the count."""

    def metrics(self, step: int, **values: float) -> None:
        """Ignore the values."""

    def should_stop(self) -> bool:
        """True after `stop()`."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the work for a graceful stop."""
        self._stop.set()
