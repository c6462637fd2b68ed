"""Triage: filters, the list they leave, and one prediction to listen to.

A fragment: another filter draws neither header nor navigation again. Whatever changes the address does so in
a callback, before anything is drawn, so that one run is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import session
from app.errors import address, beside, look, notes, overview
from app.errors.address import PAGE, Address
from app.errors.detail import Listed, detail
from app.errors.figures import SORTS, Found, figures, find, ids_found, outcomes
from app.errors.filters import described, filters
from app.errors.sheet import Line, sheet
from app.errors.words import outcome_words
from app.navigation import page
from app.session import plain
from audioreason.errors import LabError
from audioreason.review.explorer import Overview
from audioreason.runs.desk import set_pin
from audioreason.wording import counted

_HEIGHT = 655  # px of the list
_MOST_PINS = 500


@st.fragment
def triage(run: Mapping[str, Any], part: str) -> None:
    """Draw the view as the address says; what may have changed is looked up anew, as this may run alone."""
    now = address.here()
    if run["status"] != "finished":
        run = look.run(str(run["run_id"])) or st.rerun()  # deleted: the page says so
    without = notes.shown_without(now, run)
    whole = figures(run, part, without)
    if not whole.groups:
        overview.nothing_here(part)
        return
    left, middle, right = st.columns([0.92, 1.12, 1.72], gap="medium")
    with left:
        filters(now, run, part, whole)
    try:
        found = find(now, run, part, without)
    except LabError as error:
        with middle:
            st.markdown(f"{plain(error.message)} :gray[{plain(error.hint)}]")
            st.button("Clear", key="errors_clear", type="tertiary", on_click=_clear)
        return
    if found.total and not found.rows:  # the list has become shorter than the page in the address
        address.go(page=-(-found.total // PAGE))
        now = address.here()
        found = find(now, run, part, without)
    listed = _listed(now, run, found)
    with middle:
        _head(now, run, part, without, found, whole)
        _list(run, found, listed)
        _foot(now, found)
    with right:
        detail(run, listed)


def _listed(now: Address, run: Mapping[str, Any], found: Found) -> Listed:
    places = tuple((str(row["item_id"]), int(row["sample"])) for row in found.rows)
    first = PAGE * (now.page - 1)
    if st.session_state.pop("errors_enter", "") == "last" and places and not now.item:
        address.go(item=places[-1][0], sample=places[-1][1])
    return Listed(places, first, found.total)


def _head(
    now: Address,
    run: Mapping[str, Any],
    part: str,
    without: frozenset[str],
    found: Found,
    whole: Overview,
) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="errors_list_head"):
        every = sum(outcomes(whole).values())
        words = described(now)
        shown = f"**{found.total:,}** :gray[of {every:,}{' · ' + plain(words) if words else ''}]"
        st.markdown(shown, width="stretch", help=plain(words) if len(words) > 40 else None)
        if now.filtered:
            st.button("Clear", key="errors_clear", type="tertiary", on_click=_clear)
        if now.cell:
            st.page_link(
                page("compare"),
                label=":material/compare_arrows:",
                help="The comparison",
                query_params=beside.comparison(now),
            )
        _pin(now, run, part, without, found)


def _clear() -> None:
    address.go(**address.no_filters())


def _turn(page: int) -> None:
    address.go(page=page, item="", sample=0)


def _pin(now: Address, run: Mapping[str, Any], part: str, without: frozenset[str], found: Found) -> None:
    if not found.total:
        return
    many = found.total > _MOST_PINS
    if st.button(
        f"Pin {found.total:,}",
        key="errors_pin_these",
        type="tertiary",
        disabled=many,
        help=f"At most {_MOST_PINS} at once: narrow the list."
        if many
        else "The playground can show only these.",
    ):
        items = ids_found(now, run, part, without, _MOST_PINS)
        for item_id in items:
            set_pin(session.workspace(), str(run["dataset"]), item_id, True)
        st.toast(f"{counted(len(items), 'item')} pinned. Filter by pins in the playground.")


def _list(run: Mapping[str, Any], found: Found, listed: Listed) -> None:
    if not found.rows:
        st.markdown(":gray[Nothing is left. Take a filter away.]")
        return
    tagged = notes.tags_of(str(run["run_id"]))
    several = int(run["samples"]) > 1
    lines = []
    for row in found.rows:
        place = (str(row["item_id"]), int(row["sample"]))
        choice = row["choice_text"]
        lines.append(
            Line(
                *place,
                question=str(row["question"]),
                given=str(choice) if choice is not None else outcome_words(str(row["outcome"])),
                gold=str(row["answer"] or ""),
                more=_agreement(row["agreement"]) if several else "",
                tone="" if row["strict"] is None else "right" if row["strict"] else "wrong",
                tagged=place in tagged,
            )
        )
    current = listed.current()
    sheet(lines, key="errors_sheet", current=current, more="Agree" if several else "", height=_HEIGHT)


def _agreement(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"


def _foot(now: Address, found: Found) -> None:
    last = -(-found.total // PAGE)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="errors_list_foot"):
        st.session_state["errors_sort"] = now.sort if now.sort in SORTS else next(iter(SORTS))
        st.selectbox(
            "Sort",
            list(SORTS),
            key="errors_sort",
            format_func=lambda name: SORTS[name].words,
            label_visibility="collapsed",
            width=170,
            on_change=lambda: address.go(sort=st.session_state["errors_sort"]),
        )
        st.space("stretch")
        if last > 1:
            first = PAGE * (now.page - 1) + 1
            shown = f"{first:,} to {min(found.total, first + PAGE - 1):,}"
            st.markdown(f":small[:gray[{shown}]]", width="content")
            for key, icon, number, off, words in (
                ("back", "left", now.page - 1, now.page <= 1, "The 50 before"),
                ("on", "right", now.page + 1, now.page >= last, "The next 50"),
            ):
                st.button(
                    "",
                    key=f"errors_page_{key}",
                    type="tertiary",
                    icon=f":material/chevron_{icon}:",
                    disabled=off,
                    help=words,
                    on_click=_turn,
                    args=(number,),
                )
