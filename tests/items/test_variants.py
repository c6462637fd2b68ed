"""Items asked otherwise: every choice in every place, and never one's own recording."""

from __future__ import annotations

from math import factorial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.errors import ItemError
from audioreason.items import Item
from audioreason.items.sources import cluster_of
from audioreason.items.variants import heard, kept_places, reordered, swapped


def item(name: str = "q", choices: tuple[str, ...] = ("a", "b", "c", "d"), **more: str) -> Item:
    return Item(id=name, question="?", choices=choices, answer="b", **more)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 4), st.text(min_size=1))
def test_orders_keep_the_choices_and_begin_with_the_published_one(count: int, name: str) -> None:
    asked = item(name, tuple("abcde"[:count]))
    orders = [reordered(asked, order) for order in range(factorial(count) + 1)]
    assert orders[0] == asked
    assert all(sorted(one.choices) == sorted(asked.choices) for one in orders)
    assert all(one.choices[one.gold or 0] == "b" for one in orders)
    assert len({one.choices for one in orders}) == factorial(count)  # none repeats before all were used
    assert orders[-1] == asked


def test_over_as_many_orders_as_choices_each_stands_in_each_place_once() -> None:
    orders = [reordered(item(), order).choices for order in range(4)]
    for place in range(4):
        assert {choices[place] for choices in orders} == {"a", "b", "c", "d"}


def test_later_orders_differ_between_items_and_are_the_same_again() -> None:
    found = {reordered(item(f"q{k}"), 7).choices for k in range(20)}
    assert len(found) > 3
    assert reordered(item("q3"), 7) == reordered(item("q3"), 7)


def test_everyone_hears_another_recording() -> None:
    url = "https://www.youtube.com/watch?v=abcdefghijk"
    items = [item(f"q{k}", audio_path=f"audio/{k}.wav") for k in range(6)]
    items += [item(f"same{k}", audio_path=f"audio/same{k}.wav", url=url) for k in range(3)]
    items.append(item("silent"))
    asked = swapped(items)
    assert [one.id for one in asked] == [one.id for one in items]
    owner = {one.audio_path: one for one in items}
    for before, after in zip(items, asked, strict=True):
        if before.audio_path is None:
            assert after == before
            continue
        assert cluster_of(after) == cluster_of(before)  # it is still its own question in an error bar
        assert cluster_of(owner[heard(after).audio_path]) != cluster_of(before)
        assert heard(before) == before
    assert swapped(items) == asked


def test_one_recording_cannot_be_swapped_with_itself() -> None:
    url = "https://www.youtube.com/watch?v=abcdefghijk"
    with pytest.raises(ItemError, match="one recording"):
        swapped([item(f"q{k}", audio_path=f"audio/{k}.wav", url=url) for k in range(2)])


@pytest.mark.parametrize(
    ("choices", "kept"),
    [
        (("a", "b", "c", "None of the above"), {3}),
        (("a", "All of these", "c", "d"), {1}),
        (("a", "b", "以上都不是"), {2}),
        (("a", "b", "Both A and B"), {0, 1, 2}),
        (("a", "b", "c", "(A) and (C)"), {0, 1, 2, 3}),
        (("a", "b", "Neither A nor B."), {0, 1, 2}),
        (("a", "b", "A和B"), {0, 1, 2}),
        (("a", "b", "Both of the above"), {0, 1, 2}),
        (("a", "b", "Options 1 and 2"), {0, 1, 2}),
        (("a dog", "a cat", "Both a dog and a cat", "none"), set()),
        (("C sharp", "A flat", "B", "E and F"), set()),
        (("None", "Neither speaker", "A to B", "The first note"), set()),
    ],
)
def test_choices_that_refer_to_others_keep_their_places(choices: tuple[str, ...], kept: set[int]) -> None:
    asked = Item(id="q", question="?", choices=choices, answer=choices[0])
    assert kept_places(asked) == kept
    orders = [reordered(asked, order).choices for order in range(6)]
    assert all(order[place] == choices[place] for order in orders for place in kept)
    assert all(sorted(order) == sorted(choices) for order in orders)
    free = len(choices) - len(kept)
    assert len(set(orders)) == min(6, factorial(free)), "the rest still moves"


def test_a_column_called_heard_is_no_clip() -> None:
    items = [item(f"q{k}", audio_path=f"audio/{k}.wav", heard="twice") for k in range(3)]
    assert all(one.audio_path != heard(one).audio_path != "twice" for one in swapped(items))
    assert all((one.model_extra or {})["heard"] == "twice" for one in swapped(items))
