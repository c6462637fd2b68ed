"""Numbers and sentences of the Compare page, as plain text. Knows nothing about Streamlit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.compare import Pair

MINUS = "\N{MINUS SIGN}"
FEW_CLIPS = 10  # below, an interval clustered by clip says little


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


def p_value(p: float) -> str:
    """p as people write it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def count(number: int, noun: str) -> str:
    """ "1 item", "1,000 items"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def claim(pair: Pair, called: Mapping[str, str]) -> str:
    """What a comparison shows, in one sentence that never celebrates noise."""
    run, baseline = called[pair.run_id], called[pair.baseline]
    found = pair.difference
    if found.n == 0:
        return f"{run} and {baseline} share no answered item, so there is nothing to compare."
    numbers = f"{points(found.mean)} points"
    if math.isfinite(found.low):
        numbers += f", 95% CI {points(found.low)} to {points(found.high)}"
    if found.clusters < FEW_CLIPS:
        return f"Too few clips ({found.clusters}) to tell {run} from {baseline}: {numbers}."
    if not found.significant:
        return f"{run} is not distinguishable from {baseline}: {numbers}."
    return f"{run} is {'better' if found.mean > 0 else 'worse'} than {baseline}: {numbers}."


def evidence(pair: Pair, groups: pd.DataFrame, prompts_tried: int) -> str:
    """What the claim rests on: p, items, groups that survive correction, flips, and what could be seen."""
    found = pair.difference
    if found.n == 0:
        return ""
    flipped = len(pair.grid["won"]) + len(pair.grid["lost"])
    sentences = [f"{p_value(found.p)}, {count(found.n, 'item')} from {count(found.clusters, 'clip')}."]
    if len(groups) > 1:
        gains = [_group(row) for row in groups.itertuples() if row.significant and row.delta > 0]
        losses = [_group(row) for row in groups.itertuples() if row.significant and row.delta < 0]
        if gains or losses:
            won = f"gains {listed(gains)}" if gains else ""
            lost = f"loses {listed(losses)}" if losses else ""
            sentences.append(f"It {' and '.join(part for part in (won, lost) if part)} after Holm.")
        else:
            sentences.append("No subcategory differs after Holm's correction.")
    sentences.append(f"{count(flipped, 'item')} {'flips' if flipped == 1 else 'flip'}.")
    if math.isfinite(pair.mde):
        sentences.append(
            f"A true difference below {points(pair.mde, sign=False)} points would mostly go unseen."
        )
    if prompts_tried > 1:
        sentences.append(f"{prompts_tried:,} prompts have been tried on this dataset.")
    return " ".join(sentences)


def _group(row: Any) -> str:
    return f"{points(abs(row.delta), sign=False)} points on {row.group} ({count(int(row.n), 'item')})"
