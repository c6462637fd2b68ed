"""Confusions: what is taken for what, and which habits of the model have nothing to do with the sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.errors import address, figures, look
from app.errors.grid import Row, grid
from app.errors.words import letter, percent, run_label
from app.widgets.rows import Column, rows
from audioreason.review.explorer import Biases, Confusion, Position
from audioreason.wording import counted

_SHOWN = 200  # confusions, and runs, that are listed
_PAIRS = (
    Column("Gold"),
    Column("Taken for"),
    Column("Times", "60px", number=True),
    Column("Items", "60px", number=True),
)
_RUNS = (
    Column("Run", "minmax(0, 1.6fr)"),
    Column("Same choice", "96px", number=True),
    Column("Same where both wrong", "170px", number=True),
    Column("Kappa", "64px", number=True),
    Column("Items", "64px", number=True),
)


def confusions(run: Mapping[str, Any], part: str, without: frozenset[str]) -> None:
    """Draw the view. A confusion leads to its predictions in Triage, a run to its own page."""
    left, right = st.columns([1, 1.1], gap="large")
    with left:
        _pairs(figures.confusions(run, part, without))
    with right:
        biases = figures.biases(run, part, without)
        _positions(biases)
        _lengths(biases, figures.figures(run, part, without).strict.value)
        _agreement(run, part, without)


def _pairs(found: Sequence[Confusion]) -> None:
    if not found:
        st.markdown("**Nothing is taken for anything else.** :gray[No wrong choice here.]")
        return
    total = sum(one.n for one in found)
    words = f"{counted(total, 'wrong choice')} in {counted(len(found), 'confusion')}"
    st.markdown(f"**{words}** :gray[a row leads to its predictions]")
    shown = found[:_SHOWN]
    cells = [(one.gold, one.given, f"{one.n:,}", f"{one.items:,}") for one in shown]
    clicked = rows(_PAIRS, cells, key="errors_pairs", clickable=True, height=690)
    if clicked is not None:
        one = shown[clicked]
        wanted = {"view": "Triage", "gold_text": one.gold, "given_text": one.given}
        address.go(**(address.no_filters() | wanted))
        st.rerun()
    if len(found) > _SHOWN:
        st.markdown(f":small[:gray[The commonest {_SHOWN} of {len(found):,}.]]")


def _positions(biases: Biases) -> None:
    if not biases.positions:
        return
    st.markdown(f"**Position** :gray[{position_words(biases.positions)}]")
    grid(
        [
            Row(
                letter(one.index),
                one.chosen.n,
                one.chosen.value,
                one.chosen.low,
                one.chosen.high,
                mark=one.gold,
            )
            for one in biases.positions
        ],
        key="errors_positions",
        label=60,
        clickable=False,
        title="How often a position is chosen (dot, 95% interval), and how often it is gold (stroke)",
    )


def position_words(positions: Sequence[Position]) -> str:
    """Which positions are chosen more or less often than they are gold, beyond their intervals."""
    more, less = [], []
    for one in positions:
        if one.chosen.low is None or one.chosen.high is None:
            continue
        if one.gold < one.chosen.low:
            more.append(letter(one.index))
        elif one.gold > one.chosen.high:
            less.append(letter(one.index))
    if not more and not less:
        return "no position is chosen more or less often than it is gold, beyond its interval"
    said = []
    if more:
        said.append(f"{' and '.join(more)} more often than gold")
    if less:
        said.append(f"{' and '.join(less)} less often")
    return f"chosen {', '.join(said)}"


def _lengths(biases: Biases, overall: float | None) -> None:
    if not biases.lengths:
        return
    st.markdown("**Length** :gray[accuracy by characters of reasoning and answer, in quarters]")
    grid(
        [
            Row(
                f"{one.low:,} to {one.high:,}",
                one.strict.n,
                one.strict.value,
                one.strict.low,
                one.strict.high,
            )
            for one in biases.lengths
        ],
        key="errors_lengths",
        label=118,
        overall=overall,
        clickable=False,
    )


def _agreement(run: Mapping[str, Any], part: str, without: frozenset[str]) -> None:
    known = {str(one["run_id"]): one for one in look.runs()}
    others = [one for one in figures.agreement(run, part, without) if one.run_id in known][:_SHOWN]
    if not others:
        st.markdown(":small[:gray[No other run answered these items: nothing to agree with.]]")
        return
    st.markdown("**Agreement** :gray[runs that are wrong alike point at the items, or at what they share]")
    labels = run_labels([known[one.run_id] for one in others])
    cells = [
        (
            labels[one.run_id],
            percent(one.same),
            percent(one.same_wrong),
            "" if one.kappa is None else f"{one.kappa:.2f}",
            f"{one.n:,}",
        )
        for one in others
    ]
    clicked = rows(_RUNS, cells, key="errors_agreement", clickable=True, height=210)
    if clicked is not None:
        address.go(**(address.no_filters() | {"run": others[clicked].run_id}))
        st.rerun()


def run_labels(listed: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each run's label; of several that read the same, the run's id."""
    labels = {str(one["run_id"]): run_label(one) for one in listed}
    times = Counter(labels.values())
    return {run_id: label if times[label] == 1 else run_id for run_id, label in labels.items()}
