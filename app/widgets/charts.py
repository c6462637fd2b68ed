"""Charts that more than one page draws, in the colours of the theme in use."""

from __future__ import annotations

from typing import Any, Literal

import altair as alt
import pandas as pd

from app.theme import Palette

ROW = 26  # px
_TEXT = 11.5


def leaderboard(frame: pd.DataFrame, palette: Palette) -> Any:
    """Accuracy of runs with their 95% intervals, one row each, in the order of the frame.

    A click on a row selects its `run_id`, under the name "run".

    Args:
        frame: run_id, label, accuracy, low, high (fractions), n, note; `label` is unique.
        palette: the colours of the theme in use.
    """
    data = frame.assign(
        points=[f"{100 * value:.1f}%" for value in frame["accuracy"]], items=[f"{n:,}" for n in frame["n"]]
    )
    low, high = float(frame["low"].min()), float(frame["high"].max())
    ticks = _ticks(max(0.0, low - 0.01), min(1.0, high + 0.01))
    span = max(high, ticks[-1]) - min(low, ticks[0])
    # the plot ends where the columns of numbers begin, so that no interval meets a number; at its left edge
    # there is room for half a point, so that none is cut
    domain = [min(low, ticks[0]) - 0.03 * span, max(high, ticks[-1]) + 0.62 * span]
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    y = alt.Y("label:N", sort=list(frame["label"]), title=None, axis=_labels(palette))
    axis = alt.Axis(
        values=ticks,
        format="%",
        title=None,
        ticks=False,
        domain=False,
        gridColor=palette.line,
        labelColor=palette.grey,
        labelFontSize=_TEXT,
        tickCount=20,
        labelFlush=False,
    )
    tooltip = ["label", "points", "items", "note"]
    base = alt.Chart(data).encode(y=y)
    rule = base.mark_rule(strokeWidth=1.4, color=palette.grey).encode(
        x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", tooltip=tooltip
    )
    point = base.mark_point(size=52, filled=True, opacity=1, color=palette.accent).encode(
        x=alt.X("accuracy:Q", scale=scale), tooltip=tooltip
    )

    def column(field: str, from_right: int, colour: str, weight: Literal["normal", "bold"] = "normal") -> Any:
        place = alt.value(alt.expr(f"width - {from_right}"))
        return base.mark_text(align="right", fontSize=12, fontWeight=weight, color=colour).encode(
            x=place, text=f"{field}:N"
        )

    clicked = alt.selection_point(name="run", fields=["run_id"], on="click", empty=False)
    rows = (
        base.mark_bar(opacity=0, cursor="pointer", height=ROW)
        .encode(x=alt.value(0), x2=alt.value(alt.expr("width")), tooltip=tooltip)
        .add_params(clicked)
    )
    columns = (
        column("points", 142, palette.text, "bold"),
        column("items", 92, palette.grey),
        column("note", 2, palette.grey),
    )
    chart = alt.layer(rule, point, *columns, rows).properties(
        height=ROW * len(frame) + 24, padding={"left": 0, "top": 4, "right": 2, "bottom": 0}
    )
    return chart.configure_view(stroke=None)


def _labels(palette: Palette) -> alt.Axis:
    return alt.Axis(
        ticks=False,
        domain=False,
        labelColor=palette.text,
        labelFontSize=12.5,
        labelLimit=230,
        labelPadding=10,
        labelFlush=False,
        labelOverlap=False,
    )


def _ticks(low: float, high: float) -> list[float]:
    for step in (0.02, 0.05, 0.1, 0.2, 0.25):
        first = int(low / step + 0.999) * step
        values = []
        while first <= high + 1e-9:
            values.append(round(first, 4))
            first += step
        if len(values) <= 6:
            break
    return values or [round(low, 2)]
