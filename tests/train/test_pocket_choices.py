"""Choices in other words: the right one stays right, and nothing is said twice."""

from __future__ import annotations

from random import Random

import pytest

from audioreason.soundcheck.registry import families, make_item
from audioreason.train._pocket_choices import reading_exercise, reworded


@pytest.mark.parametrize("family", list(families()))
def test_reworded_choices_keep_one_right_answer(family: str) -> None:
    item, _ = make_item(family, 3, 11)
    seen = set()
    for seed in range(40):
        shown = reworded(Random(seed), item)
        assert shown.gold is not None
        assert 2 <= len(set(shown.choices)) == len(shown.choices) <= len(item.choices)
        assert all(choice.strip() == choice for choice in shown.choices)
        seen.add(shown.answer)
    assert item.answer in seen
    assert len(seen) > 1


def test_ordinals_and_numbers_are_said_in_other_ways() -> None:
    ordinal, _ = make_item("odd_one_out", 3, 1)
    number, _ = make_item("count_events", 3, 1)
    said = {reworded(Random(seed), ordinal).answer for seed in range(200)}
    assert len(said) > 10
    counted = {reworded(Random(seed), number).answer for seed in range(200)}
    assert any(text.isalpha() for text in counted)
    assert any(text.endswith("times") for text in counted)


def test_a_reading_exercise_can_be_solved_from_its_text() -> None:
    item, _ = make_item("order", 2, 2)
    for seed in range(60):
        shown = reading_exercise(Random(seed), item)
        assert shown.gold is not None
        words = ("first", "second", "third", "fourth", "fifth")
        assert words[shown.gold] in shown.question or shown.answer in shown.question
        assert shown.events == item.events
