"""Charts of a comparison: the leaderboard, differences by group, accuracy against cost.

Each is data and Vega-Lite instructions; the page shows them, the export writes them to a file. Written as
plain dicts: building the same three through Altair's classes takes longer than everything else on the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from app.compare.words import bounds, percent, points
from app.theme import Palette
from audioreason.stats import Difference

Json = dict[str, Any]

SMALL_OPACITY = 0.37  # of marks of groups with too few items; numbers stay as they are
_TEXT = 11.5
_BOARD_ROW, _GROUP_ROW = 27, 24  # px
_COST_HEIGHT = 172  # px
_LABEL_APART = 0.02  # of accuracy; labels nearer to each other would overlap


@dataclass(frozen=True)
class Drawn:
    """A chart: `frame` is its data, `spec` Vega-Lite without data."""

    frame: pd.DataFrame
    spec: Json


def board(frame: pd.DataFrame, colours: Mapping[str, str], palette: Palette) -> Drawn:
    """Accuracy of runs with intervals, one row each, in the order of the frame.

    Args:
        frame: run_id, label (unique), n, accuracy, low, high (fractions), change (text beside it), tone
            ("right", "wrong" or "", of the change).
        colours: of each run.
        palette: the colours of the theme in use.
    """
    data = frame[["run_id", "label", "n", "accuracy", "low", "high", "change", "tone"]].assign(
        points=[percent(value) for value in frame["accuracy"]]
    )
    lowest, highest = float(frame["low"].min()), float(frame["high"].max())
    ticks = _ticks(lowest, highest, (0.02, 0.05, 0.1, 0.2, 0.25), 5)
    low, high = min(ticks[0], lowest), max(ticks[-1], highest)
    # the plot ends where the columns of numbers begin, so that no interval meets a number
    scale = {"domain": [low, low + 2.0 * (high - low)], "nice": False, "zero": False}
    axis = _axis(palette, values=ticks, format="%", tickCount=20)
    x: Json = {"field": "low", "type": "quantitative", "scale": scale, "axis": axis, "title": None}
    colour = _run_colour(data["run_id"], colours)
    tooltip = [_tip("run_id", "run"), _tip("points", "accuracy"), _tip("n", "items")]
    layers = [
        _mark("rule", {"x": x, "x2": {"field": "high"}, "color": colour, "tooltip": tooltip}),
        _mark("point", {"x": {**x, "field": "accuracy"}, "color": colour, "tooltip": tooltip}),
        _column("points", 128, {"value": palette.text}, fontSize=12.5, fontWeight="bold"),
        _column("change", 2, _tone_colour(palette)),
    ]
    y = {"y": _rows("label", data["label"], palette, 12.5, 200)}
    return _drawn(data, layers, _BOARD_ROW * len(frame) + 24, y)


def differences(frame: pd.DataFrame, overall: Difference, title: str, palette: Palette) -> Drawn:
    """Paired differences of groups with intervals, one row each, in the order of the frame.

    Args:
        frame: group, n, delta, low, high, shrunken (fractions), p_holm, significant, small.
        overall: the difference over all items, drawn as a soft band.
        title: under the axis, such as "points, B minus A".
        palette: the colours of the theme in use.
    """
    finite = [v for v in (*frame["low"], *frame["high"], overall.low, overall.high) if math.isfinite(v)]
    lowest, highest = min(-0.05, *finite), max(0.05, *finite)
    ticks = _ticks(lowest, highest, (0.02, 0.05, 0.1, 0.2, 0.4, 0.5), 7)
    low, high = min(ticks[0], lowest), max(ticks[-1], highest)
    end = high + 0.24 * (high - low)  # room for the columns of numbers
    data = pd.DataFrame(
        {
            "group": frame["group"],
            "delta": (100 * frame["delta"]).round(3),
            # one clip has no interval: its line runs through the plot
            "low": (100 * frame["low"].clip(low, high)).round(3),
            "high": (100 * frame["high"].clip(low, high)).round(3),
            "shrunken": (100 * frame["shrunken"]).round(3),
            "expected": [points(value) for value in frame["shrunken"]],
            "tone": [tone(bool(row.significant), row.delta) for row in frame.itertuples()],
            "small": frame["small"].astype(bool),
            "points": [points(value) for value in frame["delta"]],
            "items": [f"{n:,}" for n in frame["n"]],
            "interval": [bounds(row.low, row.high) for row in frame.itertuples()],
            "p": [f"{p:.3f}" for p in frame["p_holm"]],
        }
    )
    signed = "(datum.value > 0 ? '+' : datum.value < 0 ? '−' : '') + format(abs(datum.value), '~g')"
    axis = _axis(
        palette,
        values=[round(100 * tick, 6) for tick in ticks],
        labelExpr=signed,
        titleAnchor="start",
        titleX={"expr": f"{-low / (end - low):.4f} * width"},
        titleAlign="center",
        tickCount=20,
    )
    scale = {"domain": [100 * low, 100 * end], "nice": False, "zero": False}
    x: Json = {"field": "low", "type": "quantitative", "scale": scale, "axis": axis, "title": title}
    faint = {"condition": {"test": "datum.small", "value": SMALL_OPACITY}, "value": 1}
    tooltip = [_tip("group", "group"), _tip("points", "points"), _tip("interval", "95% interval")]
    tooltip += [_tip("expected", "to expect next time"), _tip("p", "p after Holm"), _tip("items", "items")]
    shown: Json = {"color": _tone_colour(palette), "opacity": faint, "tooltip": tooltip}
    layers: list[Json] = []
    if math.isfinite(overall.low):
        ends = {"x": {"datum": 100 * overall.low, "scale": scale}, "x2": {"datum": 100 * overall.high}}
        layers.append(_once({"type": "rect", "color": palette.grey, "opacity": 0.13}, ends))
    zero = {"type": "rule", "strokeWidth": 1.2, "color": palette.text, "opacity": 0.75}
    # an upright stroke, so that it can be told from the dot where they meet
    stroke = {"type": "tick", "orient": "vertical", "thickness": 1.6, "size": 13, "color": palette.text}
    y = {"y": _rows("group", data["group"], palette, 12, 236)}
    layers += [
        _once(zero, {"x": {"datum": 0, "scale": scale}}),
        _mark("rule", {**y, **shown, "x": x, "x2": {"field": "high"}}),
        _mark("point", {**y, **shown, "x": {**x, "field": "delta"}}),
        {"mark": stroke, "encoding": {**y, "x": {**x, "field": "shrunken"}, "tooltip": tooltip}},
        _column("points", 44, _tone_colour(palette), **y),
        _column("items", 2, {"value": palette.grey}, **y),
    ]
    return _drawn(data, layers, _GROUP_ROW * len(frame) + 44)


def cost(frame: pd.DataFrame, what: str, colours: Mapping[str, str], palette: Palette) -> Drawn:
    """Accuracy with intervals against what an item costs.

    Args:
        frame: run_id, label, accuracy, low, high (fractions), tokens, seconds (means an item).
        what: "tokens" or "seconds", the column along the x axis.
        colours: of each run.
        palette: the colours of the theme in use.
    """
    data = frame.loc[frame[what].notna(), ["run_id", "label", "accuracy", "low", "high", what]]
    data = data.rename(columns={what: "cost"}).reset_index(drop=True)
    most = float(data["cost"].max())
    data["left"] = [_label_left(data, k, most) for k in range(len(data))]
    data["lift"] = _label_lifts(data, most)
    x: Json = {
        "field": "cost",
        "type": "quantitative",
        "title": f"{what} per item",
        "axis": _axis(palette, tickCount=6),
        "scale": {"domain": [0, 1.08 * most], "nice": False},
    }
    y: Json = {
        "field": "low",
        "type": "quantitative",
        "title": None,
        "axis": _axis(palette, format="%", tickCount=4),
        "scale": {"zero": False, "nice": True},
    }
    colour = _run_colour(data["run_id"], colours)
    tooltip = [_tip("run_id", "run"), {**_tip("cost", what), "format": ".4~g"}]
    middle = {**y, "field": "accuracy"}
    layers = [
        _mark("rule", {"y": y, "y2": {"field": "high"}, "color": colour}),
        _mark("point", {"y": middle, "color": colour, "tooltip": tooltip}),
    ]
    for left, lift in sorted({(bool(a), int(b)) for a, b in zip(data["left"], data["lift"], strict=True)}):
        side: Json = {"align": "right", "dx": -9} if left else {"align": "left", "dx": 9}
        mark = {"type": "text", "dy": lift, "fontSize": _TEXT, "color": palette.text, **side}
        text = {"mark": mark, "encoding": {"y": middle, "text": {"field": "label", "type": "nominal"}}}
        test = f"{'' if left else '!'}datum.left && datum.lift == {lift}"
        layers.append({"transform": [{"filter": test}], **text})
    return _drawn(data, layers, _COST_HEIGHT, {"x": x})


def _label_lifts(data: pd.DataFrame, most: float) -> list[int]:
    """How many px each label moves down so that labels of neighbours do not lie on each other."""
    spread = float(data["high"].max() - data["low"].min()) or 1.0
    line = spread * 14 / _COST_HEIGHT  # of accuracy in the height of a line of text
    taken: list[tuple[float, float]] = []  # cost and height of the labels so far
    lifts = []
    for cost, accuracy in zip(data["cost"], data["accuracy"], strict=True):
        for lines in (0, -1, 1, -2, 2, -3, 3):
            height = accuracy - lines * line
            if all(abs(cost - x) > 0.3 * most or abs(height - y) > 0.9 * line for x, y in taken):
                break
        taken.append((float(cost), height))
        lifts.append(14 * lines)
    return lifts


def breakdown(frame: pd.DataFrame, colours: Mapping[str, str], palette: Palette) -> Drawn:
    """Accuracy of runs by group with intervals: a row a group, the runs one below the other in it.

    Args:
        frame: run_id, label, group, n, accuracy, low, high (fractions), small; in the order they are shown.
        colours: of each run.
        palette: the colours of the theme in use.
    """
    runs = list(dict.fromkeys(frame["run_id"]))
    data = frame.assign(
        points=[percent(value) for value in frame["accuracy"]], items=frame["n"].map("{:,}".format)
    )
    axis = _axis(palette, values=[0, 0.25, 0.5, 0.75, 1], format="%")
    scale = {"domain": [0, 1.12], "nice": False}
    x: Json = {"field": "low", "type": "quantitative", "scale": scale, "axis": axis, "title": None}
    faint = {"condition": {"test": "datum.small", "value": SMALL_OPACITY}, "value": 1}
    tooltip = [
        _tip("label", "run"),
        _tip("group", "group"),
        _tip("points", "accuracy"),
        _tip("items", "items"),
    ]
    offset = {"field": "run_id", "type": "nominal", "scale": {"domain": runs, "paddingOuter": 0.6}}
    shown = {"yOffset": offset, "color": _run_colour(runs, colours), "opacity": faint, "tooltip": tooltip}
    point = {"type": "point", "size": 34, "filled": True}
    groups = list(dict.fromkeys(frame["group"]))
    y = {"y": _rows("group", groups, palette, 12, 236)}
    layers = [
        _mark("rule", {**shown, "x": x, "x2": {"field": "high"}}),
        {"mark": point, "encoding": {**shown, "x": {**x, "field": "accuracy"}}},
        _column("items", 2, {"value": palette.grey}),
    ]
    # n is the same for every run that answered everything: it is written once a row, from the first run
    layers[2]["transform"] = [{"filter": {"field": "run_id", "equal": runs[0]}}]
    step = max(_GROUP_ROW, 8 + 9 * len(runs))
    return _drawn(data, layers, step * len(groups) + 24, y)


def _label_left(data: pd.DataFrame, k: int, most: float) -> bool:
    """Whether a point's label stands on its left: near the right edge, or where a neighbour would be hit."""
    here, accuracy = data["cost"][k], data["accuracy"][k]
    right = (data["cost"] > here) & (data["cost"] < here + 0.2 * most)
    crowded = bool((right & ((data["accuracy"] - accuracy).abs() < _LABEL_APART)).any())
    return bool(here > 0.72 * most) or (crowded and bool(here > 0.2 * most))


