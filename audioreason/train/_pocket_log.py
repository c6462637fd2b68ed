"""What a training run says about itself: losses and speed every few steps, and `training_log.jsonl`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.train._pocket_data import Batch

if TYPE_CHECKING:
    import torch


class Meter:
    """Sums since the last report; reading them is what waits for the GPU."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.wait = 0.0  # seconds without a batch
        self._since = time.monotonic()
        self._losses: list[dict[str, torch.Tensor]] = []
        self._tokens = 0

    def add(self, losses: dict[str, torch.Tensor], batch: Batch) -> None:
        """Count one step: sum of losses and tokens for long and for short answers, and gradient norm."""
        self._losses.append(losses)
        self._tokens += sum(len(row.ids) for row in batch.rows)

    def report(self, step: int, seconds_in_all: float, rate: float) -> dict[str, float]:
        """The mean losses, the norm and the speed since the last report; counting begins anew."""
        import torch

        long, short = (
            torch.stack([entry[key] for entry in self._losses]).sum(0) for key in ("long", "short")
        )
        norm = float(torch.stack([entry["norm"] for entry in self._losses]).mean())
        seconds = time.monotonic() - self._since
        line = {
            "step": step,
            "explained": round(float(long[0] / long[1].clamp(min=1)), 4),
            "direct": round(float(short[0] / short[1].clamp(min=1)), 4),
            "norm": round(norm, 3),
            "rate": round(rate, 6),
            "seconds": round(seconds_in_all, 1),
            "step_seconds": round(seconds / len(self._losses), 4),
            "waiting": round(self.wait / seconds, 3),
            "tokens_per_second": round(self._tokens / seconds),
        }
        self._reset()
        return line


class Log:
    """`training_log.jsonl`, one line at a time."""

    def __init__(self, path: Path, append: bool) -> None:
        self.path = path
        if not append:
            path.write_text("")

    def write(self, line: dict[str, Any]) -> None:
        """Append one object."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
