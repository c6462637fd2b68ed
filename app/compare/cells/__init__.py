"""Two runs item by item as four cells: both right, lost, won, both wrong. Each cell is a button."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

CELLS = ("both_right", "lost", "won", "both_wrong")  # as they stand, row by row

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_cells",
    html=(_FOLDER / "cells.html").read_text(),
    css=(_FOLDER / "cells.css").read_text(),
    js=(_FOLDER / "cells.js").read_text(),
)


def cells(counts: Mapping[str, int], *, run: str, baseline: str, key: str, chosen: str | None) -> str | None:
    """Draw the four cells; the name of the one that was just clicked, else None.

    Args:
        counts: items of each of `CELLS`.
        run: what the columns' run is called.
        baseline: what the rows' run is called.
        key: unique on the page.
        chosen: the cell that is marked.
    """
    result = _component(
        key=key,
        data={
            "cells": [
                {"name": name, "words": name.replace("_", " "), "count": f"{counts[name]:,}"}
                for name in CELLS
            ],
            "run": run[:120],
            "baseline": baseline[:120],
            "chosen": chosen,
        },
        on_picked_change=lambda: None,
    )
    picked = result.get("picked")
    return picked if picked in CELLS else None
