"""The chart of a metric against its steps.

The drawing instructions are made once for a theme; only data travels, and the chart updates in place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from app.theme import Palette

METRIC_HEIGHT = 104  # px
_MOST_POINTS = 300


def points(rows: Sequence[dict[str, Any]], name: str) -> pd.DataFrame:
    """`step`, `value` and `smooth` (a running mean) of one metric, thinned to 300 points or fewer."""
    found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    frame = pd.DataFrame(found, columns=["step", "value"]).astype(float)
    frame["smooth"] = frame["value"].ewm(span=max(1.0, len(frame) / 12)).mean()
    every = -(-len(frame) // _MOST_POINTS)
    if every > 1:
        frame = frame.iloc[(len(frame) - 1) % every :: every]
    return frame.round(6)


@functools.lru_cache(maxsize=4)
def metric_spec(palette: Palette) -> dict[str, Any]:
    """How `points` are drawn: the values faint, their running mean in the accent."""
    x = alt.X(
        "step:Q", title=None, axis=_axis(palette.grey, grid=False, tickCount=5), scale=alt.Scale(nice=False)
    )
    axis = _axis(palette.grey, grid=True, gridColor=palette.line, tickCount=4)
    scale = alt.Scale(zero=False, nice=True)
    raw = alt.Chart().mark_line(strokeWidth=1, opacity=0.45, color=palette.grey)
    raw = raw.encode(x=x, y=alt.Y("value:Q", title=None, axis=axis, scale=scale))
    mean = alt.Chart().mark_line(strokeWidth=1.8, color=palette.accent)
    mean = mean.encode(x=x, y=alt.Y("smooth:Q", title=None, axis=axis, scale=scale))
    return _finished(alt.layer(raw, mean), METRIC_HEIGHT)


def _axis(colour: str, **more: Any) -> alt.Axis:
    return alt.Axis(ticks=False, domain=False, labelColor=colour, labelFontSize=11.5, labelPadding=6, **more)


def _finished(chart: Any, height: int) -> dict[str, Any]:
    padding = {"left": 0, "top": 4, "right": 8, "bottom": 0}
    drawn = chart.properties(height=height, padding=padding).configure_view(stroke=None)
    spec: dict[str, Any] = drawn.to_dict(validate=False)
    return spec