def standalone(drawn: Drawn, palette: Palette, width: int = 720) -> Json:
    """A chart as one Vega-Lite document with its data, to be drawn anywhere."""
    rows = drawn.frame.astype(object).where(drawn.frame.notna(), None).to_dict(orient="records")
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        **drawn.spec,
        "width": width,
        "background": palette.background,
        "padding": 12,
        "data": {"values": rows},
        "config": {
            "font": "IBM Plex Sans, Noto Sans, sans-serif",
            "view": {"stroke": None},
            "axis": {"gridColor": palette.line},
        },
    }


def tone(significant: bool, delta: float) -> Literal["", "right", "wrong"]:
    """What a difference's colour says: better, worse, or nothing where it may be noise."""
    return "" if not significant else "right" if delta > 0 else "wrong"


def _drawn(frame: pd.DataFrame, layers: list[Json], height: int, encoding: Json | None = None) -> Drawn:
    spec: Json = {
        "height": height,
        "padding": {"left": 0, "top": 4, "right": 2, "bottom": 0},
        "config": {"view": {"stroke": None}},
        # layers that mean different things by colour do not share its scale
        "resolve": {"scale": {"color": "independent"}},
        "layer": layers,
    }
    return Drawn(frame, spec if encoding is None else {**spec, "encoding": encoding})


