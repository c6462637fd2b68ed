"""A small table of text: a few rows, drawn at once, where a data grid would cost the page a second.

For long or sortable tables use `st.dataframe`. Cells are text, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

_FOLDER = Path(__file__).parent
_LONGEST = 300  # characters of a cell
_component = st.components.v2.component(
    "audioreason_rows",
    html=(_FOLDER / "rows.html").read_text(),
    css=(_FOLDER / "rows.css").read_text(),
    js=(_FOLDER / "rows.js").read_text(),
)

Tone = Literal["", "right", "wrong"]


@dataclass(frozen=True)
class Column:
    """A column's title, its width as CSS grid knows it, and whether it holds numbers."""

    name: str
    width: str = "minmax(0, 1fr)"
    number: bool = False


def rows(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    *,
    key: str,
    clickable: bool = False,
    current: int | None = None,
    height: int | None = None,
    tones: Sequence[Sequence[Tone]] | None = None,
) -> int | None:
    """Draw a table; the number of the row that was just clicked, else None.

    Args:
        columns: what each cell is.
        cells: one sequence of texts a row.
        key: unique on the page.
        clickable: make each row a button.
        current: the row that is marked.
        height: px at most; more rows scroll.
        tones: a colour for each cell.
    """
    result = _component(
        key=key,
        data={
            "columns": [{"name": c.name, "width": c.width, "number": c.number} for c in columns],
            "rows": [[str(text)[:_LONGEST].replace("\0", "�") for text in row] for row in cells],
            "clickable": clickable,
            "current": current,
            "height": height,
            "tones": [list(row) for row in tones] if tones else None,
        },
        on_row_change=lambda: None,
    )
    clicked = result.get("row")
    return int(clicked) if clicked is not None and 0 <= int(clicked) < len(cells) else None
