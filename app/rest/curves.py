"""Curves of a training: loss with held-out points, learning rate, gradient norm; axes named.

Written as plain dicts; only data travels, and a chart updates in place. Knows nothing about rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from app.theme import Palette

Json = dict[str, Any]
LOSS_HEIGHT, VALUE_HEIGHT = 250, 170  # px
_MOST_POINTS = 400
_TEXT = 11.5
_NUMBER = (
    "abs(datum.value) < 0.001 && datum.value != 0 ? format(datum.value, '.1e') : format(datum.value, ',')"
)


def loss_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Loss of each step as `step`, `value`, `smooth` (a running mean) and `kind`; held-out ones as points."""
    frame = _series(rows, "loss")
    frame["smooth"] = frame["value"].ewm(span=max(1.0, len(frame) / 12)).mean() if len(frame) else []
    frame = _thinned(frame).assign(kind="training")
    held_out = _series(rows, "held_out_loss").assign(kind="held out")
    return pd.concat([frame, held_out], ignore_index=True) if len(held_out) else frame


def value_frame(rows: Sequence[dict[str, Any]], name: str) -> pd.DataFrame:
    """One metric as `step` and `value`, thinned to 400 points or fewer."""
    return _thinned(_series(rows, name))


def _series(rows: Sequence[dict[str, Any]], name: str) -> pd.DataFrame:
    found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return pd.DataFrame(found, columns=["step", "value"]).astype(float)


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    every = -(-len(frame) // _MOST_POINTS)
    return frame.iloc[(len(frame) - 1) % every :: every] if every > 1 else frame


def loss_spec(palette: Palette) -> Json:
    """How `loss_frame` is drawn: steps faint, their running mean in the accent, held-out losses as points."""
    y = _y("loss per token", palette, zero=False)
    training, held_out = {"filter": "datum.kind == 'training'"}, {"filter": "datum.kind == 'held out'"}
    tip = [_tip("step"), _tip("value", "loss"), {"field": "kind", "type": "nominal", "title": "measured on"}]
    raw = {"type": "line", "strokeWidth": 1, "opacity": 0.4, "color": palette.grey}
    mean = {"type": "line", "strokeWidth": 1.8, "color": palette.accent}
    point = {"type": "point", "size": 54, "filled": True, "opacity": 1, "color": palette.text}
    return _spec(
        [
            {"transform": [training], "mark": raw, "encoding": {"y": y}},
            {"transform": [training], "mark": mean, "encoding": {"y": {**y, "field": "smooth"}}},
            {"transform": [held_out], "mark": point, "encoding": {"y": y, "tooltip": tip}},
        ],
        palette,
        LOSS_HEIGHT,
    )


def value_spec(title: str, palette: Palette) -> Json:
    """How `value_frame` is drawn: a line, its name along the axis."""
    line = {"type": "line", "strokeWidth": 1.6, "color": palette.accent}
    return _spec([{"mark": line, "encoding": {"y": _y(title, palette, zero=True)}}], palette, VALUE_HEIGHT)


def _spec(layers: list[Json], palette: Palette, height: int) -> Json:
    x: Json = {
        "field": "step",
        "type": "quantitative",
        "title": "optimiser step",
        "axis": {**_axis(palette), "grid": False, "tickCount": 6, "tickMinStep": 1},
        "scale": {"nice": False, "zero": False},
    }
    return {
        "height": height,
        "padding": {"left": 0, "top": 4, "right": 8, "bottom": 0},
        "config": {"view": {"stroke": None}},
        "layer": layers,
        "encoding": {"x": x},
    }


def _y(title: str, palette: Palette, zero: bool) -> Json:
    return {
        "field": "value",
        "type": "quantitative",
        "title": title,
        "axis": {**_axis(palette), "gridColor": palette.line, "tickCount": 4, "labelExpr": _NUMBER},
        "scale": {"zero": zero, "nice": True},
    }


def _tip(field: str, title: str = "") -> Json:
    return {"field": field, "type": "quantitative", "title": title or field, "format": ".4~g"}


def _axis(palette: Palette) -> Json:
    return {
        "ticks": False,
        "domain": False,
        "labelColor": palette.grey,
        "labelFontSize": _TEXT,
        "labelPadding": 6,
        "titleColor": palette.grey,
        "titleFontSize": _TEXT,
        "titleFontWeight": "normal",
    }