def _mark(kind: Literal["rule", "point"], encoding: Json) -> Json:
    mark: Json = {"type": kind, "strokeWidth": 1.4}
    if kind == "point":
        mark = {"type": kind, "size": 52, "filled": True, "opacity": 1}
    return {"mark": mark, "encoding": encoding}


def _once(mark: Json, encoding: Json) -> Json:
    """A mark that is drawn once, not once a row."""
    window = {"window": [{"op": "row_number", "as": "row"}]}
    places = {name: {"type": "quantitative", **place} for name, place in encoding.items()}
    return {"transform": [window, {"filter": "datum.row == 1"}], "mark": mark, "encoding": places}


def _column(field: str, from_right: int, colour: Json, **more: Any) -> Json:
    """A column of right-aligned text at the plot's right edge; encodings and marks may be given in `more`."""
    encoding = {"y": more.pop("y")} if "y" in more else {}
    mark = {"type": "text", "align": "right", "fontSize": _TEXT, **more}
    place = {"value": {"expr": f"width - {from_right}"}}
    encoding |= {"x": place, "text": {"field": field, "type": "nominal"}, "color": colour}
    return {"mark": mark, "encoding": encoding}


def _rows(field: str, order: Sequence[str], palette: Palette, size: float, limit: int) -> Json:
    axis = {
        "ticks": False,
        "domain": False,
        "grid": False,
        "labelColor": palette.text,
        "labelFontSize": size,
        "labelLimit": limit,
        "labelPadding": 10,
        "labelFlush": False,
        "labelOverlap": False,
    }
    scale = {"domain": list(order)}
    return {"field": field, "type": "nominal", "sort": None, "title": None, "axis": axis, "scale": scale}


