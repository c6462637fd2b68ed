"""No clip of the shipped set comes out of a training seed, as the leakage guard hears it."""

from __future__ import annotations

import pytest

from audioreason.items import Dataset
from audioreason.items.clips import read_clip
from audioreason.items.fingerprint import FingerprintIndex, fingerprint
from audioreason.soundcheck import families, make_item
from audioreason.soundcheck.registry import DIFFICULTIES
from audioreason.soundcheck.synth import SR

# few words, few notes or one continuous number: clips that chance could repeat
_PLAIN = ("wanted", "dialled", "accent", "ending", "chord_quality", "interval", "meter", "heart_rate")
_DRAWS = 200  # of each family and difficulty


@pytest.fixture(scope="module")
def known(shipped: Dataset) -> FingerprintIndex:
    clips = [shipped.clip(item) for item in shipped.items]
    return FingerprintIndex([fingerprint(read_clip(clip, SR), SR) for clip in clips if clip is not None])


def test_the_index_knows_a_shipped_clip_from_its_seed(known: FingerprintIndex, shipped: Dataset) -> None:
    for item in shipped.items[::16]:
        samples = make_item(item.family or "", item.difficulty or 0, item.seed or 0, "evaluation")[1]
        match = known.match(fingerprint(samples, SR))
        assert match is not None and shipped.items[match.clip].family == item.family, item.id


@pytest.mark.parametrize("family", list(families()))
def test_no_training_seed_gives_a_shipped_clip(family: str, known: FingerprintIndex) -> None:
    assert _matches(family, 2, known) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", _PLAIN)
def test_no_training_seed_of_a_plain_family_gives_a_shipped_clip(
    family: str, known: FingerprintIndex
) -> None:
    assert _matches(family, _DRAWS, known) == []


def _matches(family: str, draws: int, known: FingerprintIndex) -> list[str]:
    """Ids of training items whose clip is a shipped one: `draws` of each difficulty."""
    return [
        item.id
        for level in DIFFICULTIES
        for item, samples in (make_item(family, level, 90_000 + seed) for seed in range(draws))
        if known.match(fingerprint(samples, SR)) is not None
    ]
