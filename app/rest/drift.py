"""How problems moved between zones from one round to the next: a heat map, and in words whether it is luck.

The chart is data and Vega-Lite instructions, so only data travels. Knows nothing about how zones are made.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.rest import look
from app.rest.look import Experiment, Round
from app.rest.words import zone_words
from app.session import plain
from app.theme import Palette, palette
from audioreason.rest.zones import NAMES, moves
from audioreason.rest.zones import drift as drifted
from audioreason.stats import mcnemar
from audioreason.wording import counted

Json = dict[str, Any]
STEP = 30  # px of a row
_TEXT = 11.5


def drift(found: Experiment, shown: Round) -> None:
    """Draw it for a round and the one before that has candidates; nothing for the first."""
    pair = _pair(found, shown)
    if pair is None:
        return
    before, after = pair
    first, second = look.tables(found, before), look.tables(found, after)
    if first is None or second is None:
        return
    table = drifted(*(one.problems[one.problems["counts"].astype(bool)] for one in (first, second)))
    easier, harder, stayed = moves(table)
    names = f"{before.name.lower()} to {after.name.lower()}"
    if not easier + harder + stayed:
        st.markdown(f":small[:gray[From {names} no problem that counts was asked twice, so none moved.]]")
        return
    moved = {"easier": easier, "harder": harder, "stayed": stayed}
    words = [f"**{n:,}** :gray[{name}]" for name, n in moved.items()]
    words.append(f":small[:gray[{plain(_luck(easier, harder))}]]")
    st.markdown(" &emsp; ".join(words))
    st.vega_lite_chart(
        frame(table),
        spec(palette(), before.name.lower(), after.name.lower()),
        width="stretch",
        key=f"rest_drift_chart_{after.number}",
    )
    st.markdown(
        f":small[:gray[{counted(easier + harder + stayed, 'problem')} that count in both, {names}. A shade is"
        " a share of the row; framed: the same zone. A model that did not change moves problems too, as often"
        " up as down.]]"
    )


def _pair(found: Experiment, shown: Round) -> tuple[Round, Round] | None:
    having = [one for one in found.rounds if all(look.stamp(found, one))]
    place = next((place for place, one in enumerate(having) if one.number == shown.number), 0)
    return (having[place - 1], having[place]) if place else None


def _luck(easier: int, harder: int) -> str:
    p = mcnemar(easier, harder)
    words = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{words}, if only luck moved them" if p < 0.05 else f"not to be told from luck, {words}"


def frame(table: pd.DataFrame) -> pd.DataFrame:
    """The cells of a table of `drift`: before, after, n and share of the row, empty cells left out."""
    cells = [
        (zone_words(str(before)), zone_words(str(after)), int(n), float(n) / max(1, int(row.sum())))
        for before, row in table.iterrows()
        for after, n in row.items()
    ]
    made = pd.DataFrame(cells, columns=["before", "after", "n", "share"])
    return made[made["n"] > 0].reset_index(drop=True)


def spec(colours: Palette, before: str, after: str) -> Json:
    """How `frame` is drawn: rows are zones before, columns zones after, from never to always right."""
    order = [zone_words(zone) for zone in NAMES]
    scale = {"domain": order, "paddingInner": 0.06}
    x = _axis("after", f"zone in {after}", scale, colours) | {"sort": order}
    y = _axis("before", f"zone in {before}", {"domain": order, "paddingInner": 0.1}, colours) | {
        "sort": order
    }
    tip = [
        {"field": "before", "type": "nominal", "title": before},
        {"field": "after", "type": "nominal", "title": after},
        {"field": "n", "type": "quantitative", "title": "problems", "format": ","},
        {"field": "share", "type": "quantitative", "title": "of the row", "format": ".0%"},
    ]
    shade = {
        "field": "share",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, 1], "range": [0.06, 0.86]},
    }
    stayed = {"filter": "datum.before == datum.after"}
    cell = {"type": "rect", "cornerRadius": 2, "color": colours.accent}
    outline = {"type": "rect", "cornerRadius": 2, "filled": False, "stroke": colours.grey, "strokeWidth": 1}
    deep = {"test": "datum.share > 0.75", "value": "#FFFFFF"}
    text = {"type": "text", "fontSize": 12}
    return {
        "height": STEP * len(order),
        "padding": {"left": 0, "top": 4, "right": 4, "bottom": 0},
        "config": {"view": {"stroke": None}},
        "encoding": {"x": x, "y": y},
        "layer": [
            {"mark": cell, "encoding": {"opacity": shade, "tooltip": tip}},
            {"transform": [stayed], "mark": outline, "encoding": {}},
            {
                "mark": text,
                "encoding": {
                    "text": {"field": "n", "type": "quantitative", "format": ","},
                    "color": {"condition": deep, "value": colours.text},
                },
            },
        ],
    }


def _axis(field: str, title: str, scale: Json, colours: Palette) -> Json:
    axis = {
        "ticks": False,
        "domain": False,
        "labelAngle": 0,
        "labelColor": colours.text,
        "labelFontSize": _TEXT,
        "labelLimit": 190,
        "labelPadding": 6,
        "titleColor": colours.grey,
        "titleFontSize": _TEXT,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    }
    return {"field": field, "type": "nominal", "title": title, "scale": scale, "axis": axis}
