"""The two hardest levels are harder in what is heard, and their items are still decided by their clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from math import exp

import numpy as np
import pytest
from drawn import Grid

from audioreason.items import Event
from audioreason.soundcheck import make_item
from audioreason.soundcheck.music import hertz, metronome
from audioreason.soundcheck.registry import Draw
from audioreason.soundcheck.scene import SNR, Scene
from audioreason.soundcheck.synth import Samples
from audioreason.soundcheck.tasks.cultural import LESS_SMOOTH, ROUGH, SMOOTH, STORIES
from audioreason.soundcheck.voices import LANGUAGES

_HARD = (3, 4, 5)
_NOISIER = (
    "accent", "announcement", "dialled", "heart_rate", "instrument", "manner", "mixed_languages", "order",
    "scene_change", "speaker_turns", "spoken_digits", "wanted",
)  # fmt: skip


def test_levels_one_to_three_share_what_the_harder_ones_replace() -> None:
    rng = np.random.default_rng(0)
    values = [Draw(rng, rng, level, False, True).harder(3.0, 2.0, 1.0) for level in (1, 2, 3, 4, 5)]
    assert values == [3.0, 3.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize("family", _NOISIER)
def test_each_hard_level_is_noisier_than_the_one_before(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[int, set[float]] = defaultdict(set)
    finish = Scene.finish

    def watched(scene: Scene, difficulty: int, reverb: bool = True, snr: float | None = None) -> Samples:
        level = SNR[difficulty] if snr is None else snr
        heard[asked].add(99.0 if level is None else level)
        return finish(scene, difficulty, reverb, snr)

    monkeypatch.setattr(Scene, "finish", watched)
    for asked in _HARD:
        make_item(family, asked, 1)
    (third,), (fourth,), (fifth,) = (heard[level] for level in _HARD)
    assert fifth < fourth < third and fourth < SNR[4] and fifth < SNR[5]  # type: ignore[operator]


def test_more_noise_is_really_in_the_clip() -> None:
    def floor(snr: float) -> float:
        scene = Scene(np.random.default_rng(3), 3.0)
        scene.samples[16_000:32_000] = 0.5 * np.sin(np.arange(16_000) * 0.3)
        out = scene.finish(4, reverb=False, snr=snr)
        return float(out[:16_000].std() / out[16_000:32_000].std())

    assert floor(20.0) < floor(10.0) < floor(0.0)


def _lengths(events: Sequence[Event], label: str) -> list[float]:
    return [event.end - event.start for event in events if event.label.startswith(label)]


@pytest.mark.parametrize(("family", "label"), [("dropout", "silence"), ("dialled", "key")])
def test_what_must_be_caught_is_shorter_at_each_hard_level(family: str, label: str, grid: Grid) -> None:
    longest = {
        level: max(
            length
            for drawn in grid.items[family]
            if drawn.item.difficulty == level
            for length in _lengths(drawn.item.events, label)
        )
        for level in _HARD
        if any(_lengths(d.item.events, label) for d in grid.items[family] if d.item.difficulty == level)
    }
    assert sorted(longest, key=lambda level: longest[level], reverse=True) == list(longest)
    assert max(longest) > 3 and min(longest.values()) > 0.03  # a telephone needs 40 ms of a key (ITU-T Q.24)


def test_a_second_speaker_is_quieter_than_the_one_asked_about(grid: Grid) -> None:
    for drawn in grid.items["language"]:
        labels = [event.label for event in drawn.item.events]
        assert labels[0] == f"speech in {drawn.item.answer}"
        if drawn.item.difficulty < 4:
            assert len(labels) == 1
            continue
        (other,) = (label.removeprefix("quieter speech in ") for label in labels[1:])
        assert other in LANGUAGES and other != drawn.item.answer and other in drawn.item.choices
        assert any(word in drawn.item.question for word in ("louder", "nearer", "foreground"))


def test_what_is_not_wanted_is_said_among_the_choices_only_when_hard(grid: Grid) -> None:
    for drawn in grid.items["wanted"]:
        said = [event.label for event in drawn.item.events]
        assert sum(label.startswith("words please") for label in said) == 1
        assert sum(label.startswith("words do not") for label in said) == (drawn.item.difficulty >= 4)


def test_only_the_right_story_has_all_its_sounds(grid: Grid) -> None:
    for drawn in grid.items["story"]:
        heard = set(drawn.heard)
        whole = [choice for choice in drawn.item.choices if set(STORIES[choice]) <= heard]
        assert whole == [drawn.item.answer], drawn.item.id
        assert len(drawn.heard) == {1: 3, 2: 3, 3: 4, 4: 6, 5: 6}[drawn.item.difficulty or 0]


def test_hard_orders_differ_from_each_other_by_exchanged_neighbours(grid: Grid) -> None:
    for drawn in grid.items["order"]:
        if (drawn.item.difficulty or 0) < 4:
            continue
        rows = [choice.split(", ") for choice in drawn.item.choices]
        for a, b in combinations(rows, 2):
            assert sorted(a) == sorted(b)
            assert all(abs(a.index(name) - b.index(name)) <= 1 for name in a), drawn.item.id
        # each of the four is as near to the rest as any other: none is given away as the middle one
        apart = [sorted(sum(x != y for x, y in zip(a, b, strict=True)) for b in rows) for a in rows]
        assert apart == [[0, 2, 2, 4]] * 4, drawn.item.id


def test_accents_of_a_bar_get_fainter() -> None:
    plain = [metronome(False, contrast) for contrast in (1.0, 0.3, 0.18)]
    accents = [metronome(True, contrast) for contrast in (1.0, 0.3, 0.18)]
    ratios = [float(a.std() / p.std()) for a, p in zip(accents, plain, strict=True)]
    assert ratios == sorted(ratios, reverse=True) and ratios[-1] > 1.05


@pytest.mark.parametrize("root", range(55, 65))
@pytest.mark.parametrize("partials", [(1, 2, 3, 4, 6), (1, 3, 5, 7, 9), tuple(range(1, 9))])
def test_the_rough_chord_is_rougher_than_every_chord_beside_it(root: int, partials: tuple[int, ...]) -> None:
    for rough in ROUGH[1:]:
        assert _roughness(root, rough, partials) > max(_roughness(root, s, partials) for s in LESS_SMOOTH)
    assert _roughness(root, ROUGH[0], partials) > max(_roughness(root, s, partials) for s in SMOOTH)


def _roughness(root: int, steps: Sequence[int], partials: Sequence[int]) -> float:
    """Sensory dissonance of a chord. Source: Sethares 1993, after Plomp and Levelt 1965."""
    tones = sorted((hertz(root + step) * k, 1 / k) for step in steps for k in partials)
    total = 0.0
    for (low, a), (high, b) in combinations(tones, 2):
        x = 0.24 * (high - low) / (0.021 * low + 19)
        total += min(a, b) * (exp(-3.5 * x) - exp(-5.75 * x))
    return total
