"""From one item to many: the prompt on a split, on what is pinned, or on what the filter shows, as a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import session
from app.playground.picker import Picked, filtered
from app.playground.variant import IN_USE, Variant
from app.session import plain
from audioreason.items.splits import load_splits, split_items
from audioreason.jobs.actions import submit
from audioreason.runs.desk import pins
from audioreason.wording import counted


@dataclass(frozen=True)
class _Items:
    """Items that a run may ask about: a split, or single ones of the whole dataset."""

    label: str
    split: str
    count: int
    ids: tuple[str, ...] = ()


def evaluate(variant: Variant, picked: Picked) -> None:
    """The popover that runs the prompt as a job, which goes on without this page."""
    started = st.session_state.get("evaluation", "")  # a new one closes the popover
    with st.popover("Evaluate", key=f"evaluate_{started}", type="tertiary", icon=":material/checklist:"):
        if variant.edited():
            st.markdown(":gray[Save the prompt first: a run names the version it used.]")
            return
        sets = {one.label: one for one in _sets(picked)}
        chosen = sets[st.selectbox("Items", list(sets), key=variant.key("evaluate_split"))]
        limit = st.number_input(
            "Only the first", 1, None, value=None, placeholder="all", key=variant.key("evaluate_limit")
        )
        asked = min(chosen.count, int(limit or chosen.count))
        st.markdown(f":small[:gray[{counted(asked, 'item')} of {plain(picked.dataset.info.name)}, as a job]]")
        if st.button("Start", key=variant.key("evaluate_start"), type="primary"):
            settings = _settings(variant, picked, chosen, None if limit is None else int(limit))
            st.session_state["evaluation"] = submit(session.workspace(), "evaluate", settings)
            st.rerun()


def _sets(picked: Picked) -> list[_Items]:
    data = picked.dataset
    found = [_Items(name, name, len(split_items(data, name))) for name in (*load_splits(data), "full")]
    shown = filtered(data)
    pinned = [item_id for item_id in pins(session.workspace(), data.info.name) if item_id in data]
    if 0 < len(shown) < len(data.items):
        found.append(_Items("what the filter shows", "full", len(shown), tuple(item.id for item in shown)))
    if pinned:
        found.append(_Items("pinned items", "full", len(pinned), tuple(pinned)))
    return found


def _settings(variant: Variant, picked: Picked, chosen: _Items, limit: int | None) -> dict[str, Any]:
    sampling = variant.sampling()
    endpoint = variant.value("endpoint")
    return {
        "dataset": picked.dataset.info.name,
        "prompts": [variant.base().name],
        "endpoints": ["default" if endpoint == IN_USE else endpoint],
        "splits": [chosen.split],
        "items": list(chosen.ids),
        "limit": limit,
        "seeds": [int(variant.value("seed") or 0)],
        "samples": int(variant.value("samples") or 1),
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "no_repeat_ngram_size": sampling.no_repeat_ngram_size,
        "stop": list(sampling.stop or ()),
    }
