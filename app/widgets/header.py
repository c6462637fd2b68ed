"""The row under the navigation: a page's own controls on the left, the state of the machine on the right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import theme
from app.machine import MachineState, machine
from app.session import plain, workspace
from audioreason.inference.endpoint import Endpoint


@contextmanager
def header() -> Iterator[None]:
    """Draw the row; what is drawn inside the block comes first, from the left."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="header"):
        yield
        st.space("stretch")
        theme.watch()
        with st.container(width="content"):
            _machine()


@st.fragment(run_every=2.0)
def _machine() -> None:
    state = machine().look()
    colour, words = light(state)
    ready = state.endpoint is not None and isinstance(machine().ready(state.endpoint), Endpoint)
    if st.session_state.setdefault("machine_ready", ready) != ready:
        st.session_state["machine_ready"] = ready
        st.rerun()  # whoever waits for a model on this page can be told now
    problem = state.sentence if state.endpoint is None else (state.status.error if state.status else None)
    st.markdown(
        f":small[:{colour}[●] :gray[{words}{_jobs(state.jobs)} · {plain(workspace().root.name)}]]",
        width="content",
        help=plain(problem) if problem and colour == "red" else None,
    )


def _jobs(count: int) -> str:
    return "" if not count else " · 1 job" if count == 1 else f" · {count} jobs"


def light(state: MachineState) -> tuple[str, str]:
    """Colour and words of the light, as Markdown."""
    if state.endpoint is None:
        if state.engine == "starting":
            return "orange", "starting the embedded model …"
        return "red", "no model"
    name = plain(state.endpoint.model or state.endpoint.name)
    if state.status is None:
        return "orange", f"{name} · asking …"
    if not state.status.ok:
        return "red", f"{name} does not answer"
    words = [name]
    if not state.endpoint.model and state.status.models:
        words = [plain(state.status.models[0])]
    if state.status.seconds is not None:
        words.append(f"{state.status.seconds * 1000:.0f} ms")
    load = state.status.load
    if load and load.waiting:
        words.append(f"{load.waiting} queued")
    elif load and load.running:
        words.append(f"{load.running} running")
    if not state.endpoint.local:
        words.append(f"at {plain(state.endpoint.host)}")
    return "green", " · ".join(words)
