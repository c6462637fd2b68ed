"""The page: the shelf of datasets, and the one that is open with its numbers, problems, uses and items."""

from __future__ import annotations

import streamlit as st

from app import session
from app.data import look
from app.data.browse import browse, browse_free
from app.data.numbers import line, make_up, problems, used_by
from app.jobs.launch import begin_with
from app.navigation import page
from app.session import plain
from app.widgets.header import header
from app.widgets.rows import Column, rows
from audioreason.errors import ItemError
from audioreason.items import Dataset, DatasetSummary

_VIEWS = ("Items", "Make-up", "Problems", "Used by")
_COLUMNS = (
    Column("Dataset", "minmax(0, 1fr)"),
    Column("Kind", "84px"),
    Column("Items", "72px", number=True),
    Column("Clips", "72px", number=True),
)


def draw() -> None:
    """Draw the page."""
    shelf = look.datasets()
    chosen = _chosen(shelf)
    with header():
        _pick_view(chosen)
    left, right = st.columns([0.7, 2], gap="large")
    with left:
        _shelf(shelf, chosen)
    with right:
        if chosen is None:
            st.markdown("**There is no dataset yet.** :gray[Download one, or import a folder of your own.]")
            return
        _open(chosen)


def _chosen(shelf: list[DatasetSummary]) -> DatasetSummary | None:
    wanted = st.query_params.get("dataset", "")
    found = next((row for row in shelf if row.name == wanted), None)
    if wanted and found is None:
        st.toast(f"There is no dataset {plain(wanted[:80])}.", icon=":material/error:")
    return found or next(iter(shelf), None)


def _pick_view(chosen: DatasetSummary | None) -> None:
    now = st.query_params.get("view", _VIEWS[0])
    st.session_state["data_view"] = now if now in _VIEWS else _VIEWS[0]
    st.segmented_control(
        "View",
        list(_VIEWS),
        required=True,
        key="data_view",
        disabled=chosen is not None and chosen.kind == look.FREE,
        label_visibility="collapsed",
        on_change=lambda: st.query_params.update(view=st.session_state["data_view"]),
    )


def _shelf(shelf: list[DatasetSummary], chosen: DatasetSummary | None) -> None:
    cells = [
        (
            row.name,
            "unreadable" if row.problem else row.kind,
            f"{row.items:,}",
            "" if row.kind == look.FREE else f"{row.clips:,}",
        )
        for row in shelf
    ]
    current = shelf.index(chosen) if chosen is not None else None
    clicked = rows(_COLUMNS, cells, key="data_shelf", clickable=True, current=current, height=480)
    if clicked is not None and shelf[clicked] is not chosen:
        for name in ("item", "part", "find", "kind", "value", "page"):
            st.query_params.pop(name, None)
        st.query_params["dataset"] = shelf[clicked].name
        st.rerun()
    with st.container(horizontal=True, gap="small"):
        st.page_link(
            page("launch"), label="Download", icon=":material/download:", query_params={"kind": "download"}
        )
        st.page_link(
            page("launch"),
            label="Generate",
            icon=":material/graphic_eq:",
            query_params={"kind": "soundcheck_generate"},
        )
    st.markdown(
        ":small[:gray[Your own: `audioreason data import folder DIR --name NAME`. Several in one:"
        " `audioreason data combine`.]]"
    )


def _open(chosen: DatasetSummary) -> None:
    try:
        if chosen.problem:
            raise ItemError(chosen.problem)
        if chosen.kind == look.FREE:
            _free(session.free_form(chosen.name))
            return
        if not look.ready(chosen):
            _reading(chosen)
            return
        data = session.dataset(chosen.name)
    except ItemError as error:
        st.markdown(
            f"**{plain(chosen.name)} cannot be read.** {plain(error.message)} :gray[{plain(error.hint)}]"
        )
        return
    title = f" :gray[{plain(data.info.title)}]" if data.info.title else ""
    free = look.free_forms().get(data.info.name, 0)
    more = f" :small[:gray[and {free:,} free-form, without choices]]" if free else ""
    st.markdown(f"**{plain(data.info.name)}**{title}{more}")
    _numbers(data)
    view = st.session_state["data_view"]
    if view == "Items":
        browse(data)
    elif view == "Used by":
        used_by(data)
    else:
        _counted(data, view)


def _free(data: Dataset) -> None:
    """A dataset of free-form questions alone: what its items are, and what makes them ready to be asked."""
    count = len(data.items)
    clips = sum(item.audio_path is not None for item in data.items)
    st.markdown(f"**{plain(data.info.name)}**")
    st.markdown(
        f"**{count:,}** :gray[free-form question{'' if count == 1 else 's'}] &emsp; "
        f"**{clips:,}** :gray[with a clip]\n\n:small[:gray[Each has an answer but no choices, so a model "
        "cannot be scored on them yet. A model that hears can invent wrong answers for them.]]"
    )
    if st.button("Make choices", key="data_choices", icon=":material/arrow_forward:", type="tertiary"):
        begin_with("choices", {"source": data.info.name})
        st.switch_page(page("launch"))
    browse_free(data)


def _reading(chosen: DatasetSummary) -> None:
    """Say that a large dataset is being read, until it is."""
    st.markdown(f"**{plain(chosen.name)}** :gray[Reading {chosen.items:,} items …]")
    st.fragment(_until_read, run_every=0.5)(chosen)


def _until_read(chosen: DatasetSummary) -> None:
    if look.ready(chosen):
        st.rerun()


def _numbers(data: Dataset) -> None:
    check = look.checked(data)
    if check.found is None and not check.problem:
        st.fragment(_waiting, run_every=1.0)(data)
    else:
        _finished(data)


def _waiting(data: Dataset) -> None:
    check = look.checked(data)
    if check.found is not None or check.problem:
        st.rerun()
    _finished(data)
    if st.session_state.get("data_uncounted") and check.texts is not None:
        st.session_state["data_uncounted"] = False
        st.rerun()


def _finished(data: Dataset) -> None:
    check = look.checked(data)
    found = look.numbers(data)
    waits = ""
    if check.problem:
        waits = f" · :orange[the clips could not be checked: {plain(check.problem)}]"
    elif found is None:
        waits = " · :gray[counting what its items are]"
    elif check.found is None:
        place = f", {check.count:,} of {check.total:,}" if check.total else ""
        waits = f" · :gray[checking clips{place}]"
    st.markdown(line(data, found) + waits)


def _counted(data: Dataset, view: str) -> None:
    """A view of the numbers; a large dataset has none while they are counted."""
    found = look.numbers(data)
    st.session_state["data_uncounted"] = found is None
    if found is None:
        st.markdown(f":gray[{len(data.items):,} items are being counted …]")
    elif view == "Make-up":
        make_up(found)
    else:
        problems(data, found)