def _run_colour(run_ids: Sequence[str], colours: Mapping[str, str]) -> Json:
    scale = {"domain": list(run_ids), "range": [colours[one] for one in run_ids]}
    return {"field": "run_id", "type": "nominal", "legend": None, "scale": scale}


def _tone_colour(palette: Palette) -> Json:
    """Colour by the column `tone`; what is not significant is grey."""
    scale = {"domain": ["", "right", "wrong"], "range": [palette.grey, palette.right, palette.wrong]}
    return {"field": "tone", "type": "nominal", "legend": None, "scale": scale}


def _tip(field: str, title: str) -> Json:
    return {"field": field, "title": title}


def _axis(palette: Palette, **more: Any) -> Json:
    return {
        "ticks": False,
        "domain": False,
        "gridColor": palette.line,
        "labelColor": palette.grey,
        "labelFontSize": _TEXT,
        "labelPadding": 6,
        "labelFlush": False,
        "titleColor": palette.grey,
        "titleFontSize": _TEXT,
        "titleFontWeight": "normal",
        **more,
    }


def _ticks(low: float, high: float, steps: tuple[float, ...], most: int) -> list[float]:
    """Round values within [low, high], at most `most` of them."""
    values: list[float] = []
    for step in steps:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        values = [round(k * step, 4) for k in range(first, last + 1)]
        if len(values) <= most:
            break
    return values or [round(low, 2)]
