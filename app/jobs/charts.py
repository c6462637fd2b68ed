"""Charts of one job: its phases as a timeline with the moment now, and a metric against its steps.

The drawing instructions are made once for a theme and a size; only data travels each second, and the charts
update in place.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from app.theme import Palette
from audioreason.jobs.watch import JobView

ROW = 21  # px of the timeline
METRIC_HEIGHT = 128  # px
_MOST_POINTS = 300
_UNITS = ((150.0, 1.0, "s"), (9_000.0, 60.0, "min"), (float("inf"), 3600.0, "h"))


def timeline(view: JobView, now: float | None = None) -> tuple[pd.DataFrame, str, int]:
    """Bars of a job's phases as `began`, `until`, `name`, `state`; their unit of time; the number of rows.

    Time that passed between two attempts is left out. `state` is past, now, next (what is expected of the
    phase under way) or moment (the line of now).
    """
    now = time.time() if now is None else now
    at, ended_before, attempt = 0.0, 0.0, 0
    bars: list[dict[str, Any]] = []
    alive = not view.over and view.state != "queued"
    for phase in view.phases:
        until = phase.ended or (now if alive else view.ended or phase.began)
        if phase.attempt == attempt:
            at += max(0.0, phase.began - ended_before)
        spent = max(0.0, until - phase.began)
        under_way = alive and phase.ended is None
        bars.append(
            {"name": phase.name, "began": at, "until": at + spent, "state": "now" if under_way else "past"}
        )
        at, ended_before, attempt = at + spent, until, phase.attempt
        if under_way:
            bars.append({"name": phase.name, "began": at, "until": at, "state": "moment"})
            if view.eta is not None:
                bars.append({"name": phase.name, "began": at, "until": at + view.eta, "state": "next"})
    span = max((bar["until"] for bar in bars), default=0.0)
    scale, unit = next((scale, unit) for most, scale, unit in _UNITS if span < most)
    frame = pd.DataFrame(bars, columns=["name", "began", "until", "state"])
    frame[["began", "until"]] = (frame[["began", "until"]] / scale).round(3)
    return frame, unit, frame["name"].nunique()


@functools.lru_cache(maxsize=32)
def timeline_spec(palette: Palette, names: tuple[str, ...], unit: str) -> dict[str, Any]:
    """How `timeline` is drawn: one row for each name, in this order."""
    colours = {"past": palette.grey, "now": palette.accent, "next": palette.line}
    y = alt.Y(
        "name:N",
        title=None,
        scale=alt.Scale(domain=list(names)),
        axis=_axis(palette.text, labelLimit=120, grid=False, labelOverlap=False),
    )
    labels = f"format(datum.value, '~g') + ' {unit}'"
    time_axis = _axis(palette.grey, grid=True, gridColor=palette.line, tickCount=7, labelExpr=labels)
    x = alt.X("began:Q", title=None, axis=time_axis, scale=alt.Scale(zero=True, nice=False))
    bars = (
        alt.Chart()
        .transform_filter("datum.state != 'moment'")
        .mark_bar(height=9, cornerRadius=1, minBandSize=2)
        .encode(
            x=x,
            x2="until:Q",
            y=y,
            color=alt.Color(
                "state:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=None
            ),
            tooltip=["name:N", alt.Tooltip("began:Q", format=".2f"), alt.Tooltip("until:Q", format=".2f")],
        )
    )
    moment = (
        alt.Chart()
        .transform_filter("datum.state == 'moment'")
        .mark_rule(strokeWidth=1.4, color=palette.accent)
        .encode(x=x)
    )
    return _finished(alt.layer(bars, moment), ROW * max(1, len(names)) + 26)


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
