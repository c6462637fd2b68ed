"""Numbers of each step: to OUT/metrics.jsonl, and to TensorBoard if it is installed.

Knows nothing about what is trained.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import orjson
import psutil

from audioreason.errors import WorkspaceError
from audioreason.workspace import JsonlWriter, truncate_torn_tail, write_atomic


class Metrics:
    """Writes the metrics of one run.

    Args:
        folder: the run's.
        step: where it goes on from; lines after it, of steps that will be made again, are dropped.

    Raises:
        WorkspaceError: here and from `step` and `held_out`, if the disk is full.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        truncate_torn_tail(path)
        if path.is_file():
            lines = path.read_bytes().splitlines()
            write_atomic(path, b"".join(x + b"\n" for x in lines if orjson.loads(x)["step"] <= step))
        self._lines = JsonlWriter(path)
        self._folder = folder / "tensorboard"
        try:
            self._board = _board(self._folder, step)
        except OSError as error:
            self._lines.close()
            raise _unwritten(self._folder, error) from error

    def step(
        self, step: int, loss: float, norm: float, rate: float, tokens: int, seconds: float
    ) -> dict[str, float]:
        """Write one step; returns its values by name."""
        values = {
            "loss": loss,
            "grad_norm": norm,
            "lr": rate,
            "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
            "memory_gib": round(_memory() / 2**30, 3),
        }
        self._write(step, values)
        return values

    def held_out(self, step: int, loss: float) -> None:
        """Write a held-out loss."""
        self._write(step, {"held_out_loss": loss})

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        if self._board is not None:
            with contextlib.suppress(OSError):  # the disk is full; metrics.jsonl has the same numbers
                self._board.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        self._lines.append(orjson.dumps({"step": step, **values}))
        if self._board is None:
            return
        try:
            for name, value in values.items():
                self._board.add_scalar(f"train/{name}", value, step)
        except OSError as error:  # its thread met it before, and says so now
            raise _unwritten(self._folder, error) from error


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an extra of its own; metrics.jsonl has the same numbers
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _unwritten(folder: Path, error: OSError) -> WorkspaceError:
    return WorkspaceError(
        f"{folder} could not be written ({error.strerror or error}).",
        "Free some space and resume; what was written before is intact.",
    )


def _memory() -> int:
    """Bytes: the most that a GPU held so far, or what this process holds of main memory."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
