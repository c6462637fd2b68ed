"""Zones of rounds as stacked bars, each with the bar that guessing alone would give under it.

A segment is a button. Drawn with the page's own colours. Knows nothing about where the shares come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.errors.clicks import clicked

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_strips",
    html='<div class="strips" role="table" aria-label="Zones by round"></div>',
    css=(_FOLDER / "strips.css").read_text(),
    js=(_FOLDER / "strips.js").read_text(),
)


@dataclass(frozen=True)
class Strip:
    """A round: problems in each zone, and the shares that guessing alone would give (None: not known)."""

    label: str
    counts: Sequence[int]
    guess: Sequence[float] | None = None
    note: str = ""
    current: bool = False


def strips(
    rows: Sequence[Strip], zones: Sequence[str], *, key: str, accent: int, clickable: bool = True
) -> tuple[int, int] | None:
    """Draw the bars; the row and the zone that were just clicked, else None.

    Args:
        rows: one a round.
        zones: their names, from never right to always right.
        key: unique on the page.
        accent: which of them is drawn in the accent: the one worth learning from.
        clickable: segments are buttons.
    """
    result = _component(
        key=key,
        data={
            "rows": [
                {
                    "label": row.label,
                    "counts": list(row.counts),
                    "guess": None if row.guess is None else list(row.guess),
                    "note": row.note,
                    "current": row.current,
                }
                for row in rows
            ],
            "zones": list(zones),
            "accent": accent,
            "clickable": clickable,
        },
        on_picked_change=lambda: None,
    )
    picked = clicked(result, "picked")
    if picked is None:
        return None
    row, zone = int(picked["row"]), int(picked["zone"])
    return (row, zone) if 0 <= row < len(rows) and 0 <= zone < len(zones) else None
