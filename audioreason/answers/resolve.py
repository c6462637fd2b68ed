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
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST = 4000  # characters of an answer that are looked at, from each end
_LONGEST_FUZZY = 300  # characters of a text that may be a misspelt choice
_PLACES = 50  # mentions of one choice that are looked at


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
_PART_OF_NAME = "#♯♭°+"  # behind a note or chord they name another one
_LETTER = re.compile(
    r"(?:(?:option|choice|answer)\s?:?)?\s{0,2}[(\[]?\s?([A-Za-z])\s?[)\].:]{0,2}", re.IGNORECASE
)
_LETTERED = re.compile(
    r"(?:option|choice)?\s{0,2}[(\[]?([A-Za-z])(?:[)\]][.:]?|[.:、]|\s[-–—])\s{0,4}(.+)", re.I | re.S
)
_LETTER_BEHIND = re.compile(r"(.{1,400}?)\s{0,2}[(\[]([A-Za-z])[)\]]\.?", re.S)
_PLAIN_LETTER = re.compile(r"(?:(?:option|choice)\s{1,2}[(\[]?|[(\[])[A-Za-z]\b", re.I)
_BULLET = re.compile(r"^(?:[-*•>–—]\s+)+")
_SPAN = re.compile(r"\"([^\"\n]{1,400})\"|\*\*([^*\n]{1,400})\*\*|`([^`\n]{1,400})`|'([^'\n]{1,400})'(?!\w)")
_COUNTS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)
_COUNT = re.compile(rf"\b(?:{'|'.join(_COUNTS)})\b")
_NUMBER = re.compile(
    rf"\d+(?:[.:/]\d+)*|\b(?:{'|'.join(_COUNTS)}|first|second|third|fourth|fifth|once|twice|no|not|none|never)\b"
)
_DIGITS = re.compile(r"\d+(?:[.:/]\d+)*")
# a unit behind a number: "3 seconds" is no count of three
_UNIT = re.compile(r"\s?(?:ms|s|secs?|seconds?|mins?|minutes?|hours?|k?hz|db|bpm|cents?|%)(?!\w)")
_DENIED = re.compile(
    r"(?:\bnot|n't|\bno|\bnever|\brather than|\binstead of|\bunlike|\bneither|\bnor|\bwithout|\brul\w+ out)"
    r"\s+(?:(?!(?:but|and|or|so|because)\b)\w+\s+){0,4}$"
)
# choices that are words of any sentence ("no audio was given" is not the choice "No") count only where a
# clause ends behind them, or where one of these begins
_COMMON = frozenset(
    (
        *(
            "yes",
            "no",
            "not",
            "none",
            "go",
            "all",
            "any",
            "in",
            "on",
            "up",
            "off",
            "out",
            "now",
            "can",
            "may",
        ),
        *("so", "he", "she", "him", "her", "his", "it", "me", "we", "us", "you", "they"),
    )
)
_CLAUSE_ENDS = re.compile(r"$|[^\w\s]|\s(?:[^\w\s]|(?:because|since|as|it|he|she|they|i|you|we)\b)")
_ARTICLES = frozenset(["a", "an", "the", "is", "are", "was", "were", "it", "its", "to", "of"])


def normalise(text: str) -> str:
    """Text for comparison: NFKC, straight quotes, no markup at the edges, single spaces, case folded."""
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold()
    collapsed = " ".join(plain.split())
    return collapsed.strip(_EDGE) or collapsed.strip()


