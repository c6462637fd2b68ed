"""Charts of a search: trials, lineage, and train, dev and test beside each other.

Data and Vega-Lite instructions as plain dicts: building them through Altair's classes takes longer than
reading the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from app.compare.charts import Drawn
from app.optimize import words
from app.optimize.look import Found
from app.optimize.words import percent
from app.theme import Palette
from audioreason.optimize import view
from audioreason.optimize.view import Share
from audioreason.wording import counted

Json = dict[str, Any]

CLICK = "candidate"  # name of the selection: a click on a mark chooses its candidate
_TEXT = 11.5
_TRIALS, _LANE, _GAP_ROW = 216, 32, 22  # px


def trials(found: Found, current: str, palette: Palette) -> Drawn:
    """Every trial: number by score. Small and hollow on some items, solid with interval on all of dev."""
    seed = found.seed
    reference = found.share(seed.id, "dev") if seed else None
    rows = []
    for one in found.search.trials:
        exact = view.trial_share(one, found.verdicts, found.clips) if one.kind == "full" else None
        rows.append(
            {
                "n": one.n,
                "score": one.score,
                "low": exact.low if exact else None,
                "high": exact.high if exact else None,
                "best": one.best_so_far,
                "kind": one.kind,
                "on": f"{words.KINDS[one.kind]}, {counted(len(one.items), 'item')}",
                "candidate": one.candidate,
                "name": found.name(one.candidate),
                "chosen": one.candidate == current,
                "shown": percent(one.score) + (f" ({words.span(exact)})" if exact else ""),
                "spent": f"{counted(one.requests, 'request')}, {counted(one.tokens, 'token')}",
            }
        )
    data = pd.DataFrame(rows)
    last = max(one.n for one in found.search.trials)
    ends = [*data["score"], *data["low"].dropna(), *data["high"].dropna()]
    ends += [reference.value] if reference else []
    margin = max(0.02, 0.06 * (max(ends) - min(ends)))
    x: Json = {
        "field": "n",
        "type": "quantitative",
        "title": "trial",
        "axis": _axis(palette, grid=False, tickMinStep=1, tickCount=10),
        "scale": {"domain": [0.4, last + 0.6], "nice": False},
    }
    y: Json = {
        "field": "score",
        "type": "quantitative",
        "title": f"score ({found.search.config.metric})",
        "axis": _axis(palette, format=".0%", tickCount=5, grid=True),
        "scale": {"domain": [max(0.0, min(ends) - margin), max(ends) + margin], "nice": False},
    }
    tip = [
        {"field": name, "title": title}
        for name, title in (
            ("name", "candidate"),
            ("shown", "score"),
            ("on", "on"),
            ("n", "trial"),
            ("spent", "spent"),
        )
    ]
    shade = {"condition": {"test": "datum.chosen", "value": palette.accent}, "value": palette.text}
    faint = {"condition": {"test": "datum.chosen", "value": palette.accent}, "value": palette.grey}
    full: Json = {"filter": "datum.kind == 'full'"}
    small: Json = {"filter": "datum.kind != 'full'"}
    shape = {
        "field": "kind",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": ["minibatch", "reflection"], "range": ["circle", "diamond"]},
    }
    layers: list[Json] = []
    if reference is not None:
        dashed = {"type": "rule", "strokeDash": [4, 3], "color": palette.grey, "strokeWidth": 1.2}
        place = {"y": {**y, "field": None, "datum": reference.value}}
        place["y"].pop("field")
        text = {
            "type": "text",
            "align": "right",
            "dy": -6,
            "fontSize": _TEXT,
            "color": palette.grey,
            "text": f"seed on dev {percent(reference.value)}",
        }
        at = {"x": {"value": {"expr": "width"}}, **place}
        layers += [
            {"data": {"values": [{}]}, "mark": dashed, "encoding": place},
            {"data": {"values": [{}]}, "mark": text, "encoding": at},
        ]
    best = {
        "type": "line",
        "interpolate": "step-after",
        "strokeWidth": 1.6,
        "color": palette.accent,
        "opacity": 0.75,
    }
    layers += [
        {
            "transform": [{"filter": "isValid(datum.best)"}],
            "mark": best,
            "encoding": {"x": x, "y": {**y, "field": "best"}},
        },
        {
            "transform": [full],
            "mark": {"type": "rule", "strokeWidth": 1.3},
            "encoding": {
                "x": x,
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
                "color": {**shade},
                "opacity": {"value": 0.55},
            },
        },
        {
            "transform": [small],
            "mark": {"type": "point", "size": 30, "filled": False, "strokeWidth": 1.3, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": faint, "shape": shape, "tooltip": tip},
        },
        {
            "transform": [full],
            "mark": {"type": "point", "size": 74, "filled": True, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": shade, "tooltip": tip},
        },
    ]
    return _drawn(data, [*layers, _hit(x, y, tip)], _TRIALS, clicked=True)


def lineage(found: Found, current: str, palette: Palette) -> Drawn:
    """The tree from the seed on the left; who has a score on all of dev is solid and says it."""
    nodes = {one.id: one for one in view.lineage(found.search.candidates)}
    rows, edges = [], []
    for one in found.rows:
        node = nodes.get(one.candidate.id)
        if node is None:
            continue
        score = percent(one.full.value) if one.full else ""
        name = found.name(node.id)
        rows.append(
            {
                "depth": node.depth,
                "lane": node.lane,
                "candidate": node.id,
                "label": "Seed" if name == "Seed" else str(one.candidate.step),
                "score": score,
                "name": name,
                "how": words.SOURCES[one.candidate.source],
                "full": one.full is not None,
                "chosen": node.id == current,
                "best": one.best,
            }
        )
        edges += [
            {
                "depth": nodes[parent].depth,
                "lane": nodes[parent].lane,
                "to": node.depth,
                "to_lane": node.lane,
                "merge": parent == one.candidate.other_parent,
            }
            for parent in node.parents
            if parent in nodes
        ]
    data = pd.DataFrame(rows)
    lanes = float(data["lane"].max()) + 1
    deepest = int(data["depth"].max())
    x: Json = {
        "field": "depth",
        "type": "quantitative",
        "title": None,
        "axis": None,
        "scale": {"domain": [-0.12, max(1, deepest) + 0.55], "nice": False},
    }
    y: Json = {
        "field": "lane",
        "type": "quantitative",
        "title": None,
        "axis": None,
        "scale": {"domain": [lanes - 0.6, -0.75], "nice": False},
    }
    tip = [
        {"field": name, "title": title}
        for name, title in (("name", "candidate"), ("how", "made"), ("score", "all of dev"))
    ]
    shade = {"condition": {"test": "datum.chosen", "value": palette.accent}, "value": palette.text}
    dash = {"condition": {"test": "datum.merge", "value": [3, 3]}, "value": [1, 0]}
    label = {"type": "text", "align": "left", "dx": -4, "dy": -12, "fontSize": _TEXT}
    layers: list[Json] = []
    if edges:
        layers.append(
            {
                "data": {"values": edges},
                "mark": {"type": "rule", "strokeWidth": 1.2, "color": palette.line},
                "encoding": {
                    "x": x,
                    "y": y,
                    "x2": {"field": "to"},
                    "y2": {"field": "to_lane"},
                    "strokeDash": dash,
                    "color": {"value": palette.grey},
                    "opacity": {"value": 0.55},
                },
            }
        )
    layers += [
        {
            "transform": [{"filter": "!datum.full"}],
            "mark": {
                "type": "point",
                "size": 44,
                "filled": True,
                "fill": palette.background,
                "strokeWidth": 1.4,
                "opacity": 1,
            },
            "encoding": {"x": x, "y": y, "stroke": shade, "tooltip": tip},
        },
        {
            "transform": [{"filter": "datum.full"}],
            "mark": {"type": "point", "size": 64, "filled": True, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": shade, "tooltip": tip},
        },
        {
            "transform": [
                {
                    "calculate": "datum.label + '  ' + datum.score + (datum.best ? '  best' : '')",
                    "as": "words",
                }
            ],
            "mark": label,
            "encoding": {"x": x, "y": y, "text": {"field": "words"}, "color": shade},
        },
    ]
    height = int(max(56, _LANE * lanes))
    return _drawn(data, [*layers, _hit(x, y, tip)], height, clicked=True)


def gap(rows: Sequence[tuple[str, str, Share]], palette: Palette) -> Drawn:
    """Scores with intervals by part, the seed's in grey under the candidate's.

    Args:
        rows: (part, who, score); who is "seed" or a candidate's name.
        palette: the colours of the theme in use.
    """
    data = pd.DataFrame(
        [
            {
                "row": f"{part}, {who.lower()}",
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "seed": who == "Seed",
                "shown": percent(one.value),
                "items": f"{words.span(one)}   n {one.n:,}",
            }
            for part, who, one in rows
        ]
    )
    low, high = float(data["low"].min()), float(data["high"].max())
    span = max(high - low, 0.05)
    x: Json = {
        "field": "low",
        "type": "quantitative",
        "title": None,
        "axis": _axis(palette, format=".0%", tickCount=5, values=_ticks(low, high)),
        "scale": {"domain": [low - 0.02 * span, high + 1.05 * span], "nice": False, "zero": False},
    }
    y: Json = {
        "field": "row",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {
            "ticks": False,
            "domain": False,
            "grid": False,
            "labelColor": palette.text,
            "labelFontSize": 12,
            "labelPadding": 10,
            "labelFlush": False,
            "labelLimit": 150,
        },
        "scale": {"domain": list(data["row"])},
    }
    colour = {"condition": {"test": "datum.seed", "value": palette.grey}, "value": palette.accent}

    def column(field: str, from_right: int, **more: Any) -> Json:
        mark = {"type": "text", "align": "right", "fontSize": 12, **more}
        return {
            "mark": mark,
            "encoding": {"x": {"value": {"expr": f"width - {from_right}"}}, "text": {"field": field}},
        }

    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.4},
            "encoding": {"x": x, "x2": {"field": "high"}, "color": colour},
        },
        {
            "mark": {"type": "point", "size": 52, "filled": True, "opacity": 1},
            "encoding": {"x": {**x, "field": "value"}, "color": colour},
        },
        column("shown", 124, fontWeight="bold", color=palette.text),
        column("items", 2, color=palette.grey),
    ]
    return _drawn(data, layers, _GAP_ROW * len(data) + 24, {"y": y})


def _ticks(low: float, high: float) -> list[float]:
    for step in (0.02, 0.05, 0.1, 0.2, 0.25):
        values = [
            round(k * step, 4)
            for k in range(int(low / step), int(high / step) + 2)
            if low <= k * step <= high
        ]
        if len(values) <= 5:
            return values
    return []


def _hit(x: Json, y: Json, tip: list[Json]) -> Json:
    """What the pointer meets: larger than what is seen."""
    mark = {"type": "point", "size": 260, "filled": True, "opacity": 0, "cursor": "pointer"}
    return {"name": "hit", "mark": mark, "encoding": {"x": x, "y": y, "tooltip": tip}}


def _axis(palette: Palette, **more: Any) -> Json:
    return {
        "ticks": False,
        "domain": False,
        "gridColor": palette.line,
        "labelColor": palette.grey,
        "labelFontSize": _TEXT,
        "labelPadding": 6,
        "titleColor": palette.grey,
        "titleFontSize": _TEXT,
        "titleFontWeight": "normal",
        **more,
    }


def _drawn(
    frame: pd.DataFrame, layers: list[Json], height: int, encoding: Json | None = None, clicked: bool = False
) -> Drawn:
    """A chart; `clicked`: a click on the layer "hit" selects its candidate."""
    spec: Json = {
        "height": height,
        "padding": {"left": 0, "top": 6, "right": 4, "bottom": 0},
        "config": {"view": {"stroke": None}},
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "layer": layers,
    }
    if clicked:
        select = {"type": "point", "fields": ["candidate"], "on": "click"}
        spec["params"] = [{"name": CLICK, "select": select, "views": ["hit"]}]
    return Drawn(frame, spec if encoding is None else {**spec, "encoding": encoding})
