"""A stated answer -> exactly one choice or none, with the rule that fired. Never a guess between two.

Rules, in order: exact, normalised, lettered_text ("(B) text"), letter ("B"), quoted, prefix, contained,
fuzzy. The text of a choice wins over its letter: where the choices are themselves letters (note names, say),
"B" means the choice that reads "B". An empty choice is never resolved to. Knows nothing about gold answers.
"""

from __future__ import annotations

import difflib
import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

LONGEST = 4000  # characters of an answer that are looked at, from each end


@dataclass(frozen=True)
class Resolution:
    """Index of the choice, or None; `rule` says why either way ("none", "ambiguous", "conflict")."""

    index: int | None
    rule: str


_QUOTES = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "«": '"',
        "»": '"',
        "，": ",",
        "：": ":",
        "。": ".",
        "（": "(",
        "）": ")",
    }
)
_EDGE = string.whitespace + string.punctuation.replace("#", "").replace("+", "").replace("-", "").replace(
    "%", ""
)
_LETTER = re.compile(r"(?:option|choice|answer)?\s{0,2}[(\[]?\s?([A-Za-z])\s?[)\].:]{0,2}", re.IGNORECASE)
_LETTERED = re.compile(
    r"(?:option|choice)?\s{0,2}[(\[]?([A-Za-z])(?:[)\]][.:]?|[.:、]|\s[-–—])\s{0,4}(.+)", re.I | re.S
)
_SPAN = re.compile(r"\"([^\"\n]{1,400})\"|\*\*([^*\n]{1,400})\*\*|`([^`\n]{1,400})`|'([^'\n]{1,400})'(?!\w)")
_NUMBER = re.compile(
    r"\d+(?:[.:/]\d+)*|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|first|second|third|"
    r"fourth|fifth|once|twice|no|not|none|never)\b"
)
_DENIED = re.compile(
    r"(?:\bnot|n't|\bno|\bnever|\brather than|\binstead of|\bisn't|\bunlike)\s+(?:\w+\s+){0,2}$"
)


def normalise(text: str) -> str:
    """Text for comparison: NFKC, straight quotes, no markup at the edges, single spaces, case folded."""
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold()
    collapsed = " ".join(plain.split())
    return collapsed.strip(_EDGE) or collapsed.strip()


def resolve(text: str, choices: Sequence[str]) -> Resolution:
    """The one choice that `text` states; never raises. Permuting the choices permutes the result.

    Whole text first; if it says nothing clear, its first and its last line, which must not disagree.
    """
    stated = text.strip()
    if not stated or not choices:
        return Resolution(None, "none")
    if len(stated) > 2 * LONGEST:
        stated = f"{stated[:LONGEST]}\n{stated[-LONGEST:]}"
    names = [normalise(choice) for choice in choices]
    whole = _first(stated, choices, names, _STATEMENT)
    if whole.index is not None or whole.rule == "conflict":
        return whole
    lines = [line.strip() for line in stated.splitlines() if line.strip()]
    if len(lines) > 1:
        ends = {
            result.index: result
            for result in (_first(line, choices, names, _STATEMENT) for line in (lines[0], lines[-1]))
            if result.index is not None
        }
        if len(ends) == 1:
            return next(iter(ends.values()))
        if len(ends) == 2:
            return Resolution(None, "ambiguous")
    return _first(stated, choices, names, _MENTION, whole)


Rule = Callable[[str, Sequence[str], Sequence[str]], Resolution | None]


def _first(
    text: str,
    choices: Sequence[str],
    names: Sequence[str],
    rules: Sequence[Rule],
    otherwise: Resolution | None = None,
) -> Resolution:
    doubt = otherwise
    for rule in rules:
        result = rule(text, choices, names)
        if result is None:
            continue
        if result.index is not None or result.rule == "conflict":
            return result
        doubt = result
    return doubt or Resolution(None, "none")


def _only(matches: Sequence[int], rule: str) -> Resolution | None:
    """One match resolves, several are ambiguous, none says nothing."""
    if not matches:
        return None
    return Resolution(matches[0], rule) if len(matches) == 1 else Resolution(None, "ambiguous")