def resolve(text: str, choices: Sequence[str]) -> Resolution:
    """The one choice that `text` states; never raises. Permuting the choices permutes the result.

    Whole text first; if it says nothing clear, its first and its last line, which must not disagree.
    """
    stated = _BULLET.sub("", text.strip())
    if not stated or not choices:
        return Resolution(None, "none")
    if len(stated) > 2 * LONGEST:
        stated = f"{stated[:LONGEST]}\n{stated[-LONGEST:]}"
    names = [normalise(choice) for choice in choices]
    whole = _first(stated, choices, names, _STATEMENT)
    if whole.index is not None or whole.rule == "conflict":
        return whole
    lines = [_BULLET.sub("", line.strip()) for line in stated.splitlines() if line.strip()]
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
    return _first(stated, choices, [_in_digits(name) for name in names], _MENTION, whole)


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
    same = _only([i for i, name in enumerate(names) if name == wanted], "normalised")
    if same is not None:
        return same
    wanted = _in_digits(wanted)
    return _only([i for i, name in enumerate(names) if _in_digits(name) == wanted], "normalised")


def _lettered_text(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    plain = text.strip().strip("*").strip()
    if match := _LETTERED.fullmatch(plain):
        letter, body = match[1], normalise(match[2])
    elif match := _LETTER_BEHIND.fullmatch(plain):
        letter, body = match[2], normalise(match[1])
    else:
        return None
    position = ord(letter.upper()) - ord("A")
    if position >= len(names) or not body:
        return None
    said = [i for i, name in enumerate(names) if name == body]
    if position in said:
        return Resolution(position, "lettered_text")
    if said:
        return Resolution(None, "conflict")  # the letter names one choice, the text another
    others = [i for i in _mentions(body, names) if i != position]
    starts = _starting(body, names)
    if starts == [position] or (not others and position in starts):
        return Resolution(position, "lettered_text")
    if starts:
        return Resolution(None, "conflict")
    if others:
        return None
    # "(B) because ...": a letter that cannot be an article or an initial
    return Resolution(position, "letter") if _PLAIN_LETTER.match(plain) else None


def _letter(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    match = _LETTER.fullmatch(text.strip().strip("*`_").strip())
    if match is None:
        return None
    position = ord(match[1].upper()) - ord("A")
    return Resolution(position, "letter") if position < len(choices) else None


def _quoted(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    spans = {_said(next(group for group in match.groups() if group)) for match in _SPAN.finditer(text)}
    return _only([i for i, name in enumerate(names) if name in spans], "quoted")


def _prefix(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    said = _said(text)
    best = _starting(said, names)
    if not best:
        return None
    if len(best) != 1:
        return Resolution(None, "ambiguous")
    name = names[best[0]]
    rest = said[len(name) :]
    others = [i for i, sure in _mentions(rest, names).items() if sure and not name.startswith(names[i])]
    return Resolution(None, "ambiguous") if others else Resolution(best[0], "prefix")


def _contained(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    said = _said(text)
    found = _mentions(said, names)
    if len(found) != 1:
        return _only(list(found), "contained")
    ((index, sure),) = found.items()
    if not sure:
        return None
    if names[index].isdigit():
        counts = {m[0] for m in _DIGITS.finditer(said) if not _UNIT.match(said, m.end())}
        if counts != {names[index]}:  # "3 barks, then 7 more" states neither
            return Resolution(None, "ambiguous")
    return Resolution(index, "contained")


def _fuzzy(text: str, choices: Sequence[str], names: Sequence[str]) -> Resolution | None:
    said = _content(_said(text))
    contents = [_content(name) for name in names]
    if not said or len(text) > _LONGEST_FUZZY or not any(_misspelt(said, one) for one in contents):
        return None
    ranked = sorted(
        ((_likeness(" ".join(said), " ".join(one)), i) for i, one in enumerate(contents)), reverse=True
    )
    score, index = ranked[0]
    margin = score - (ranked[1][0] if len(ranked) > 1 else 0.0)
    if score < 0.86 or margin < 0.08 or not _misspelt(said, contents[index]):
        return None
    return Resolution(index, "fuzzy")


def _content(text: str) -> list[str]:
    words = (word.strip(_EDGE) for word in text.split())  # the edge is punctuation: "c#" is not "c"
    return [word for word in words if word and word not in _ARTICLES]


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def _misspelt(said: Sequence[str], name: Sequence[str]) -> bool:
    """Whether two texts are the same words but for slips of the pen.

    A number or a "not" more or less, or another beginning of a word (un-, de-), is another answer, however
    alike the letters are.
    """
    return len(said) == len(name) and all(
        a == b
        or (min(len(a), len(b)) >= 4 and a[:2] == b[:2] and not _exact_word(a, b) and _likeness(a, b) >= 0.8)
        for a, b in zip(said, name, strict=True)
    )


def _exact_word(*words: str) -> bool:
    """Whether a word is one that says something else if a letter changes: a number or a denial."""
    return any(_NUMBER.search(word) for word in words)


def _starting(said: str, names: Sequence[str]) -> list[int]:
    """The longest choices that `said` begins with."""
    starts = [
        i
        for i, name in enumerate(names)
        if name and _stands(said, 0, name, at_start=True) and _is_sure(said, len(name), name)
    ]
    longest = max((len(names[i]) for i in starts), default=0)
    return [i for i in starts if len(names[i]) == longest]


def _mentions(said: str, names: Sequence[str]) -> dict[int, bool]:
    """Choices that stand in `said` as whole words, not inside a longer choice there, and not denied.

    The value says whether at least one mention can hardly mean anything else (see `_COMMON`).
    """
    places: list[tuple[int, int, int]] = []
    for i, name in enumerate(names):
        if len(name) < 2 and not name.isdigit():
            continue  # "a" is an article more often than a choice
        start, count = said.find(name), 0
        while start >= 0 and count < _PLACES:
            if _stands(said, start, name) and not _DENIED.search(said, max(0, start - 60), start):
                places.append((start, start + len(name), i))
                count += 1
            start = said.find(name, start + 1)
    found: dict[int, bool] = {}
    for start, end, i in places:
        if not any(s <= start and end <= e and e - s > end - start for s, e, _ in places):
            found[i] = found.get(i, False) or _is_sure(said, end, names[i])
    return found


def _stands(said: str, start: int, name: str, *, at_start: bool = False) -> bool:
    """Whether `name` stands at `start` of `said` as words of its own, and is no time or level there."""
    if not _bounded(said, start, name):
        return False
    unit = _UNIT.match(said, start + len(name)) if name.isdigit() else None
    # "at 3 seconds" mentions no count of 3; "3 seconds" alone may state it
    return unit is None or (at_start and unit.end() == len(said))


def _is_sure(said: str, end: int, name: str) -> bool:
    return name not in _COMMON or _CLAUSE_ENDS.match(said, end) is not None


def _bounded(said: str, start: int, name: str) -> bool:
    """Whether `name` stands at `start` of `said` with word boundaries at both ends."""
    if not said.startswith(name, start):
        return False
    end = start + len(name)
    before = start == 0 or not (said[start - 1].isalnum() and name[0].isalnum())
    after = (
        end == len(said) or not (said[end].isalnum() or said[end] in _PART_OF_NAME) or not name[-1].isalnum()
    )
    if name[-1].isdigit() and _goes_on(said[end : end + 2]):
        return False
    if name[0].isdigit() and start > 1 and _goes_on(said[start - 2 : start][::-1]):
        return False
    return before and after


def _goes_on(beside: str) -> bool:
    """Whether a number goes on with a decimal point, a colon or a thousands comma and another digit."""
    return len(beside) == 2 and beside[0] in ".:,/" and beside[1].isdigit()


def _said(text: str) -> str:
    """Text in which choices are looked for: normalised, counts in digits."""
    return _in_digits(normalise(text))


def _in_digits(text: str) -> str:
    return _COUNT.sub(lambda match: str(_COUNTS.index(match[0])), text)


_STATEMENT: tuple[Rule, ...] = (_exact, _normalised, _lettered_text, _letter)
_MENTION: tuple[Rule, ...] = (_quoted, _prefix, _contained, _fuzzy)
