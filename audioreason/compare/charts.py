"""A comparison's charts as Vega-Lite documents with their data, and as SVG or PNG without a browser.

Drawn for paper: dark on white. Pages draw their own, in the colours of the theme. Knows nothing about files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from audioreason.compare.tables import points
from audioreason.runs import records

if TYPE_CHECKING:
    from audioreason.compare.comparison import Comparison
    from audioreason.compare.pair import Pair

Json = dict[str, Any]
ChartFormat = Literal["svg", "png", "json"]
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_TEXT, _GREY, _LINE = "#1c1f23", "#6b7280", "#e5e7eb"
_RIGHT, _WRONG = "#0f766e", "#b4452c"
_ROW = 22  # px
_WIDTH = 560  # px
_PNG_SCALE = 2.0
_CONFIG: Json = {
    "font": "IBM Plex Sans, Noto Sans, Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "gridColor": _LINE,
        "labelColor": _TEXT,
        "labelFontSize": 12,
        "labelLimit": 240,
        "titleColor": _GREY,
        "titleFontWeight": "normal",
    },
}


def leaderboard_chart(found: Comparison) -> Json:
    """Accuracy of every run with its interval, best first."""
    rows = [
        {
            "run": row["label"],
            "accuracy": 100 * row["accuracy"],
            "low": 100 * row["low"],
            "high": 100 * row["high"],
            "text": f"{100 * row['accuracy']:.1f}%  n = {row['n']:,}",
        }
        for row in records(found.leaderboard.sort_values("accuracy", ascending=False))
        if row["accuracy"] is not None
    ]
    x: Json = {"type": "quantitative", "scale": {"zero": False}, "title": "accuracy, %, 95% interval"}
    return _document(
        rows, "run", [_interval("low", "high", x), _point("accuracy", x), _beside("text")], "run"
    )


def differences_chart(pair: Pair, by: str) -> Json:
    """One pair's differences by a column of the items; colour only where Holm leaves them significant.

    Raises:
        RunError: if the column is none that items have.
    """
    rows = [
        {
            "group": row["group"],
            "delta": 100 * row["delta"],
            # one clip gives no interval: no line is drawn
            "low": None if row["low"] is None or abs(row["low"]) > 10 else 100 * row["low"],
            "high": None if row["high"] is None or abs(row["high"]) > 10 else 100 * row["high"],
            "tone": "" if not row["significant"] else "better" if row["delta"] > 0 else "worse",
            "faded": row["small"],
            "text": f"{points(row['delta'])}  n = {row['n']:,}",
        }
        for row in records(pair.by(by).sort_values("delta", ascending=False))
    ]
    title = f"points, {pair.labels[1]} minus {pair.labels[0]}, 95% interval"
    x: Json = {"type": "quantitative", "title": title}
    tone: Json = {
        "color": {
            "field": "tone",
            "type": "nominal",
            "legend": None,
            "scale": {"domain": ["", "better", "worse"], "range": [_GREY, _RIGHT, _WRONG]},
        },
        "opacity": {"condition": {"test": "datum.faded", "value": 0.37}, "value": 1},
    }
    zero: Json = {"mark": {"type": "rule", "color": _TEXT}, "encoding": {"x": {"datum": 0, **x}}}
    layers = [zero, _interval("low", "high", x, tone), _point("delta", x, tone), _beside("text")]
    return _document(rows, "group", layers, "group")


def cost_chart(found: Comparison, cost: Literal["tokens", "seconds"] = "tokens") -> Json:
    """Accuracy with its interval against mean completion tokens or seconds an answer."""
    rows = [
        {
            "run": row["label"],
            "cost": row[cost],
            "accuracy": 100 * row["accuracy"],
            "low": 100 * row["low"],
            "high": 100 * row["high"],
        }
        for row in records(found.leaderboard)
        if row["accuracy"] is not None and row[cost] is not None
    ]
    title = "completion tokens an answer" if cost == "tokens" else "seconds an answer"
    x: Json = {
        "field": "cost",
        "type": "quantitative",
        "title": title,
        "scale": {"zero": False, "padding": 30},
    }
    y: Json = {"type": "quantitative", "scale": {"zero": False}, "title": "accuracy, %, 95% interval"}
    layers: list[Json] = [
        {
            "mark": {"type": "rule", "color": _GREY},
            "encoding": {"x": x, "y": {"field": "low", **y}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 52, "opacity": 1, "color": _TEXT},
            "encoding": {"x": x, "y": {"field": "accuracy", **y}},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 8, "color": _TEXT, "limit": 160},
            "encoding": {"x": x, "y": {"field": "accuracy", **y}, "text": {"field": "run"}},
        },
    ]
    return {**_frame(rows), "height": 260, "layer": layers}


def chart_as(document: Json, format: ChartFormat) -> bytes:
    """A chart as a file: SVG, PNG at twice the size, or its Vega-Lite JSON."""
    if format == "json":
        import orjson

        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    import vl_convert  # 30 MB that only an export needs; it carries Vega and asks no network

    if format == "svg":
        return str(vl_convert.vegalite_to_svg(document, allowed_base_urls=[])).encode()
    return bytes(vl_convert.vegalite_to_png(document, scale=_PNG_SCALE, allowed_base_urls=[]))


def _frame(rows: list[Json]) -> Json:
    return {
        "$schema": _SCHEMA,
        "width": _WIDTH,
        "background": "white",
        "padding": 12,
        "config": _CONFIG,
        "data": {"values": rows},
    }


def _document(rows: list[Json], field: str, layers: list[Json], order: str) -> Json:
    names = [row[order] for row in rows]
    y: Json = {"field": field, "type": "nominal", "sort": None, "scale": {"domain": names}, "title": None}
    return {
        **_frame(rows),
        # room on the right for the figures beside the plot
        "padding": {"left": 12, "top": 12, "right": 110, "bottom": 12},
        "height": max(1, len(rows)) * _ROW,
        "resolve": {"scale": {"color": "independent"}},
        # a line at a value crosses all rows, so it has no row of its own
        "layer": [
            layer
            if "datum" in layer["encoding"]["x"]
            else {**layer, "encoding": {"y": y, **layer["encoding"]}}
            for layer in layers
        ],
    }


def _interval(low: str, high: str, x: Json, more: Json | None = None) -> Json:
    return {
        "mark": {"type": "rule", "strokeWidth": 1.4, "color": _TEXT},
        "encoding": {"x": {"field": low, **x}, "x2": {"field": high}, **(more or {})},
    }


def _point(field: str, x: Json, more: Json | None = None) -> Json:
    return {
        "mark": {"type": "point", "filled": True, "size": 52, "opacity": 1, "color": _TEXT},
        "encoding": {"x": {"field": field, **x}, **(more or {})},
    }


def _beside(field: str) -> Json:
    """Figures right of the plot, one a row."""
    return {
        "mark": {"type": "text", "align": "left", "dx": 10, "color": _TEXT, "fontSize": 11.5},
        "encoding": {"x": {"value": _WIDTH}, "text": {"field": field}},
    }
