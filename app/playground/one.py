"""One variant on one item: hear it, edit, run, watch it answer."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import session
from app.playground import answer, editor
from app.playground.picker import Picked, pick, show_gold
from app.playground.variant import Variant
from app.session import plain
from app.widgets.jobs import one_job
from app.widgets.player import player
from app.widgets.question import question
from app.widgets.rows import Column, rows
from app.words import when
from audioreason.inference.endpoint import Endpoint

_HEIGHT = 536  # px of the answer
_EARLIER = (Column("Prompt", "minmax(0, 1.4fr)"), Column("Choice"), Column("When", "76px"))


def one() -> None:
    """Draw the view."""
    left, middle, right = st.columns([1, 1.12, 1.18], gap="medium")
    variant = Variant("one")
    variant.restore(st.query_params.get("prompt"))
    ids = answer.ids_of()
    found = answer.plays(ids)
    active = any(not play.finished for play in found)
    with left:
        picked = pick()
        if picked is None:
            return
        shown = found[0] if found and found[0].item.id == picked.item.id else None
        player(picked.clip, key="player", cues=answer.cues(picked, shown))
        question(picked.item, key="question", show_gold=not picked.hidden)
        show_gold(picked)
        _earlier(picked)
    with middle:
        _controls(variant, picked, ids, active)
        editor.edit(variant, picked)
        if "evaluation" in st.session_state:
            one_job(st.session_state["evaluation"])
    ready = answer.who(variant)
    waiting = ready if isinstance(ready, str) else ""
    with right:
        # what stands below the answer is part of what is polled: Streamlit can lose what follows a fragment
        tools = partial(_again, variant, picked)
        answer.live(ids, picked, height=_HEIGHT, active=active, waiting=waiting, tools=tools)


def _controls(variant: Variant, picked: Picked, ids: tuple[str, ...], active: bool) -> None:
    ready: Endpoint | str = answer.who(variant)
    if problem := editor.problem_of(variant, picked):
        ready = problem.message
    with st.container(horizontal=True, gap="small"):
        editor.choose_prompt(variant)
        editor.save(variant)
        if active:
            if st.button("Stop", key="stop", icon=":material/stop:", shortcut="Esc", width=132):
                answer.stop(ids)
        elif st.button(
            "Run",
            key="run",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            disabled=not isinstance(ready, Endpoint) or bool(picked.clip.problem and picked.item.audio_path),
            help=plain(ready) if isinstance(ready, str) else None,
        ):
            _run(variant, picked, int(variant.value("samples") or 1))
    if isinstance(ready, Endpoint) and not ready.local:
        st.markdown(f":small[:orange[Clips are sent to {plain(ready.host)}, not on this machine.]]")


def _run(variant: Variant, picked: Picked, samples: int, ablation: answer.Ablation = "") -> None:
    started = answer.ask(variant, picked, samples, ablation)
    if started:
        st.session_state.pop("sample_one", None)
        st.query_params["g"] = ".".join(started)
    st.rerun()


def _again(variant: Variant, picked: Picked) -> None:
    with st.container(horizontal=True, gap="small"):
        if st.button("Again × 8", key="again", help="Eight samples of the same: one proves nothing."):
            _run(variant, picked, 8)
        if st.button("With silence", key="silence", help="As long as the clip, with nothing in it."):
            _run(variant, picked, 1, "silence")
        if st.button("Without audio", key="no_audio"):
            _run(variant, picked, 1, "no audio")


def _earlier(picked: Picked) -> None:
    frame = session.catalog().playground(picked.dataset.info.name, picked.item.id, limit=30)
    if frame.empty:
        return
    st.markdown(":small[:gray[Earlier on this item]]")
    ids = [str(one) for one in frame["id"]]
    shown = st.query_params.get("g")
    cells = [
        (
            f"{row.prompt} {str(row.prompt_version)[:4]}",
            str(row.choice_text or str(row.outcome).replace("_", " ")),
            when(str(row.created)),
        )
        for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)
    ]
    clicked = rows(
        _EARLIER,
        cells,
        key="earlier",
        clickable=True,
        current=ids.index(shown) if shown in ids else None,
        height=150,
    )
    if clicked is not None and ids[clicked] != shown:
        st.query_params["g"] = ids[clicked]
        st.rerun()
