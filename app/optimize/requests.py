"""What the proposer was told and what it wrote: each request as a conversation, as plain text."""

from __future__ import annotations

import streamlit as st

from app.optimize import address, words
from app.optimize.address import Address
from app.optimize.look import Found
from app.session import plain
from app.widgets.rows import Column, rows
from app.widgets.trace import Section, trace
from app.words import duration
from audioreason.optimize.record import Proposal
from audioreason.optimize.view import Row

_COLUMNS = (
    Column("No.", "44px", number=True),
    Column("Asks for", "minmax(0, 1.4fr)"),
    Column("Became", "minmax(0, 1fr)"),
    Column("Tokens", "60px", number=True),
    Column("Took", "76px", number=True),
)
_LIST, _TALK = 136, 380  # px


def requests(now: Address, found: Found, row: Row) -> None:
    """Draw the list of requests, those that led to this candidate first, and the one that is open."""
    every = found.search.proposals
    if not every:
        st.markdown(":gray[No request to the proposer is recorded yet.]")
        return
    own = [one for one in every if row.candidate.id in one.candidates]
    shown = own + [one for one in every if one not in own]
    opened = next((one for one in shown if str(one.n) == now.request), shown[0])
    if not own and row.candidate.source != "seed":
        st.markdown(
            ":small[:gray[No request is recorded as the one that led to this candidate; these are all.]]"
        )
    cells = [
        (
            f"{one.n}",
            words.PURPOSES.get(one.purpose) or one.purpose,
            ", ".join(filter(None, map(found.name, one.candidates))) or "nothing usable",
            f"{one.tokens:,}",
            duration(one.seconds),
        )
        for one in shown
    ]
    clicked = rows(
        _COLUMNS, cells, key="optimize_requests", clickable=True, current=shown.index(opened), height=_LIST
    )
    if clicked is not None and shown[clicked] is not opened:
        address.go(request=str(shown[clicked].n))
        st.rerun()
    _talk(opened)


def _talk(one: Proposal) -> None:
    st.markdown(f":small[:gray[Request {one.n} to {plain(one.model or 'the proposer')} · text only]]")
    said = [
        Section(str(message.get("role", "")), [{"text": str(message.get("content", ""))}], "quiet")
        for message in one.messages
    ]
    trace(
        [*said, Section("reply", [{"text": one.reply}])],
        key="optimize_talk",
        height=_TALK,
        stacked=True,
        boxed=True,
        empty="Nothing was written down.",
    )
