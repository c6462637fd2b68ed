"""How many problems were solved 0, 1, ... k times: columns, with a stroke where guessing alone would end.

Drawn with the page's own colours. Knows nothing about where the counts come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_columns",
    html='<div class="columns" role="img"></div>',
    css=(_FOLDER / "columns.css").read_text(),
    js=(_FOLDER / "columns.js").read_text(),
)


def columns(
    counts: Sequence[int],
    guess: Sequence[float],
    zones: Sequence[int],
    *,
    key: str,
    accent: int,
    height: int = 190,
) -> None:
    """Draw the histogram.

    Args:
        counts: problems with 0, 1, ... k right answers.
        guess: how many of them guessing alone would put there.
        zones: the number of the zone of each count, as in `strips`.
        key: unique on the page.
        accent: the zone that is drawn in the accent.
        height: px of the plot.
    """
    data = {
        "counts": list(counts),
        "guess": [round(value, 3) for value in guess],
        "zones": list(zones),
        "accent": accent,
        "height": height,
    }
    _component(key=key, data=data)
