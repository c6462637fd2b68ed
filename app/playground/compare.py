"""Up to four variants on the same item at once, each asked several times: one sample proves nothing."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import session
from app.playground import answer, cards, editor
from app.playground.picker import Picked, pick, show_gold
from app.playground.variant import Variant
from app.widgets.player import player
from app.widgets.question import question
from audioreason.inference.endpoint import Endpoint
from audioreason.runs.desk import load_draft, save_draft

_SLOTS = ("a", "b", "c", "d")
_START = {"a": "baseline", "b": "structured-reasoning", "c": "expert-analyst", "d": "category-aware"}
_MARKS = ("gray", "blue", "orange", "violet")
_HEIGHT = 300  # px of each trace


def compare() -> None:
    """Draw the view."""
    left, right = st.columns([1.15, 1], gap="medium")
    with right:
        picked = pick()
        if picked is None:
            return
        question(picked.item, key="question", show_gold=not picked.hidden, row=True, details=False)
        show_gold(picked)
    with left:
        player(picked.clip, key="player", cues=answer.cues(picked, None), size="small")
    variants = [Variant(slot) for slot in _SLOTS[: _count()]]
    for variant in variants:
        variant.restore(start=_START[variant.slot])
    ids = {variant.slot: answer.ids_of(f"g{variant.slot}") for variant in variants}
    active = any(not play.finished for group in ids.values() for play in answer.plays(group))
    differences = _controls(variants, picked, ids, active)
    draw = st.fragment(_draw, run_every=answer.POLL if active else None)
    draw(variants, ids, picked, differences, active)


def _draw(
    variants: list[Variant],
    ids: dict[str, tuple[str, ...]],
    picked: Picked,
    differences: bool,
    was_active: bool,
) -> None:
    shown = [
        cards.Card(
            f"compare_{variant.slot}", _heading(variant, place), ids[variant.slot], partial(_edit, variant)
        )
        for place, variant in enumerate(variants)
    ]
    found = cards.draw(shown, picked, height=_HEIGHT, differences=differences)
    if was_active and all(play.finished for plays in found for play in plays):
        st.rerun()


def _heading(variant: Variant, place: int) -> str:
    words = [f"T {variant.value('temperature'):.1f}"]
    if variant.edited():
        words.append("edited")
    if variant.value("endpoint") != "in use":
        words.append(str(variant.value("endpoint")))
    return cards.heading(f":{_MARKS[place]}[■] ", str(variant.value("prompt")), " · ".join(words))


def _controls(variants: list[Variant], picked: Picked, ids: dict[str, tuple[str, ...]], active: bool) -> bool:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(variants)} variants**", width="content")
        if len(variants) < len(_SLOTS) and st.button("Add variant", type="tertiary", icon=":material/add:"):
            _set_count(len(variants) + 1)
        if len(variants) > 2 and st.button("Remove last", type="tertiary", icon=":material/remove:"):
            _set_count(len(variants) - 1)
        view = st.segmented_control(
            "Show",
            ["Differences", "Plain"],
            default="Differences",
            required=True,
            label_visibility="collapsed",
        )
        st.space("stretch")
        repeat = st.number_input(
            "Repeat",
            1,
            16,
            value=_kept("repeat", 4),
            step=1,
            label_visibility="collapsed",
            width=110,
            key="repeat",
        )
        if active:
            if st.button("Stop", icon=":material/stop:", shortcut="Esc"):
                answer.stop([one for group in ids.values() for one in group])
        elif st.button(
            "Run all",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            disabled=not all(isinstance(answer.who(variant), Endpoint) for variant in variants),
        ):
            _keep("repeat", repeat)
            for variant in variants:
                st.query_params[f"g{variant.slot}"] = ".".join(answer.ask(variant, picked, int(repeat)))
            st.rerun()
    return view == "Differences"


def _edit(variant: Variant) -> None:
    with st.popover("Edit", type="tertiary", key=variant.key("edit")):
        editor.choose_prompt(variant, width=440)
        editor.texts(variant, 96, 240)
        editor.sampling(variant, repeated=True)


def _count() -> int:
    return int(_kept("count", 2))


def _set_count(count: int) -> None:
    _keep("count", count)
    st.rerun()


def _kept(name: str, default: int) -> int:
    return int((load_draft(session.workspace(), "compare") or {}).get(name, default))


def _keep(name: str, value: float) -> None:
    kept = load_draft(session.workspace(), "compare") or {}
    save_draft(session.workspace(), "compare", kept | {name: int(value)})
