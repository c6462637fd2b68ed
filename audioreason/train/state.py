"""Where a training run stands, on disk: one file, replaced whole, that a killed run goes on from.

Knows nothing about steps.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from audioreason.engines.adapters import AdapterRecord
from audioreason.engines.pocket import first_line
from audioreason.errors import EngineError, WorkspaceError
from audioreason.train.recipe import Recipe

if TYPE_CHECKING:
    import torch


@dataclass
class Standing:
    """Steps made, the last loss, the best held-out loss, its step, and evaluations since then."""

    step: int = 0
    loss: float | None = None
    best: float | None = None
    best_step: int = 0
    worse: int = 0

    def improved(self, value: float) -> bool:
        """Take in a held-out loss; whether it is the best so far."""
        if self.best is None or value < self.best:
            self.best, self.best_step, self.worse = value, self.step, 0
            return True
        self.worse += 1
        return False


def save_state(
    path: Path,
    recipe: Recipe,
    record: AdapterRecord,
    factors: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    standing: Standing,
) -> None:
    """Write the state beside the old one and put it in its place.

    Raises:
        WorkspaceError: if the disk is full; the old state is intact.
    """
    import torch

    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    state = {
        "recipe": recipe.model_dump_json(),
        "fingerprint": record.fingerprint,
        "digest": record.data["digest"],
        "standing": asdict(standing),
        "weights": {name: value.detach().cpu() for name, value in factors.items()},
        "optimizer": optimizer.state_dict(),
        "random": torch.random.get_rng_state(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f".{path.name}.*.tmp"):  # left by a kill
            old.unlink()
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError when the disk is full
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise WorkspaceError(
            f"The state of the training could not be written to {path} ({_why(error)}).",
            "Free some space and resume; the state before is intact.",
        ) from error


def _why(error: Exception) -> str:
    """What the disk said, where torch hid it behind an assertion about positions in its archive."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return first_line(error)


def load_state(
    path: Path,
    recipe: Recipe,
    record: AdapterRecord,
    factors: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> Standing:
    """Put a saved state into factors and optimiser.

    Raises:
        EngineError: if it cannot be read, or belongs to another model, other data or another recipe.
    """
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        before = Recipe.model_validate_json(state["recipe"])
        standing = Standing(**state["standing"])
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError, UnpicklingError) as error:
        raise EngineError(
            f"The state {path} cannot be read ({first_line(error)}).", "Train again under another name."
        ) from error
    changed = before.same_course(recipe)
    for what, same in (
        ("model", state["fingerprint"] == record.fingerprint),
        ("training file", state["digest"] == record.data["digest"]),
    ):
        if not same:
            changed.append(what)
    if changed:
        raise EngineError(
            f"The training in {path.parent} cannot be resumed: {', '.join(changed)} changed since.",
            "Give what it was started with, or train anew under another name.",
        )
    with torch.no_grad():
        for name, parameter in factors.items():
            parameter.copy_(state["weights"][name])
    optimizer.load_state_dict(state["optimizer"])
    torch.random.set_rng_state(state["random"])
    return standing


def versions() -> dict[str, str]:
    """Versions of the packages that decide what comes out."""
    found = {}
    for name in ("audioreason", "torch", "transformers", "peft", "accelerate", "bitsandbytes"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
