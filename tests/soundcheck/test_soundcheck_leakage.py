"""No clip of the shipped set comes out of a training seed, as the leakage guard hears it."""

from __future__ import annotations

import pytest

from audioreason.errors import GuardError, ItemError
from audioreason.items import Dataset, check_training, clear_of_benchmarks, load_dataset
from audioreason.items.clips import read_clip
from audioreason.items.fingerprint import FingerprintIndex, fingerprint
from audioreason.soundcheck import families, generate_cells, make_item
from audioreason.soundcheck.registry import DIFFICULTIES
from audioreason.soundcheck.synth import SR
from audioreason.workspace import Workspace

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


def test_an_item_that_sounds_like_the_benchmark_is_drawn_again(workspace: Workspace) -> None:
    cells = [("pair_count", 1, 33)]  # with this seed, the last sounds like an item of the shipped set
    generate_cells(workspace.datasets / "as-drawn", cells, seed=2001)
    with pytest.raises(GuardError, match="1 of 33 items"):
        check_training(load_dataset(workspace, "as-drawn"), workspace)
    generate_cells(workspace.datasets / "clear", cells, 2001, accept=clear_of_benchmarks(workspace))
    clear = load_dataset(workspace, "clear")
    assert check_training(clear, workspace).hits == ()
    drawn = [item.id for item in load_dataset(workspace, "as-drawn").items]
    assert [item.id for item in clear.items][:32] == drawn[:32]
    assert clear.items[32].id != drawn[32] and clear.items[32].difficulty == 1
    assert len(list((clear.root / "audio").iterdir())) == 33


def test_a_family_that_is_always_refused_is_named(workspace: Workspace) -> None:
    with pytest.raises(
        ItemError, match="draws of pair_count at difficulty 1 sound like items of a benchmark"
    ):
        generate_cells(workspace.datasets / "none", [("pair_count", 1, 1)], accept=lambda item, path: False)
    assert list(workspace.datasets.iterdir()) == []


def _matches(family: str, draws: int, known: FingerprintIndex) -> list[str]:
    """Ids of training items whose clip is a shipped one: `draws` of each difficulty."""
    return [
        item.id
        for level in DIFFICULTIES
        for item, samples in (make_item(family, level, 90_000 + seed) for seed in range(draws))
        if known.match(fingerprint(samples, SR)) is not None
    ]
