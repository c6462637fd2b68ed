"""Words that families share: sentences, numbers, lists, and which voice speaks."""

from __future__ import annotations

from collections.abc import Sequence

from audioreason.soundcheck.registry import Draw
from audioreason.soundcheck.voices import HELD_OUT_VOICES, HIGH, LOW, Style

ORDINALS = ("first", "second", "third", "fourth", "fifth")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS = (
    "apple", "river", "window", "garden", "silver", "monkey", "paper", "bridge", "candle", "rocket",
    "butter", "camel", "doctor", "engine", "forest", "hammer", "island", "jacket", "ladder", "mirror",
)  # fmt: skip
SENTENCES = (
    "The meeting starts after lunch.",
    "She left her umbrella on the train.",
    "We will paint the kitchen next week.",
    "He reads the paper every morning.",
    "The children play behind the house.",
    "Please bring the box to the second floor.",
    "They found the key under the table.",
    "The river is high this year.",
    "My brother works in a small shop.",
    "You can leave your coat over there.",
)


def voices(d: Draw, kind: Sequence[str]) -> list[str]:
    """The voices of a kind that this item may use; held-out ones only where they are allowed."""
    return [voice for voice in kind if d.new_voices or voice not in HELD_OUT_VOICES]


def pick_voice(d: Draw) -> str:
    """A low or a high voice."""
    return d.pick(voices(d, LOW if d.rng.random() < 0.5 else HIGH))


def speaking(d: Draw, low: int = 130, high: int = 200, pitch: int = 50) -> Style:
    """A speed in words a minute from a range (see `Draw.between`), and a pitch."""
    return Style(rate=round(d.between(low, high)), pitch=pitch)


def listed(parts: Sequence[str]) -> str:
    """Words as a list: "bell, knock, clap"."""
    return ", ".join(parts)


def window(d: Draw, low: int, high: int, size: int = 4) -> tuple[int, list[int]]:
    """A right number and its wrong neighbours: a run of `size` numbers in bounds, any of them the right one.

    Drawn run first, so that the numbers shown say nothing about which of them is right.
    """
    start = int(d.rng.integers(low, max(low, high - size + 1) + 1))
    run = list(range(start, start + size))
    gold = run[int(d.rng.integers(size))]
    return gold, [n for n in run if n != gold]


def altered(d: Draw, row: Sequence[str], symbols: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """A row and three others that differ from it and from each other in one or two places, all alike.

    Two places take one of two symbols each; any of the four rows may be the right one.
    """
    i, j = (int(k) for k in d.rng.permutation(len(row))[:2])
    at_i, at_j = d.some(symbols, 2), d.some(symbols, 2)
    rows = []
    for a in at_i:
        for b in at_j:
            other = list(row)
            other[i], other[j] = a, b
            rows.append(other)
    return rows.pop(int(d.rng.integers(4))), rows
