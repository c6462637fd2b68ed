"""Accuracy of groups as dots with intervals, one row each, with a heat map of counts on the same rows.

Rows and cells are buttons. Drawn with the page's own colours, so a switch of theme needs no rerun. Knows
nothing about where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.errors.clicks import clicked

SMALL = 20  # items; a group with fewer is drawn faint

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_grid",
    html='<div class="grid" role="table"></div>',
    css=(_FOLDER / "grid.css").read_text(),
    js=(_FOLDER / "grid.js").read_text(),
)


@dataclass(frozen=True)
class Row:
    """One group: n items, accuracy and its 95% interval as fractions (None where nothing is rated).

    `counts` has one number for each column of the heat map; `of` is what their shades are shares of. `mark`
    is a second fraction to compare with, drawn as a stroke.
    """

    label: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    layer: str = ""
    counts: tuple[int, ...] = ()
    of: int = 0
    mark: float | None = None


@dataclass(frozen=True)
class Clicked:
    """A row that was clicked, and the column if it was a cell of the heat map."""

    row: int
    column: int | None


def grid(
    rows: Sequence[Row],
    *,
    key: str,
    columns: Sequence[str] = (),
    overall: float | None = None,
    chosen: Sequence[str] = (),
    dots: bool = True,
    mini: bool = False,
    height: int | None = None,
    title: str = "",
    heat: str = "",
    unit: str = "item",
    clickable: bool = True,
    label: int = 0,
    on_pick: Callable[[Clicked], None] = lambda clicked: None,
) -> Clicked | None:
    """Draw the rows; what was just clicked, else None.

    Args:
        rows: in their order; a new `layer` begins with its name.
        key: unique on the page.
        columns: names of the heat map's columns.
        overall: accuracy of everything, as a dashed line.
        chosen: labels that are marked.
        dots: draw accuracies; without, only the heat map.
        mini: for a narrow column: lower rows, no percentages.
        height: px at most; more rows scroll.
        title: stands over the rows.
        heat: stands over the heat map.
        unit: what `n` counts, in the singular.
        clickable: rows and cells are buttons.
        label: px of the labels, where the usual width does not fit.
        on_pick: called with what was clicked before anything is drawn, which spares a second run.
    """

    def read(result: Mapping[str, Any]) -> Clicked | None:
        picked = clicked(result, "picked")
        if picked is None or not 0 <= int(picked["row"]) < len(rows):
            return None
        column = picked.get("column")
        return Clicked(int(picked["row"]), None if column is None else int(column))

    def changed() -> None:
        if (found := read(st.session_state.get(key) or {})) is not None:
            on_pick(found)

    result = _component(
        key=key,
        data={
            "rows": [
                {
                    "label": row.label[:120].replace("\0", "�"),
                    "layer": row.layer[:120].replace("\0", "�"),
                    "n": row.n,
                    "value": row.value,
                    "low": row.low,
                    "high": row.high,
                    "small": row.n < SMALL,
                    "chosen": row.label in chosen,
                    "counts": list(row.counts),
                    "of": row.of,
                    "mark": row.mark,
                }
                for row in rows
            ],
            "columns": [name[:60].replace("\0", "�") for name in columns],
            "overall": overall,
            "dots": dots,
            "mini": mini,
            "height": height,
            "title": title,
            "heat": heat,
            "unit": unit,
            "clickable": clickable,
            "label": label,
        },
        on_picked_change=changed,
    )
    return read(result)