def _exact(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    return _only([i for i, choice in enumerate(choices) if choice.strip() == text], "exact")


def _normalised(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    wanted = normalise(text)
    return _only([i for i, name in enumerate(names) if name == wanted], "normalised")


def _lettered_text(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    match = _LETTERED.fullmatch(text.strip().strip("*").strip())
    if match is None:
        return None
    position = ord(match[1].upper()) - ord("A")
    body = normalise(match[2])
    if position >= len(names) or not body:
        return None
    said = [i for i, name in enumerate(names) if name == body]
    if position in said:
        return Resolution(position, "lettered_text")
    if said:
        return Resolution(None, "conflict")  # the letter names one choice, the text another
    mentioned = list(_mentions(normalise(text), names))
    if mentioned == [position]:
        return Resolution(position, "lettered_text")
    return None


def _letter(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    match = _LETTER.fullmatch(text.strip().strip("*`_").strip())
    if match is None:
        return None
    position = ord(match[1].upper()) - ord("A")
    return Resolution(position, "letter") if position < len(choices) else None


def _quoted(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    spans = {normalise(next(group for group in match.groups() if group)) for match in _SPAN.finditer(text)}
    return _only([i for i, name in enumerate(names) if name in spans], "quoted")


def _prefix(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    said = normalise(text)
    starts = [i for i, name in enumerate(names) if name and _bounded(said, 0, name)]
    if not starts:
        return None
    longest = max(len(names[i]) for i in starts)
    best = [i for i in starts if len(names[i]) == longest]
    if len(best) != 1:
        return Resolution(None, "ambiguous")
    others = [i for i in _mentions(said[longest:], names) if i not in starts]
    return Resolution(None, "ambiguous") if others else Resolution(best[0], "prefix")


def _contained(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    return _only(list(_mentions(normalise(text), names)), "contained")


def _fuzzy(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    said = normalise(text)
    if not said or len(said) > 2 * max(len(name) for name in names) + 20:
        return None
    numbers = set(_NUMBER.findall(said))
    ranked = sorted(
        (
            (difflib.SequenceMatcher(None, said, name, autojunk=False).ratio(), i)
            for i, name in enumerate(names)
        ),
        reverse=True,
    )
    score, index = ranked[0]
    margin = score - (ranked[1][0] if len(ranked) > 1 else 0.0)
    # a number or a "not" more or less is another answer, however alike the letters are
    if score < 0.86 or margin < 0.08 or numbers != set(_NUMBER.findall(names[index])):
        return None
    return Resolution(index, "fuzzy")


def _mentions(said: str, names: Sequence[str]) -> Iterator[int]:
    """Choices that stand in `said` as whole words, not inside a longer choice there, and not denied."""
    places: list[tuple[int, int, int]] = []
    for i, name in enumerate(names):
        if len(name) < 2 and not name.isdigit():
            continue  # "a" is an article more often than a choice
        start = said.find(name)
        while start >= 0:
            if _bounded(said, start, name) and not _DENIED.search(said, max(0, start - 40), start):
                places.append((start, start + len(name), i))
            start = said.find(name, start + 1)
    kept = {
        i
        for start, end, i in places
        if not any(s <= start and end <= e and e - s > end - start for s, e, _ in places)
    }
    yield from sorted(kept)


def _bounded(said: str, start: int, name: str) -> bool:
    """Whether `name` stands at `start` of `said` with word boundaries at both ends."""
    if not said.startswith(name, start):
        return False
    end = start + len(name)
    before = start == 0 or not (said[start - 1].isalnum() and name[0].isalnum())
    after = end == len(said) or not (said[end].isalnum() and name[-1].isalnum())
    decimal = end + 1 < len(said) and name[-1].isdigit() and said[end] in ".:" and said[end + 1].isdigit()
    return before and after and not decimal


_STATEMENT: tuple[Rule, ...] = (_exact, _normalised, _lettered_text, _letter)
_MENTION: tuple[Rule, ...] = (_quoted, _prefix, _contained, _fuzzy)
