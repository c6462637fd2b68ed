"""One candidate: its clip, its question, what was reasoned, and why it was kept or not."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import session
from app.errors import look as error_look
from app.errors.look import Opened
from app.errors.reading import cues, sections
from app.navigation import page
from app.rest.look import Round, Tables
from app.rest.words import zone_words
from app.session import plain
from app.widgets.player import player
from app.widgets.question import question
from app.widgets.trace import trace
from app.words import tokens
from audioreason.errors import RunError
from audioreason.runs import load_record

_TRACE = 372  # px


def candidate(shown: Round, tables: Tables, item_id: str, sample: int) -> None:
    """Draw it, or what stands against it."""
    row = tables.candidate(item_id, sample)
    if row is None:
        st.markdown(f":gray[{plain(shown.name)} has no candidate {sample + 1} of {plain(item_id[:120])}.]")
        return
    try:
        opened = _opened(str(shown.generate), item_id, sample)
    except RunError as error:
        _verdict(row, estimated=False)
        st.markdown(f":red[{plain(str(error))}]")
        return
    _verdict(row, opened.detail.prediction.tokens_estimated)
    item, clip = opened.item, opened.clip
    if clip.url is None:
        st.markdown(f":small[:gray[{plain(clip.problem)}]]")
    else:
        player(clip, key="rest_player", cues=cues(opened), size="medium")
    question(item, key="rest_question", given=opened.detail.scored.choice, row=True, details=False)
    trace(
        sections(opened),
        key="rest_trace",
        clip=clip.id,
        height=_TRACE,
        empty="Nothing came back.",
    )
    _foot(opened, row, str(shown.generate))


def _opened(run_id: str, item_id: str, sample: int) -> Opened:
    """The prediction with its item and clip.

    Raises:
        RunError: if the run is gone, or has no such prediction.
    """
    detail = session.catalog().one_prediction(run_id, item_id, sample)
    record = load_record(session.workspace(), run_id)
    data = error_look.dataset(record.dataset.name)
    return Opened(detail, record, data, error_look.clip_of(data, detail.item))


def _verdict(row: dict[str, Any], estimated: bool) -> None:
    """Kept or rejected, in one line, with what it was ranked and weighed; tokens may be `estimated`."""
    with st.container(border=True, gap="xsmall", key="rest_verdict"):
        if row["kept"]:
            rank = f", rank {int(row['rank'])} of its problem" if row.get("rank") else ""
            words = f"**Kept**{rank}, weight {float(row['weight']):g}"
        else:
            words = f"**Rejected**: {plain(str(row['reason']) or 'no reason was written down')}"
        kind = [
            f"{row['k_right']} of {row['n']} right",
            f"zone {zone_words(str(row['zone']))}",
            str(row["subcategory"]),
        ]
        if row.get("tokens") is not None:
            kind.append(tokens(int(row["tokens"]), estimated))
        st.markdown(f"{words} &emsp; :gray[{plain(' · '.join(kind))}]")


def _foot(opened: Opened, row: dict[str, Any], run_id: str) -> None:
    item_id, sample = opened.item.id, opened.detail.prediction.sample
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        words = f"{item_id[:80]} · sample {sample + 1}"
        st.markdown(f":small[:gray[{plain(words)}]]", width="content")
        st.space("stretch")
        if opened.data is not None and st.button("In the playground", key="rest_playground", type="tertiary"):
            query = {"dataset": opened.record.dataset.name, "item": item_id}
            st.switch_page(page("playground"), query_params=query)
        if st.button("In the error explorer", key="rest_errors", type="tertiary"):
            query = {"run": run_id, "view": "Triage", "item": item_id, "sample": str(sample)}
            st.switch_page(page("errors"), query_params=query)
