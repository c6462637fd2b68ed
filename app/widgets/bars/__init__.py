"""How often each choice was given over several samples, as small bars, zeros included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_bars",
    html=(_FOLDER / "bars.html").read_text(),
    css=(_FOLDER / "bars.css").read_text(),
    js=(_FOLDER / "bars.js").read_text(),
)


def bars(
    choices: Sequence[str], given: Sequence[int | None], *, total: int, key: str, gold: int | None = None
) -> None:
    """Draw one bar a choice.

    Args:
        choices: the item's choices, in order.
        given: index of the choice of each finished sample; None where none was resolved.
        total: samples that were asked for: the full width.
        key: unique on the page.
        gold: index of the gold choice, in teal; None while it is hidden.
    """
    rows = [
        {
            "label": text[:200].replace("\0", "�"),
            "count": list(given).count(i),
            "kind": "gold" if i == gold else "",
        }
        for i, text in enumerate(choices)
    ]
    if None in given:
        rows.append({"label": "no choice", "count": list(given).count(None), "kind": "none"})
    _component(key=key, data={"rows": rows, "total": total})
