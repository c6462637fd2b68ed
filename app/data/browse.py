"""The items of a dataset: search and filter, a page of fifty, one to read and hear."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.data import look
from app.navigation import page
from app.session import clip_view, plain
from app.widgets.player import Cue, player
from app.widgets.question import question
from app.widgets.rows import Column, rows
from audioreason.items import Dataset, Item
from audioreason.items.splits import split_names

_PAGE = 50
_COLUMNS = (
    Column("", "44px", number=True),
    Column("Question", "minmax(0, 1.5fr)"),
    Column("Gold", "minmax(0, .6fr)"),
    Column("Subcategory", "minmax(0, .8fr)"),
)


def browse(data: Dataset) -> None:
    """Draw the view; filters and the open item are in the address."""
    asked = st.query_params
    kind, value = asked.get("kind", ""), asked.get("value", "")
    chosen = (kind, value) if kind else None
    part = asked.get("part", "")
    hidden = look.closed(data)
    _filters(data, chosen, part)
    found = look.matching(data, asked.get("find", ""), part, chosen)
    left, right = st.columns([1.08, 1], gap="medium")
    with left:
        _list(found, len(hidden), "Gold")
    with right:
        item = _opened(data, found)
        if item is None:
            return
        _details(item)
        if st.button("Ask the model", key="data_ask", icon=":material/arrow_forward:", type="tertiary"):
            st.switch_page(page("playground"), query_params={"dataset": data.info.name, "item": item.id})


def browse_free(data: Dataset) -> None:
    """Draw free-form questions: there is nothing to filter by but words, and nobody to ask."""
    _find("Find in questions, answers and ids")
    found = look.free_matching(data, st.query_params.get("find", ""))
    left, right = st.columns([1.08, 1], gap="medium")
    with left:
        _list(found, 0, "Answer")
    with right:
        item = _opened(data, found)
        if item is not None:
            _details(item)
            st.markdown(f":small[:gray[Answer]] **{plain(item.answer.strip())}**")


def _filters(data: Dataset, chosen: tuple[str, str] | None, part: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _find("Find in questions, choices and ids")
        names = ["", *split_names(data.info.kind)]
        st.session_state["data_part"] = part if part in names else ""
        st.selectbox(
            "Split",
            names,
            key="data_part",
            format_func=lambda name: f"{name.capitalize()} items" if name else "All splits",
            label_visibility="collapsed",
            width=150,
            on_change=lambda: _keep("part", st.session_state["data_part"]),
        )
        if chosen is not None and st.button(
            f"{chosen[0]}: {plain(chosen[1])}",
            key="data_clear",
            icon=":material/close:",
            help="Show all again",
        ):
            for name in ("kind", "value", "page"):
                st.query_params.pop(name, None)
            st.rerun()


def _find(placeholder: str) -> None:
    st.session_state["data_find"] = st.query_params.get("find", "")
    st.text_input(
        "Find",
        key="data_find",
        placeholder=placeholder,
        icon=":material/search:",
        label_visibility="collapsed",
        on_change=_search,
    )


def _search() -> None:
    _keep("find", st.session_state["data_find"])


def _keep(name: str, value: str) -> None:
    if value == st.query_params.get(name, ""):
        return  # a widget first drawn by an interrupted run reports itself as changed
    st.query_params.pop("page", None)
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def _list(found: list[Item], hidden: int, answer: str) -> None:
    pages = max(1, -(-len(found) // _PAGE))
    wanted = st.query_params.get("page", "1")
    number = min(max(int(wanted) if wanted.isdigit() else 1, 1), pages)
    first = _PAGE * (number - 1)
    shown = found[first : first + _PAGE]
    if not shown:
        st.markdown("**No item matches.** :gray[Look for fewer words, or clear the filter.]")
        return
    cells = [
        (str(first + n), " ".join(item.question[:300].split()), item.answer.strip(), item.subcategory or "")
        for n, item in enumerate(shown, 1)
    ]
    ids = [item.id for item in shown]
    now = st.query_params.get("item", ids[0])
    current = ids.index(now) if now in ids else None
    columns = [replace(column, name=answer) if column.name == "Gold" else column for column in _COLUMNS]
    clicked = rows(columns, cells, key="data_items", clickable=True, current=current, height=500)
    if clicked is not None and ids[clicked] != now:
        st.query_params["item"] = ids[clicked]
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        sealed = f" · {hidden:,} sealed items are not shown" if hidden else ""
        st.markdown(
            f":small[:gray[{first + 1:,} to {first + len(shown):,} of {len(found):,}{sealed}]]",
            width="stretch",
        )
        for label, to, able in (("Earlier", number - 1, number > 1), ("Later", number + 1, number < pages)):
            if st.button(label, key=f"data_{label}", type="tertiary", disabled=not able):
                st.query_params["page"] = str(to)
                st.query_params.pop("item", None)
                st.rerun()


def _opened(data: Dataset, found: list[Item]) -> Item | None:
    """Draw the item that is open, to be read and heard."""
    wanted = st.query_params.get("item", "")
    item = data[wanted] if wanted in data and wanted not in look.closed(data) else next(iter(found), None)
    if item is None:
        return None
    cues = [Cue(event.start, event.end, event.label) for event in item.events]
    player(clip_view(data, item), key="data_player", cues=cues, size="medium")
    question(item, key="data_question")
    return item


def _details(item: Item) -> None:
    details = [item.id, item.source, item.url, item.timestamp]
    st.markdown(f":small[:gray[{' · '.join(plain(text) for text in details if text)}]]")
