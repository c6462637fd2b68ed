"""Soundcheck's items over all families and difficulties, drawn once, and the voices that were heard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from drawn import SEEDS, SHIPPED, Grid, draw

from audioreason.items import Dataset, read_dataset
from audioreason.soundcheck import families, voices
from audioreason.soundcheck.registry import DIFFICULTIES


@pytest.fixture
def voices_heard() -> Iterator[set[str]]:
    """The names of the voices that the synthesiser is asked for while the test runs."""
    with pytest.MonkeyPatch.context() as patch:
        yield _listen(patch)


@pytest.fixture(scope="session")
def grid() -> Grid:
    """All families from the training namespace."""
    with pytest.MonkeyPatch.context() as patch:
        heard = _listen(patch)
        items = {
            name: [draw(name, level, seed) for level in DIFFICULTIES for seed in range(SEEDS)]
            for name in families()
        }
    return Grid(items, frozenset(heard))


@pytest.fixture(scope="session")
def shipped() -> Dataset:
    """The evaluation set of the checkout."""
    return read_dataset(SHIPPED)


def _listen(patch: pytest.MonkeyPatch) -> set[str]:
    heard: set[str] = set()
    speak = voices._cached

    def cached(text: str, voice: str, style: voices.Style) -> np.ndarray:
        heard.add(voice)
        return speak(text, voice, style)

    patch.setattr(voices, "_cached", cached)
    return heard
