"""What every family promises: MMAR's names, fair choices, a clean clip, events that prove the answer."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from drawn import Drawn, Grid

from audioreason.soundcheck import SUBCATEGORIES, effects, families, make_item
from audioreason.soundcheck.music import INTERVALS
from audioreason.soundcheck.synth import SOUNDS, Random, Samples

_NUMBERS = ("Zero", "One", "Two", "Three", "Four", "Five")
_VARIABLE = re.compile(rf"\b({'|'.join(SOUNDS)}|low|high|before|after|nearest|farthest)\b")


def test_subcategories_and_layers_are_those_of_mmar(mmar_meta: Path) -> None:
    rows = [json.loads(line) for line in mmar_meta.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert {row["sub-category"]: row["category"] for row in rows} == SUBCATEGORIES


def test_every_subcategory_has_a_family_and_no_family_another_one() -> None:
    assert {family.subcategory for family in families().values()} == set(SUBCATEGORIES)
    assert {family.layer for family in families().values()} == set(SUBCATEGORIES.values())


def test_an_item_carries_the_names_of_its_family(grid: Grid) -> None:
    for name, family in families().items():
        for item in (drawn.item for drawn in grid.items[name]):
            assert (item.family, item.subcategory, item.layer) == (name, family.subcategory, family.layer)
            assert item.modality == family.modality
            assert item.thinking and item.cue


def test_gold_is_among_unique_choices_of_a_fair_number(grid: Grid) -> None:
    for drawn in grid.all:
        choices = drawn.item.choices
        assert choices.count(drawn.item.answer) == 1, drawn.item.id
        assert len({choice.strip().casefold() for choice in choices}) == len(choices), drawn.item.id
        assert 2 <= len(choices) <= 5, drawn.item.id


def test_most_items_have_four_choices(grid: Grid) -> None:
    four = sum(len(drawn.item.choices) == 4 for drawn in grid.all)
    assert four >= 0.8 * len(grid.all)


def test_clips_are_finite_float32_of_three_to_ten_seconds_and_not_silent(grid: Grid) -> None:
    for drawn in grid.all:
        assert drawn.finite and drawn.dtype == "float32", drawn.item.id
        assert 0.05 < drawn.peak <= 1, drawn.item.id
        assert 3 <= drawn.seconds <= 10, drawn.item.id


def test_events_lie_inside_the_clip(grid: Grid) -> None:
    for drawn in grid.all:
        for event in drawn.item.events:
            assert 0 <= event.start <= event.end <= drawn.seconds + 0.01, drawn.item.id


def test_every_family_asks_in_at_least_four_ways(grid: Grid) -> None:
    for name, several in grid.items.items():
        asked = [drawn.item for drawn in several] + [make_item(name, 1, 100 + k)[0] for k in range(10)]
        assert len({_VARIABLE.sub("*", item.question) for item in asked}) >= 4, name


def test_every_position_of_the_right_choice_occurs(grid: Grid) -> None:
    places = Counter(drawn.item.gold for drawn in grid.all if len(drawn.item.choices) == 4)
    total = sum(places.values())
    assert set(places) == {0, 1, 2, 3}
    assert all(0.2 < count / total < 0.3 for count in places.values()), places


def test_counted_sounds_are_really_there(grid: Grid) -> None:
    for drawn in grid.items["count_events"]:
        target = max((sound for sound in SOUNDS if sound in drawn.item.question), key=len)
        assert drawn.heard.count(target) == int(drawn.item.answer), drawn.item.id


def test_counted_kinds_are_really_different(grid: Grid) -> None:
    for drawn in grid.items["count_kinds"]:
        assert len(set(drawn.heard)) == int(drawn.item.answer), drawn.item.id


def test_counted_pairs_really_follow_each_other(grid: Grid) -> None:
    for drawn in grid.items["pair_count"]:
        first, second = re.search(r": ([a-z ]+) then ([a-z ]+) occurs", drawn.item.thinking or "").groups()  # type: ignore[union-attr]
        assert first in drawn.item.question and second in drawn.item.question, drawn.item.id
        pairs = Counter(pairwise(drawn.heard))
        assert pairs[first, second] == int(drawn.item.answer), drawn.item.id


def test_counted_speakers_really_speak(grid: Grid) -> None:
    for drawn in grid.items["speaker_count"]:
        assert _NUMBERS[len(set(drawn.heard))] == drawn.item.answer, drawn.item.id


def test_the_most_frequent_sound_leads_alone(grid: Grid) -> None:
    for drawn in grid.items["most_frequent"]:
        (top, count), (_, second) = Counter(drawn.heard).most_common(2)
        assert top == drawn.item.answer and count > second, drawn.item.id


def test_strong_beats_come_as_far_apart_as_the_meter_says(grid: Grid) -> None:
    for drawn in grid.items["meter"]:
        period = float(re.search(r"a beat every ([\d.]+) s", drawn.item.thinking or "").group(1))  # type: ignore[union-attr]
        starts = [event.start for event in drawn.item.events]
        beats = _NUMBERS.index(drawn.item.answer)
        assert len(starts) >= 2, drawn.item.id
        for before, after in pairwise(starts):
            assert abs((after - before) - beats * period) <= 0.05 * beats + 0.02, drawn.item.id


def test_orders_are_the_order_of_the_events(grid: Grid) -> None:
    def same(family: str, gold: str, drawn: Drawn) -> None:
        assert drawn.item.answer.casefold() == gold.casefold(), (family, drawn.item.id)

    for drawn in grid.items["order"]:
        same("order", ", ".join(drawn.heard), drawn)
    for drawn in grid.items["scene_change"]:
        same("scene_change", f"From {drawn.heard[0]} to {drawn.heard[1]}", drawn)
    for drawn in grid.items["mixed_languages"]:
        first, second = (label.removeprefix("speech in ") for label in drawn.heard)
        same("mixed_languages", f"{first}, then {second}", drawn)
    for drawn in grid.items["speaker_turns"]:
        same("speaker_turns", ", ".join(label.removesuffix(" voice") for label in drawn.heard), drawn)
    for family in ("dialled", "spoken_digits"):
        for drawn in grid.items[family]:
            same(family, " ".join(label.split()[1] for label in drawn.heard), drawn)


def test_the_neighbour_asked_for_is_the_neighbour_heard(grid: Grid) -> None:
    for drawn in grid.items["right_after"]:
        side, anchor = re.search(r"(after|before) the ([a-z ]+)\?", drawn.item.question).groups()  # type: ignore[union-attr]
        place = drawn.heard.index(anchor) + (1 if side == "after" else -1)
        assert place >= 0 and drawn.heard[place] == drawn.item.answer, drawn.item.id


def test_the_effect_follows_its_cause_every_time(grid: Grid) -> None:
    for drawn in grid.items["always_follows"]:
        cause = max((sound for sound in SOUNDS if sound in drawn.item.question), key=len)
        after = [second for first, second in pairwise(drawn.heard) if first == cause]
        assert len(after) >= 2 and set(after) == {drawn.item.answer}, drawn.item.id


def test_the_longest_tone_is_the_longest_event(grid: Grid) -> None:
    ordinals = ("The first", "The second", "The third", "The fourth")
    for drawn in grid.items["longest"]:
        lengths = [event.end - event.start for event in drawn.item.events]
        assert ordinals[lengths.index(max(lengths))] == drawn.item.answer, drawn.item.id


def test_a_gap_is_an_event_and_no_gap_leaves_the_speech(grid: Grid) -> None:
    for drawn in grid.items["dropout"]:
        gap = [] if drawn.item.answer == "Nowhere" else ["silence"]
        assert drawn.heard == ["speech", *gap], drawn.item.id


def test_outdoors_has_no_reverberation_however_hard_the_item(monkeypatch: pytest.MonkeyPatch) -> None:
    reverb, decays = effects.reverb, []

    def counted(rng: Random, sound: Samples, decay: float, wet: float) -> Samples:
        decays.append(decay)
        return reverb(rng, sound, decay, wet)

    monkeypatch.setattr(effects, "reverb", counted)
    for seed in range(24):
        decays.clear()
        item, _ = make_item("room", 3 + seed % 3, seed)
        assert len(decays) == (item.answer != "Outdoors, no echo"), item.id


def test_intervals_to_choose_from_do_not_gather_around_the_right_one() -> None:
    names = [name.capitalize() for name in INTERVALS]
    place = Counter[int]()
    for seed in range(160):
        item = make_item("interval", 4, seed)[0]
        place[sorted(item.choices, key=names.index).index(item.answer)] += 1
    assert min(place.values()) > 20, place
