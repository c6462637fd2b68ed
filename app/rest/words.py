"""Numbers and sentences of the ReST page, as plain text. Knows nothing about Streamlit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_ROUND = re.compile(r"\bRound (\d+)")
MINUS = "\N{MINUS SIGN}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one decimal; empty if it is not known."""
    return "" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.1f}%"


def span(low: float | None, high: float | None) -> str:
    """An interval of percentages, such as 62.1 to 67.2; empty if it is not known."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{100 * low:.1f} to {100 * high:.1f}"


def points(fraction: float) -> str:
    """A difference in points with its sign: +3.6, −0.4, 0.0; empty if it is not finite."""
    if not math.isfinite(fraction):
        return ""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def bounds(low: float, high: float) -> str:
    """An interval of points, such as −1.0 to +3.4."""
    return f"{points(low)} to {points(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def thousands(number: float | None) -> str:
    """A count; millions are shortened: 66,448, 33.2 million."""
    if number is None or not math.isfinite(number):
        return ""
    return f"{number / 1e6:.1f} million" if number >= 1e7 else f"{number:,.0f}"


def noun(number: int, name: str) -> str:
    """ "problem" for one, "problems" for any other number."""
    return name if number == 1 else f"{name}s"


def merged(sentences: Sequence[str]) -> list[str]:
    """Sentences that differ only in their round, once each, with the other rounds named after it."""
    rounds: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for sentence in sentences:
        pattern = _ROUND.sub("Round #", sentence)
        named = dict.fromkeys(_ROUND.findall(sentence))
        key = pattern if len(named) == 1 else sentence
        first.setdefault(key, sentence)
        rounds.setdefault(key, []).extend(named)
    return [
        sentence if key == sentence else f"{sentence}{_also(rounds[key][1:])}"
        for key, sentence in first.items()
    ]


def _also(others: Sequence[str]) -> str:
    if not others:
        return ""
    listed = others[0] if len(others) == 1 else f"{', '.join(others[:-1])} and {others[-1]}"
    return f" The same holds for {noun(len(others), 'round')} {listed}."


def shorter(text: str, most: int = 60) -> str:
    """The text, cut with an ellipsis where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def without_zone(reason: str, zone: str) -> str:
    """A reason beside a column that names the zone already: the name is left out."""
    return reason.replace(f"the zone {zone_words(zone)} is not", "zone is not")


def round_name(number: int) -> str:
    """Base, Round 1, Round 2."""
    return "Base" if number == 0 else f"Round {number}"


def zone_words(name: str) -> str:
    """A zone as the page says it."""
    return name.replace("_", " ").replace("-", " ")
