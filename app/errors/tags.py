"""Tags: which were given where, the list of tags itself, and all of it as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.errors import address, figures, notes
from app.errors.grid import Row, grid
from app.session import plain
from app.widgets.rows import Column, rows
from audioreason.errors import LabError
from audioreason.wording import counted

_FILES = {"csv": "CSV", "jsonl": "JSONL", "md": "Markdown"}
_TAGS = (
    Column("Key", "44px"),
    Column("Tag"),
    Column("Given", "70px", number=True),
)
_ERRATA = (Column("Item"), Column("Marked", "100px"), Column("Note"))


def tags(run: Mapping[str, Any], part: str, without: frozenset[str]) -> None:
    """Draw the view. A cell leads to its predictions in Triage."""
    left, right = st.columns([1.9, 1], gap="large")
    with left:
        _table(run, part, without)
    with right:
        _list()
        _errata(run)
        _export()


def _table(run: Mapping[str, Any], part: str, without: frozenset[str]) -> None:
    table = figures.tag_table(run, part, without)
    if not table.tagged:
        st.markdown(
            "**No prediction here has a tag.** :gray[In Triage, keys 1 to 9 give them; "
            "what was tagged is counted here by subcategory.]"
        )
        return
    st.markdown(
        f"**{counted(table.tagged, 'tagged prediction')}** :gray[by subcategory; a cell leads to them]"
    )
    picked = grid(
        [
            Row(name, sum(counts), counts=counts, of=max(1, sum(counts)))
            for name, counts in zip(table.groups, table.counts, strict=True)
        ],
        key="errors_tag_table",
        columns=table.tags,
        dots=False,
        unit="tag",
    )
    if picked is not None:
        wanted: dict[str, Any] = {"view": "Triage", "sub": (table.groups[picked.row],)}
        wanted["tag"] = figures.ANY_TAG if picked.column is None else table.tags[picked.column]
        address.go(**(address.no_filters() | wanted))
        st.rerun()


def _list() -> None:
    known = notes.all_tags()
    cells = [(str(tag.key or ""), tag.name, f"{tag.count:,}") for tag in known]
    clicked = rows(_TAGS, cells, key="errors_tags", clickable=True, height=300)
    if clicked is not None:
        address.go(**(address.no_filters() | {"view": "Triage", "tag": known[clicked].name}))
        st.rerun()
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        with st.form("errors_add_tag", border=False, clear_on_submit=True):
            inner = st.container(horizontal=True, gap="small", vertical_alignment="bottom")
            name = inner.text_input(
                "New tag", placeholder="New tag", label_visibility="collapsed", max_chars=60
            )
            added = inner.form_submit_button("Add")
        with st.popover("Remove", type="tertiary"):
            st.markdown(":small[:gray[It is taken from every prediction that has it.]]")
            for tag in known:
                if st.button(f"{plain(tag.name)} {tag.count}", key=f"errors_remove_{tag.name}"):
                    _do(lambda name=tag.name: notes.book().remove_tag(name))
    if added and (name or "").strip():
        _do(lambda: notes.book().add_tag(name.strip()))


def _do(change: Any) -> None:
    try:
        change()
    except LabError as error:
        st.toast(plain(str(error)))
        return
    st.rerun()


def _errata(run: Mapping[str, Any]) -> None:
    marked = list(notes.errata(str(run["dataset"])).values())
    if not marked:
        return
    st.markdown(f"**{counted(len(marked), 'erratum', 'errata')}** :gray[in {plain(str(run['dataset']))}]")
    cells = [(one.item_id, one.kind, one.note) for one in marked]
    clicked = rows(_ERRATA, cells, key="errors_errata_list", clickable=True, height=180)
    if clicked is not None:
        wanted = {"view": "Triage", "item": marked[clicked].item_id}
        address.go(**(address.no_filters() | wanted))
        st.rerun()


def _export() -> None:
    st.markdown(":small[:gray[Tags, notes and errata of this workspace as a file]]")
    with st.container(horizontal=True, gap="small"):
        for name, label in _FILES.items():
            st.download_button(
                label,
                lambda name=name: notes.book().export(name),
                file_name=f"annotations.{name}",
                key=f"errors_export_{name}",
                on_click="ignore",
            )
