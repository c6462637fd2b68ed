"""The header of the page: which run, which view, which half of the items, with or without errata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.errors import address, look, notes
from app.errors.address import VIEWS, Address
from app.errors.words import percent, run_label
from app.session import plain
from app.widgets.rows import Column, rows
from app.widgets.runs import matching, say_newest
from app.words import when

_LISTED = 200  # runs in the picker
_COLUMNS = (
    Column("Run", "minmax(0, 1.5fr)"),
    Column("Dataset", "minmax(0, .8fr)"),
    Column("Strict", "70px", number=True),
    Column("Items", "64px", number=True),
    Column("When", "84px"),
)


def pick_run(now: Address, run: Mapping[str, Any] | None) -> None:
    """Draw the button that opens the list of runs; a click there shows another run."""
    label = f"{run_label(run)} · {run['dataset']} · {when(str(run['created']))}" if run else "Choose a run"
    box = st.popover(plain(label), key="errors_run", on_change="rerun", width="content")
    if not box.open:
        return
    with box, st.container(width=640):
        text = st.text_input(
            "Find a run",
            key="errors_find_run",
            placeholder="Find a run by prompt, dataset, model, tag or id",
            icon=":material/search:",
            label_visibility="collapsed",
        )
        every = matching(look.runs(), text or "")
        found = every[:_LISTED]
        say_newest(_LISTED, len(every))
        cells = [
            (
                run_label(one) + (f" · {one['samples']} samples" if one["samples"] > 1 else ""),
                str(one["dataset"]),
                percent(one["strict"]),
                f"{one['rated']:,}",
                when(str(one["created"])) if one["status"] == "finished" else str(one["status"]),
            )
            for one in found
        ]
        ids = [str(one["run_id"]) for one in found]
        current = ids.index(now.run) if now.run in ids else None
        clicked = rows(_COLUMNS, cells, key="errors_runs", clickable=True, current=current, height=420)
        if clicked is not None and ids[clicked] != now.run:
            address.go(**(address.no_filters() | {"run": ids[clicked], "part": ""}))
            st.rerun()


def pick_view(now: Address) -> None:
    """Draw the switch between the views."""
    st.session_state["errors_view"] = now.view
    st.segmented_control(
        "View",
        list(VIEWS),
        required=True,
        key="errors_view",
        label_visibility="collapsed",
        on_change=lambda: address.go(view=st.session_state["errors_view"]),
    )


def pick_part(now: Address, parts: list[str], part: str) -> None:
    """Draw the choice of the half; there is none where the items are not split."""
    if len(parts) < 2:
        return
    options = [*parts, "all"]
    st.session_state["errors_part"] = part if part in options else "all"
    st.selectbox(
        "Items",
        options,
        key="errors_part",
        format_func=lambda name: "All items" if name == "all" else f"{name.capitalize()} items",
        label_visibility="collapsed",
        width=140,
        on_change=lambda: address.go(part=st.session_state["errors_part"]),
        help=None,
    )


def pick_errata(now: Address, run: Mapping[str, Any]) -> None:
    """Draw the switch that leaves out marked items."""
    marked = len(notes.errata(str(run["dataset"])))
    if not marked and not now.without_errata:
        return
    st.session_state["errors_errata"] = now.without_errata
    st.toggle(
        f"Without errata ({marked})",
        key="errors_errata",
        on_change=lambda: address.go(errata="without" if st.session_state["errors_errata"] else ""),
    )


def ask_to_unseal(run: Mapping[str, Any], part: str) -> bool:
    """Whether the sealed items may be shown; if not, say why and offer the deliberate act."""
    closed = look.closed_items(run, part)
    if not closed:
        return True
    st.markdown(
        f"**The sealed half of {plain(str(run['dataset']))} is closed.** :gray[Whoever reads its failures "
        "tunes on them, and its accuracy no longer tells how a prompt does on questions nobody has read.]"
    )
    with st.container(horizontal=True, gap="small"):
        if st.button("Back to the explore half", key="errors_explore", type="primary"):
            address.go(part="")
            st.rerun()
        if st.button(
            f"Open {len(closed):,} sealed items",
            key="errors_unseal",
            icon=":material/lock_open:",
            help="Recorded in this workspace, item by item.",
        ):
            with st.spinner("Recording …"):
                look.open_items(run, closed)
            st.rerun()
    return False


def trouble(run: Mapping[str, Any]) -> None:
    """What is wrong with the run or its dataset, one sentence each; nothing if all is well."""
    sentences = look.trouble(run)
    if not sentences:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="errors_trouble"):
        st.markdown(f":small[:orange[{plain(' '.join(sentences))}]]", width="content")
        if run["status"] == "running":
            st.button("Read again", key="errors_again_now", type="tertiary", icon=":material/refresh:")


def no_run(wanted: str) -> None:
    """Say that there is no such run, or none at all."""
    if not wanted:
        st.markdown("**Nothing has been run in this workspace yet.** :gray[Evaluate a prompt first.]")
        return
    st.markdown(f"**{plain(look.why_not(wanted))}** :gray[Choose another one above.]")
