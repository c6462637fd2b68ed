"""Zones of one round: how often each problem was solved, by zone and subcategory, and drift over rounds."""

from __future__ import annotations

import streamlit as st

from app.errors.grid import Row, grid
from app.rest import address, look
from app.rest.columns import columns
from app.rest.curriculum import curriculum
from app.rest.drift import drift
from app.rest.look import Experiment, Round
from app.rest.rounds import zone_strips
from app.rest.words import percent, span, zone_words
from app.session import plain
from audioreason.rest import view
from audioreason.wording import counted


def zones(found: Experiment, shown: Round) -> None:
    """Draw the view."""
    tables = look.tables(found, shown)
    left, right = st.columns([1, 1.12], gap="large")
    with left:
        if tables is None:
            st.markdown(
                f"**{plain(shown.name)} has no candidates yet.** :gray[{plain(look.why_none(shown))}]"
            )
        else:
            _histogram(found, shown)
        zone_strips(found, shown, "rest_drift")
        drift(found, shown)
    if tables is not None:
        with right:
            _heat(found, shown)
            curriculum(found, shown)


def _histogram(found: Experiment, shown: Round) -> None:
    tables = look.tables(found, shown)
    if tables is None:
        return
    made, figures = tables.histogram, tables.figures
    accent = view.share(figures.zones[found.accent], sum(figures.zones))
    name = zone_words(found.zones[found.accent])
    guess = figures.guess[found.accent] if figures.guess else None
    words = f"**{percent(accent.value)}** :gray[{name} · {span(accent.low, accent.high)}]"
    if guess is not None:
        words += f" &emsp; **{percent(guess)}** :gray[by guessing alone]"
    counting = "problem that counts" if figures.counted == 1 else "problems that count"
    st.markdown(f"{words} &emsp; **{figures.counted:,}** :gray[{counting}]")
    columns(
        made.counts,
        made.guess,
        [found.zone_of(k, len(made.counts) - 1) for k in range(len(made.counts))],
        key="rest_columns",
        accent=found.accent,
    )
    if made.left_out:
        st.markdown(
            f":small[:gray[{counted(made.left_out, 'problem')} left out: server errors took some answers.]]"
        )


def _heat(found: Experiment, shown: Round) -> None:
    tables = look.tables(found, shown)
    if tables is None:
        return
    made = [
        Row(one.subcategory, one.n, layer=one.layer, counts=one.counts, of=one.n)
        for one in tables.by_subcategory
    ]
    names = [zone_words(zone) for zone in found.zones]
    picked = grid(
        made,
        key="rest_heat",
        columns=names,
        dots=False,
        title="Problems of each subcategory",
        heat=f"by zone, {shown.name.lower()}; a cell leads to its candidates",
        unit="problem",
    )
    st.markdown(
        ":small[:gray[All problems, also those that do not count. A shade is a share of the subcategory.]]"
    )
    if picked is not None:
        zone = () if picked.column is None else (found.zones[picked.column],)
        filters = {"sub": (made[picked.row].label,), "zone": zone}
        address.go(view="Candidates", **(address.no_filters() | filters))
        st.rerun()
