"""The overview: how good the run is, where it fails and how, and where to look first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.errors import address, heard
from app.errors.address import Address
from app.errors.figures import outcomes as outcomes_of
from app.errors.grid import SMALL, Row, grid
from app.errors.words import FAILURES, outcome_words, percent
from app.session import plain
from app.widgets.rows import Column, rows
from audioreason.review.explorer import Group, Overview
from audioreason.wording import counted

_FIRST = 6  # rows of "where to look first"
_COLUMNS = (
    Column("Subcategory", "minmax(0, 1.2fr)"),
    Column("Most common failure", "minmax(0, 1.2fr)"),
    Column("Of its failures", "120px", number=True),
    Column("Failures", "90px", number=True),
    Column("Accuracy", "90px", number=True),
    Column("All right would add", "140px", number=True),
)


def number_line(found: Overview, run: Mapping[str, Any]) -> str:
    """The run in one line of numbers, as Markdown."""
    strict = found.strict
    if strict.low is None or strict.high is None:
        return "**No rated items** :gray[here: nothing was answered, or no answer is known to be right.]"
    items = counted(strict.n, "item")
    words = [
        f"**{percent(strict.value)}** :gray[strict · 95% interval {100 * strict.low:.1f} to "
        f"{100 * strict.high:.1f} · {items}]",
        f"**{percent(found.official.value)}** :gray[official]",
    ]
    if unrated := int(run.get("unrated") or 0):
        words.append(f"**{unrated:,}** :gray[unrated: the gold answer is none of the choices]")
    for name, number in sorted(outcomes_of(found).items(), key=lambda pair: -pair[1]):
        if name in FAILURES and number:
            words.append(f"**{number:,}** :gray[{outcome_words(name)}]")
    if int(run["samples"]) > 1:
        words.append(f":gray[{run['samples']} samples an item, outcomes counted by sample]")
    return " &emsp;&emsp; ".join(words)


def failing(found: Overview) -> list[str]:
    """Outcomes that the heat map has columns for: the failures that there are, commonest first."""
    total = outcomes_of(found)
    return sorted((name for name in FAILURES if total.get(name)), key=lambda name: -total[name])


def overview(now: Address, run: Mapping[str, Any], found: Overview) -> None:
    """Draw the view. A row leads to its failures in Triage, a cell to those of one outcome."""
    st.markdown(number_line(found, run))
    if not found.groups:
        return
    _heard(run)
    outcomes = failing(found)
    picked = grid(
        [_row(group, outcomes) for group in found.groups],
        key="errors_grid",
        columns=[outcome_words(name) for name in outcomes],
        overall=found.strict.value,
        title="Accuracy by subcategory, with 95% interval and items",
        heat="Failures by outcome",
    )
    if any(group.strict.n < SMALL for group in found.groups):
        st.markdown(
            f":small[:gray[Faint rows have fewer than {SMALL} items: read the interval, not the dot. "
            "A shade is the share of the subcategory; rows and cells lead to their failures.]]"
        )
    if picked is not None:
        group = found.groups[picked.row]
        chosen = tuple(outcomes) if picked.column is None else (outcomes[picked.column],)
        _drill(now, group, chosen)
    _first(now, found)


def _heard(run: Mapping[str, Any]) -> None:
    """What HEARD claims of the clips' events, over the whole run, with how far that can be trusted."""
    found = heard.cues(run)
    if found is None or not found.rows:
        return
    words = " · ".join(f"{number:,} {name}" for name, number in heard.counts(found).items())
    st.markdown(
        f":small[:gray[The clips' events in HEARD, over the whole run: {words}. {plain(found.caution)}]]"
    )


def _row(group: Group, outcomes: list[str]) -> Row:
    return Row(
        group.name,
        group.strict.n,
        group.strict.value,
        group.strict.low,
        group.strict.high,
        group.layer,
        tuple(group.outcomes.get(name, 0) for name in outcomes),
        sum(group.outcomes.values()),
    )


def _drill(now: Address, group: Group, outcomes: tuple[str, ...]) -> None:
    address.go(**(address.no_filters() | {"view": "Triage", "sub": (group.name,), "outcome": outcomes}))
    st.rerun()


def _first(now: Address, found: Overview) -> None:
    """Where most of the run's failures are: what would be won if all of them were right."""
    known = [group for group in found.groups if group.strict.n]
    ranked = sorted(known, key=_lost, reverse=True)[:_FIRST]
    ranked = [group for group in ranked if _lost(group) > 0]
    if not ranked:
        return
    st.markdown(":small[:gray[Where to look first: the subcategories that cost the run most]]")
    cells = []
    worst = []
    for group in ranked:
        failures = {name: group.outcomes.get(name, 0) for name in FAILURES}
        total = sum(failures.values())
        name = max(failures, key=lambda one: failures[one])
        worst.append(name)
        share = f"{failures[name]:,} of {total:,}" if total else ""
        cells.append(
            (
                group.name,
                outcome_words(name) if total else "",
                share,
                f"{total:,}",
                percent(group.strict.value),
                f"{100 * _lost(group) / found.strict.n:.1f} points",
            )
        )
    clicked = rows(_COLUMNS, cells, key="errors_first", clickable=True)
    if clicked is not None:
        _drill(now, ranked[clicked], (worst[clicked],))


def _lost(group: Group) -> float:
    return group.strict.n * (1 - (group.strict.value or 0.0))


def nothing_here(part: str) -> None:
    """Say that the run has no items in this part."""
    st.markdown(f"**This run has no {plain(part)} items.** :gray[Choose others above.]")
