"""The left side: trials as they come, every candidate with its scores, and who was made from whom."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.compare.charts import Drawn
from app.optimize import address, charts, words
from app.optimize.look import Found
from app.theme import palette
from app.widgets.rows import Column, rows

_COLUMNS = (
    Column("Candidate", "88px"),
    Column("From", "minmax(64px, .7fr)"),
    Column("Made", "minmax(88px, 1fr)"),
    Column("Some items", "112px", number=True),
    Column("All of dev, 95% interval", "minmax(150px, 1.25fr)", number=True),
    Column("Items", "56px", number=True),
    Column("Tokens", "64px", number=True),
)
_SHORT = {
    "seed": "",
    "proposed": "proposed",
    "demos": "with demos",
    "reflected": "after reading",
    "merged": "merged",
}
_HEIGHT = 262  # px of the table
_TREE = 240  # px of the tree; a larger one scrolls


def trials(found: Found, current: str) -> None:
    """Draw the three; a click in any of them chooses a candidate."""
    if found.search.trials:
        _key(found)
        _chart(charts.trials(found, current, palette()), "optimize_trials", current)
    else:
        st.markdown("**No trial yet.** :gray[Each will be a point here: its number, its score, and on what.]")
    if not found.rows:
        return
    _table(found, current)
    if len(found.rows) > 1:
        st.markdown(":small[:gray[Who was made from whom · solid: tried on all of dev · dashed: merged in]]")
        drawn = charts.lineage(found, current, palette())
        tall = drawn.spec["height"] > _TREE
        with st.container(height=_TREE + 20 if tall else "content", border=False):
            _chart(drawn, "optimize_lineage", current)


def _key(found: Found) -> None:
    kinds = {trial.kind for trial in found.search.trials}
    parts = ["solid: all of dev, 95% interval by clip"]
    if "minibatch" in kinds:
        parts.append("hollow circle: a dev minibatch")
    if "reflection" in kinds:
        parts.append("hollow diamond: train items")
    st.markdown(f":small[:gray[Trials · {' · '.join(parts)} · line: best on all of dev so far]]")


def _chart(drawn: Drawn, name: str, current: str) -> None:
    # with the choice in its key a chart forgets its last click: the same mark can be clicked again later
    key = f"{name}_{current}"

    def picked() -> None:
        state: Any = st.session_state.get(key)
        points = state["selection"].get(charts.CLICK) if state else None
        if points and points[0].get("candidate"):
            address.go(candidate=points[0]["candidate"])

    with st.container(key=name):
        st.vega_lite_chart(
            drawn.frame, drawn.spec, width="stretch", key=key, on_select=picked, selection_mode=charts.CLICK
        )


def _table(found: Found, current: str) -> None:
    """Best first among those tried on all of dev; the others behind them in the order made."""
    ordered = sorted(found.rows, key=lambda one: -one.full.value if one.full else 1.0)
    cells = []
    for one in ordered:
        parents = [short(found, name) for name in (one.candidate.parent, one.candidate.other_parent) if name]
        small = f"{words.percent(one.small)} of {one.small_n:,}" if one.small is not None else ""
        cells.append(
            (
                short(found, one.candidate.id) + (" · best" if one.best else ""),
                " + ".join(parents),
                _SHORT[one.candidate.source],
                small,
                words.share(one.full) if one.full else "",
                f"{one.full.n:,}" if one.full else "",
                f"{one.tokens:,}",
            )
        )
    ids = [one.candidate.id for one in ordered]
    clicked = rows(
        _COLUMNS,
        cells,
        key="optimize_candidates",
        clickable=True,
        current=ids.index(current) if current in ids else None,
        height=_HEIGHT,
    )
    if clicked is not None and ids[clicked] != current:
        address.go(candidate=ids[clicked])
        st.rerun()


def short(found: Found, candidate: str) -> str:
    """A candidate in a column of candidates: Seed, 3; empty if it is not recorded."""
    return found.name(candidate).removeprefix("Candidate ")
