"""What can go wrong, drawn as a tree. Catch `LabError` at the edge (a page, a command) and show its sentence.

LabError(message, hint)
├── WorkspaceError     the folder on disk: not writable, disk full, locked by another process
├── ItemError          a dataset, an item or its clip: missing, broken, refused
│   └── GuardError     a benchmark item was about to train a model
├── PromptError        a template: syntax, unknown variable, too large (has .line)
├── EndpointError      a server: down, wrong model, refused the audio (has .status)
├── RunError           a run: unknown, half-written, recipe does not match on resume
│   └── UnansweredError  an evaluation that got too few answers; what came is kept
├── EngineError        a local model: missing weights, not enough memory
├── RestError          self-training: unknown, settings that do not fit, changed since it began
├── OptimizeError      a search for a prompt: unknown, settings that do not fit, a proposer that cannot write
└── JobError           a job: unknown kind, bad spec, cannot be stopped

Knows nothing about who shows the sentence.
"""

from __future__ import annotations


class LabError(Exception):
    """One clear sentence for the researcher: what happened and where; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class WorkspaceError(LabError):
    """The workspace folder cannot be used as asked."""


class ItemError(LabError):
    """A dataset, an item or a clip is missing, broken or refused."""


class GuardError(ItemError):
    """An item that belongs to a benchmark was about to train a model."""


class PromptError(LabError):
    """A prompt template cannot be loaded or rendered; `line` is 1-based within its section, if known."""

    def __init__(self, message: str, hint: str = "", line: int | None = None) -> None:
        super().__init__(message, hint)
        self.line = line


class EndpointError(LabError):
    """A model server could not answer; `status` is the HTTP status, or None if there was no response."""

    def __init__(self, message: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


class RunError(LabError):
    """A run cannot be read, written or resumed."""


class UnansweredError(RunError):
    """The server went away, refused, or answered less than half; the run can be resumed.

    `answered` of `total` predictions have an answer.
    """

    def __init__(self, message: str, hint: str, answered: int, total: int) -> None:
        super().__init__(message, hint)
        self.answered = answered
        self.total = total


class EngineError(LabError):
    """A local model cannot be loaded or served."""


class RestError(LabError):
    """A self-training experiment cannot be started, read or continued."""


class OptimizeError(LabError):
    """A search for a better prompt cannot be started, read or continued."""


class JobError(LabError):
    """A job cannot be submitted, stopped, resumed or deleted."""
