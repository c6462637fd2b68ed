"""Items drawn once for many tests: what a test needs of a clip, without keeping its samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audioreason.items import Item
from audioreason.soundcheck import make_item

SEEDS = 6  # for each family and difficulty
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "soundcheck"


@dataclass(frozen=True)
class Drawn:
    """An item and facts of its clip: length in seconds, highest absolute sample, hash of the samples."""

    item: Item
    seconds: float
    peak: float
    finite: bool
    dtype: str
    clip: str

    @property
    def heard(self) -> list[str]:
        """Labels of the events in the order in which they start."""
        return [event.label for event in sorted(self.item.events, key=lambda event: event.start)]


@dataclass(frozen=True)
class Grid:
    """Training items by family, `SEEDS` for each difficulty, and every voice that spoke in them."""

    items: dict[str, list[Drawn]]
    voices: frozenset[str]

    @property
    def all(self) -> list[Drawn]:
        """Every item."""
        return [drawn for several in self.items.values() for drawn in several]


def draw(family: str, difficulty: int, seed: int, namespace: str = "train") -> Drawn:
    """One item, summed up."""
    item, samples = make_item(family, difficulty, seed, namespace)
    return Drawn(
        item=item,
        seconds=len(samples) / 16_000,
        peak=float(np.abs(samples).max()),
        finite=bool(np.isfinite(samples).all()),
        dtype=str(samples.dtype),
        clip=hashlib.sha256(samples.tobytes()).hexdigest(),
    )
