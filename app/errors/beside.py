"""The filter by a cell of a comparison: what this run and another one made of the same items.

Knows comparisons; knows nothing about how the page looks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from app import session
from app.errors import look
from app.errors.address import Address
from app.errors.words import run_label
from audioreason.compare import CELLS, Score, compare
from audioreason.errors import RunError

_WORDS = {
    "both_right": "both right with",
    "won": "won against",
    "lost": "lost against",
    "both_wrong": "both wrong with",
}


def items(now: Address, run: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Ids of the items in the cell that the address names; None if it names none.

    Raises:
        RunError: if the other run is gone, or there is no such cell.
    """
    if not now.cell and not now.against:
        return None
    if now.cell not in CELLS:
        raise RunError(f"There is no cell {now.cell!r}.", f"Choose one of {', '.join(CELLS)}.")
    other = look.run(now.against)
    if other is None:
        raise RunError(
            f"The run {now.against!r} that this one was compared with is not here.", "Clear the filters."
        )
    score: Score = "official" if now.score == "official" else "strict"
    return _grid(str(run["run_id"]), now.against, score, look.stamp(run), look.stamp(other))[now.cell]


@functools.lru_cache(maxsize=16)
def _grid(
    run_id: str, against: str, score: Score, stamp: look.Stamp, other: look.Stamp
) -> dict[str, tuple[str, ...]]:
    found = compare(session.catalog(), None, (against, run_id), against, score=score)
    return found.pair(run_id).grid


def comparison(now: Address) -> dict[str, str]:
    """Address of the comparison that the cell is of."""
    query = {"runs": f"{now.against},{now.run}", "baseline": now.against, "cell": now.cell}
    return query | ({"score": now.score} if now.score else {})


def words(now: Address) -> str:
    """The filter in words, as plain text; empty without one."""
    if now.cell not in CELLS:
        return ""
    other = look.run(now.against)
    name = now.against if other is None else run_label(other)
    rule = " by the official score" if now.score == "official" else ""
    return f"{_WORDS[now.cell]} {name}{rule}"
