"""Numbers and sentences of the Compare page, as plain text. Knows nothing about Streamlit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from audioreason.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.compare import Pair

MINUS = "\N{MINUS SIGN}"


def points(fraction: float, sign: bool = True) -> str:
    """A fraction in points with one decimal: +3.6, −0.4, 0.0; empty if it is not finite."""
    if not math.isfinite(fraction):
        return ""
    text = f"{100 * fraction:.1f}"
    if text in ("0.0", "-0.0"):
        return "0.0"
    return (text if text.startswith("-") or not sign else f"+{text}").replace("-", MINUS)


def bounds(low: float, high: float) -> str:
    """An interval in points, such as [−2.7, +3.9]."""
    return f"[{points(low)}, {points(high)}]" if math.isfinite(low) and math.isfinite(high) else ""


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal; empty if it is not known."""
    return f"{100 * fraction:.1f}%" if math.isfinite(fraction) else ""


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def claim(pair: Pair, called: Mapping[str, str]) -> str:
    """A comparison's verdict up to its interval, as a sentence that names both runs."""
    first = _verdict(pair, called)[0]
    run, baseline = called[pair.run_id], called[pair.baseline]
    return first if run in first else f"{run} against {baseline}: {first[0].lower()}{first[1:]}"


def brief(pair: Pair, called: Mapping[str, str]) -> str:
    """The claim without its evidence, for one line."""
    return claim(pair, called).partition(", 95% CI")[0].removesuffix(".") + "."


def evidence(pair: Pair, called: Mapping[str, str], groups: pd.DataFrame, prompts_tried: int) -> str:
    """What stands behind the claim: the rest of the verdict, groups that survive correction, flips, power."""
    sentences = [rest] if (rest := _verdict(pair, called)[1]) else []
    if pair.n == 0:
        return " ".join(sentences)
    if len(groups) > 1:
        gains = [_group(row) for row in groups.itertuples() if row.significant and row.delta > 0]
        losses = [_group(row) for row in groups.itertuples() if row.significant and row.delta < 0]
        if gains or losses:
            won = f"gains {listed(gains)}" if gains else ""
            lost = f"loses {listed(losses)}" if losses else ""
            sentences.append(f"It {' and '.join(part for part in (won, lost) if part)} after Holm.")
        else:
            sentences.append("No subcategory differs after Holm's correction.")
    flipped = len(pair.grid["won"]) + len(pair.grid["lost"])
    sentences.append(f"{counted(flipped, 'item')} {'flips' if flipped == 1 else 'flip'}.")
    # a verdict of "not distinguishable" already says how many items it would take
    if pair.significant and math.isfinite(pair.mde):
        least = points(pair.mde, sign=False)
        sentences.append(f"A true difference below {least} points would mostly go unseen.")
    if prompts_tried > 1:
        sentences.append(f"{prompts_tried:,} prompts have been tried on this dataset.")
    return " ".join(sentences)


def renamed(text: str, pair: Pair, called: Mapping[str, str]) -> str:
    """A sentence about a pair with the names that the page uses; longer labels first, in one pass."""
    names = dict(zip(pair.labels, (called[pair.baseline], called[pair.run_id]), strict=True))
    if all(label == name for label, name in names.items()):
        return text
    labels = "|".join(re.escape(label) for label in sorted(names, key=len, reverse=True))
    return re.sub(labels, lambda found: names[found[0]], text)


def _verdict(pair: Pair, called: Mapping[str, str]) -> tuple[str, str]:
    """The verdict up to its interval as a sentence, and what follows: p, items, and what else it says."""
    text = renamed(pair.verdict, pair, called)
    first, comma, rest = text.partition(", p ")
    if comma:
        return f"{first}.", f"p {rest}"
    first, dot, rest = text.partition(". ")
    return (f"{first}.", rest) if dot else (first, "")


def _group(row: Any) -> str:
    return f"{points(abs(row.delta), sign=False)} points on {row.group} ({counted(int(row.n), 'item')})"
