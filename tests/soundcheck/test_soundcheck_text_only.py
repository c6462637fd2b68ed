"""Whoever sees only question and choices must guess: no family gives its answer away by text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from audioreason.items import Item
from audioreason.soundcheck import make_item

ITEMS = 150
MARGIN = 0.14  # above chance; 75 guesses at one in four have a standard deviation of 0.05
Guess = Callable[[Item], int]
Learner = Callable[[Sequence[Item]], Guess]


@pytest.mark.parametrize(
    "family",
    ["count_events", "dialled", "interval", "order", "spoken_digits", "scene_change", "mixed_languages"],
)
def test_text_alone_gives_no_more_than_a_guess(family: str) -> None:
    items = [make_item(family, 1 + seed % 5, seed)[0] for seed in range(ITEMS)]
    chance = sum(1 / len(item.choices) for item in items) / ITEMS
    for name, reached in _accuracies(items).items():
        assert reached <= chance + MARGIN, f"{family}: {name} reaches {reached:.2f}"


@pytest.mark.parametrize("leak", ["position", "size", "words", "middle"])
def test_the_guesses_find_an_answer_that_text_gives_away(leak: str) -> None:
    assert max(_accuracies([_leaky(leak, k) for k in range(ITEMS)]).values()) > 0.9


def _accuracies(items: Sequence[Item]) -> dict[str, float]:
    """Each way of guessing, learnt from the first half of the items and tried on the second."""
    half = len(items) // 2
    learners = {"position": _position, "place in size": _size, "words": _words, "most alike": _alike}
    reached = {}
    for name, learn in learners.items():
        guess = learn(items[:half])
        reached[name] = sum(guess(item) == item.gold for item in items[half:]) / len(items[half:])
    return reached


def _position(seen: Sequence[Item]) -> Guess:
    """The most frequent place of the gold choice, by question text where that was seen."""
    every = Counter(item.gold for item in seen)
    by_question: dict[str, Counter[int | None]] = {}
    for item in seen:
        by_question.setdefault(item.question, Counter())[item.gold] += 1
    return lambda item: by_question.get(item.question, every).most_common(1)[0][0] or 0


def _size(seen: Sequence[Item]) -> Guess:
    """The most frequent place of the gold choice among the sorted ones (numbers by value)."""

    def ranked(item: Item) -> list[int]:
        def key(index: int) -> tuple[list[int], str]:
            return [int(n) for n in re.findall(r"\d+", item.choices[index])], item.choices[index]

        return sorted(range(len(item.choices)), key=key)

    rank = Counter(ranked(item).index(cast(int, item.gold)) for item in seen).most_common(1)[0][0]
    return lambda item: ranked(item)[min(rank, len(item.choices) - 1)]


def _words(seen: Sequence[Item]) -> Guess:
    """The choice whose text was right most often when it was shown, then its words."""
    right, shown = Counter[str](), Counter[str]()
    for item in seen:
        for index, choice in enumerate(item.choices):
            for token in (choice, *choice.split()):
                shown[token] += 1
                right[token] += index == item.gold

    def score(choice: str) -> float:
        tokens = (choice, *choice.split())
        return sum((right[token] + 1) / (shown[token] + 4) for token in tokens) / len(tokens)

    return lambda item: max(range(len(item.choices)), key=lambda index: score(item.choices[index]))


def _alike(_: Sequence[Item]) -> Guess:
    """The choice that agrees with the others in most places: wrong ones may be variants of the right one."""

    def score(item: Item, index: int) -> int:
        words = item.choices[index].split()
        others = [c.split() for k, c in enumerate(item.choices) if k != index]
        return sum(a == b for other in others for a, b in zip(words, other, strict=False))

    return lambda item: max(range(len(item.choices)), key=lambda index: score(item, index))


def _leaky(leak: str, k: int) -> Item:
    place = k % 4
    if leak == "position":
        choices = [f"{n} {k}" for n in "abcd"]
        place = 1
    elif leak == "size":
        choices = [str(2 + (k + n) % 4) for n in range(4)]
        place = choices.index("5")
    elif leak == "words":
        choices = [f"wrong {n}{k}" for n in range(4)]
        choices[place] = f"surely {k}"
    else:
        rows = [["a", "b", "c"] for _ in range(4)]
        for at, wrong in enumerate(n for n in range(4) if n != place):
            rows[wrong][at] = f"{wrong}{k}"
        choices = [" ".join(row) for row in rows]
    return Item(id=str(k), question="Which?", choices=tuple(choices), answer=choices[place])
