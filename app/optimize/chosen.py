"""The right side: one candidate, what was changed about it, and where else it can be taken."""

from __future__ import annotations

import streamlit as st

from app import session
from app.jobs.launch import begin_with
from app.navigation import page
from app.optimize import address, look, words
from app.optimize.address import AGAINST, VIEWS, Address
from app.optimize.items import items
from app.optimize.look import Found
from app.optimize.requests import requests
from app.session import plain
from app.widgets.text import changes, text
from audioreason.errors import LabError
from audioreason.optimize.view import Row
from audioreason.prompts import diff
from audioreason.runs.desk import save_prompt

_TEXT = 470  # px


def chosen(now: Address, found: Found, row: Row) -> None:
    """Draw the candidate."""
    _head(found, row)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        address.segments("View", "view", VIEWS)
        st.space("stretch")
        if now.view in ("Changes", "Items") and row.candidate.source != "seed":
            if now.view == "Items":
                st.markdown(":small[:gray[against the seed]]", width="content")
            else:
                address.segments(
                    "Against",
                    "against",
                    AGAINST,
                    {"parent": "against its parent", "seed": "against the seed"},
                )
    if now.view == "Changes":
        _changes(now, found, row)
    elif now.view == "Text":
        _text(row)
    elif now.view == "Items":
        items(now, found, row)
    else:
        requests(now, found, row)


def _head(found: Found, row: Row) -> None:
    one = row.candidate
    kind = [words.SOURCES[one.source], f"{row.tokens:,} tokens in trials", one.id]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="optimize_head"):
        st.markdown(
            f"**{plain(found.name(one.id))}** :small[:gray[{plain(' · '.join(kind))}]]", width="content"
        )
        st.space("stretch")
        _ways_on(found, row)
    if one.note:
        st.markdown(f":small[:orange[{plain(one.note[:400])}]]")


def _ways_on(found: Found, row: Row) -> None:
    """Playground and evaluation take prompts by name, so what is not saved is saved first."""
    name = look.saved_name(found, row.candidate)
    dataset = found.search.config.dataset
    if name is None:
        words_ = "Keeps this text under a name of its own; then it can be opened and evaluated."
        if st.button("Save as prompt", key="optimize_save", type="tertiary", help=words_):
            _save(found, row)
        return
    if st.button("In the playground", key="optimize_playground", type="tertiary"):
        query = {"prompt": name} | ({"dataset": dataset} if found.data is not None else {})
        st.switch_page(page("playground"), query_params=query)
    if st.button(
        "Evaluate", key="optimize_evaluate", type="tertiary", help="Opens Launch; nothing starts yet."
    ):
        begin_with("evaluate", {"prompts": [name], "dataset": dataset})
        st.switch_page(page("launch"))


def _save(found: Found, row: Row) -> None:
    try:
        prompt = look.prompt_of(found, row.candidate)
        save_prompt(session.workspace(), prompt, f"{found.name(row.candidate.id)} of {found.search.id}")
    except LabError as error:
        st.toast(plain(str(error)))
        return
    st.rerun()


def _changes(now: Address, found: Found, row: Row) -> None:
    one, seed = row.candidate, found.seed
    if seed is None or one.id == seed.id:
        st.markdown(":gray[This is the seed: everything else is compared with it. Its words are under Text.]")
        return
    parent = found.row(one.parent or "")
    other = seed if now.against == "seed" or parent is None else parent.candidate
    if now.against != "seed" and parent is None:
        st.markdown(":small[:gray[Its parent is not recorded, so this is against the seed.]]")
    names = {"name": "before"}, {"name": "after"}
    lines = diff(
        look.prompt_of(found, other).model_copy(update=names[0]),
        look.prompt_of(found, one).model_copy(update=names[1]),
    )
    if not lines:
        st.markdown(f":gray[It reads the same as {plain(found.name(other.id))}.]")
        return
    st.markdown(f":small[:gray[{plain(found.name(other.id))} → {plain(found.name(one.id))}]]")
    changes(lines, key="optimize_changes", height=_TEXT)


def _text(row: Row) -> None:
    one = row.candidate
    st.markdown(":small[:gray[system]]")
    text(one.system or "(nothing is sent)", key="optimize_system", height=268)
    st.markdown(":small[:gray[user]]")
    text(one.user, key="optimize_user", height=168)
