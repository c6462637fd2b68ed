"""The candidates of a round: filters, the list of what was kept and what was not, and one of them."""

from __future__ import annotations

import functools

import streamlit as st

from app.rest import address, look
from app.rest.address import PAGE, Address
from app.rest.candidate import candidate
from app.rest.look import Experiment, Round, Tables
from app.rest.words import shorter, without_zone, zone_words
from app.session import plain
from app.widgets.rows import Column, Tone, rows
from audioreason.rest import view
from audioreason.rest.view import Found, Wanted
from audioreason.wording import counted

_COLUMNS = (
    Column("Problem", "minmax(0, .85fr)"),
    Column("Nr", "38px", number=True),
    Column("Zone", "112px"),
    Column("Right", "72px", number=True),
    Column("Answer", "80px"),
    Column("Kept, or why not", "minmax(150px, 1fr)"),
)
_HEIGHT = 666  # px of the list


def candidates(now: Address, found: Experiment, shown: Round) -> None:
    """Draw the view."""
    tables = look.tables(found, shown)
    if tables is None:
        st.markdown(f"**{plain(shown.name)} has no candidates yet.** :gray[{plain(look.why_none(shown))}]")
        return
    page = _page(now, found, shown)
    if page.total and not page.rows:  # the list has become shorter than the page in the address
        address.go(page=-(-page.total // PAGE))
        st.rerun()
    left, right = st.columns([1.08, 1.3], gap="medium")
    with left:
        _filters(now, found, tables)
        _list(now, page, found)
        _foot(now, page)
    with right:
        place = _open(now, page)
        if place is None:
            st.markdown(":gray[No candidate is left by these filters.]")
        else:
            candidate(shown, tables, *place)


def _open(now: Address, page: Found) -> tuple[str, int] | None:
    """What is open: what the address names, else the first of the page."""
    if now.item:
        return now.item, now.sample
    return (str(page.rows[0]["item_id"]), int(page.rows[0]["sample"])) if page.rows else None


def _page(now: Address, found: Experiment, shown: Round) -> Found:
    wanted = Wanted(now.zone, now.reason, now.sub, {"kept": True, "rejected": False}.get(now.kept))
    return _found(found.id, shown.number, wanted, PAGE * (now.page - 1), look.stamp(found, shown))


@functools.lru_cache(maxsize=64)
def _found(experiment: str, number: int, wanted: Wanted, offset: int, stamp: object) -> Found:
    tables = look.read_tables(experiment, number, stamp)
    return view.find(tables.candidates, tables.problems, wanted, PAGE, offset)


def _filters(now: Address, found: Experiment, tables: Tables) -> None:
    zones = {zone: zone_words(zone) for zone in found.zones}
    reasons = {name: f"{name} ({number:,})" for name, number in tables.reasons.items()}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.session_state["rest_kept"] = now.kept or "all"
        kept, total = tables.figures.kept, tables.figures.candidates
        words = {"all": f"All {total:,}", "kept": f"Kept {kept:,}", "rejected": f"Rejected {total - kept:,}"}
        st.segmented_control(
            "Kept",
            list(words),
            key="rest_kept",
            required=True,
            format_func=words.__getitem__,
            label_visibility="collapsed",
            on_change=_kept,
        )
        # the label stays as it is: another one would shut the box at every choice
        box = st.popover("Narrow", key="rest_narrow", on_change="rerun", width="content")
        st.markdown(f":small[:gray[{plain(narrowed(now))}]]", width="content")
        st.space("stretch")
        if st.button("Clear", key="rest_clear", type="tertiary", disabled=not now.filtered):
            address.go(**address.no_filters())
            st.rerun()
    if not box.open:  # three lists to choose from would cost every opening of the page a third of a second
        return
    subcategories = {name: name for name in tables.subcategories}
    with box, st.container(width=420):
        _several("zone", "Any zone", zones, now.zone)
        _several("reason", "Any reason", reasons, now.reason)
        _several("sub", "Any subcategory", subcategories, now.sub)


def narrowed(now: Address) -> str:
    """What the list is narrowed to, on one short line."""
    chosen = [*(zone_words(zone) for zone in now.zone), *now.reason, *now.sub]
    return shorter(", ".join(chosen), 26) if chosen else "any zone and reason"


def _kept() -> None:
    chosen = st.session_state["rest_kept"]
    address.go(kept="" if chosen == "all" else chosen)


def _several(name: str, label: str, options: dict[str, str], chosen: tuple[str, ...]) -> None:
    key = f"rest_{name}"
    st.session_state[key] = [one for one in chosen if one in options]
    st.multiselect(
        label,
        list(options),
        key=key,
        format_func=options.__getitem__,
        placeholder=label,
        label_visibility="collapsed",
        on_change=lambda: address.go(**{name: tuple(st.session_state[key])}),
    )


def _list(now: Address, page: Found, found: Experiment) -> None:
    cells: list[tuple[str, ...]] = []
    tones: list[tuple[Tone, ...]] = []
    for row in page.rows:
        answer = "no answer" if row["strict"] is None else "right" if row["strict"] else "wrong"
        tone: Tone = "" if row["strict"] is None else "right" if row["strict"] else "wrong"
        verdict = kept_words(row) if row["kept"] else without_zone(str(row["reason"]), str(row["zone"]))
        cells.append(
            (
                str(row["item_id"]),
                f"{row['sample'] + 1}",
                zone_words(str(row["zone"])),
                f"{row['k_right']} of {row['n']}",
                answer,
                verdict,
            )
        )
        tones.append(("", "", "", "", tone, ""))
    places = [(str(row["item_id"]), int(row["sample"])) for row in page.rows]
    here = _open(now, page)
    clicked = rows(
        _COLUMNS,
        cells,
        key="rest_list",
        clickable=True,
        current=places.index(here) if here in places else None,
        height=_HEIGHT,
        tones=tones,
    )
    if clicked is not None:
        item, sample = places[clicked]
        address.go(item=item, sample=sample)
        st.rerun()


def kept_words(row: dict[str, object]) -> str:
    """Such as kept, first of its problem, weight 1.5."""
    weight, rank = row.get("weight"), row.get("rank")
    words = ["kept"]
    if isinstance(rank, int | float) and rank > 0:
        words.append(f"rank {int(rank)}")
    if isinstance(weight, int | float):
        words.append(f"weight {weight:g}")
    return " · ".join(words)


def _foot(now: Address, page: Found) -> None:
    """Where the page is in the list, and the ways on."""
    first = PAGE * (now.page - 1)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        words = f"{first + 1:,} to {first + len(page.rows):,} of {counted(page.total, 'candidate')}"
        st.markdown(f":small[:gray[{words if page.rows else 'No candidates'}]]", width="content")
        st.space("stretch")
        if st.button("Previous 50", key="rest_before", type="tertiary", disabled=now.page < 2):
            address.go(page=now.page - 1, item="", sample=0)
            st.rerun()
        last = first + len(page.rows) >= page.total
        if st.button("Next 50", key="rest_after", type="tertiary", disabled=last):
            address.go(page=now.page + 1, item="", sample=0)
            st.rerun()
