"""How a search ends before its time. Not `Exception`: DSPy turns those into a score of 0 and goes on.

HaltError(BaseException)
├── Stopped       somebody asked for it, or the budget is spent: the best so far is kept
└── Broken        something failed (a server, the disk, a template): carries the sentence to show

Knows nothing about who asked.
"""

from __future__ import annotations

from typing import Literal

from audioreason.errors import LabError


class HaltError(BaseException):
    """Ends a search from inside DSPy, whose `except Exception` must not see it."""


class Stopped(HaltError):
    """The search shall end and keep its best; `ending` says why."""

    def __init__(self, ending: Literal["stopped", "budget"], note: str = "") -> None:
        super().__init__(note or ending)
        self.ending: Literal["stopped", "budget"] = ending
        self.note = note


class Broken(HaltError):
    """The search cannot go on now; resuming may."""

    def __init__(self, error: LabError) -> None:
        super().__init__(str(error))
        self.error = error
