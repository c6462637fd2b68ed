"""The published MMAR score: a match of word sets, kept bit for bit so that figures compare with the paper's.

It is exploitable (28 wrong options over 20 items pass) and strict about "(B) text" on 15 items; the lab
shows it beside the strict score and never instead of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\b\w+\b")


def words(text: str) -> set[str]:
    """The set of words of a text, in lower case, as the published evaluation takes them."""
    return set(_WORD.findall(text.lower()))


def official_match(prediction: str, answer: str, choices: Sequence[str]) -> bool:
    """Whether the published evaluation counts `prediction` as right.

    It has a word, contains every word of `answer`, and none that another choice has and `answer` lacks.
    Source: Ma et al. (2025), arXiv 2505.13032, evaluation code.
    """
    said, gold = words(prediction), words(answer)
    wrong = set[str]().union(*(words(choice) - gold for choice in choices if words(choice) != gold))
    return bool(said) and gold <= said and not (said & wrong)
