"""The page: its header, what would lead to a wrong conclusion, and the view that was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.jobs.launch import begin_with
from app.navigation import page
from app.rest import address, look
from app.rest.address import VIEWS, Address
from app.rest.candidates import candidates
from app.rest.forgetting import forgetting
from app.rest.going import how_to_go_on, stop_and_job, unfinished
from app.rest.look import Experiment, Round
from app.rest.rounds import rounds
from app.rest.training import training
from app.rest.words import merged, shorter
from app.rest.zones import zones
from app.session import plain
from app.widgets.header import header
from app.widgets.rows import Column, rows
from app.words import when
from audioreason.errors import LabError
from audioreason.jobs.kinds import list_kinds
from audioreason.wording import counted

_COLUMNS = (
    Column("Experiment", "minmax(0, 1.4fr)"),
    Column("Dataset", "minmax(0, .8fr)"),
    Column("Rounds", "64px", number=True),
    Column("State", "96px"),
    Column("When", "84px"),
)


def draw() -> None:
    """Draw the page."""
    now = address.here()
    known = look.experiments()
    if not now.rest and known:
        address.go(rest=known[0].id)
        now = address.here()
    found, problem = _experiment(now.rest)
    shown = _round(now, found) if found else None
    with header():
        if known:
            _pick(now)
        if found is not None and shown is not None:
            _pick_view(now)
            _pick_round(found, shown)
            _next(found)
            if now.view != VIEWS[0]:
                _remind(found)
        elif not known:
            st.markdown("**Self-training** :gray[in rounds]", width="content")
    if not known and not now.rest:
        _empty()
        return
    if found is None:
        short = problem.replace(now.rest, shorter(now.rest))
        st.markdown(f"**{plain(short)}** :gray[Choose another experiment above.]")
        return
    _live(found)
    if shown is None:
        st.markdown("**No round has begun yet.** :gray[The base is evaluated first.]")
        return
    try:
        if now.view == VIEWS[0]:
            _say(look.warnings(found))
        _VIEWS[now.view](now, found, shown)
    except LabError as error:
        st.markdown(f":red[{plain(str(error))}]")


def _rounds(now: Address, found: Experiment, shown: Round) -> None:
    rounds(found, shown)


def _forgetting(now: Address, found: Experiment, shown: Round) -> None:
    forgetting(found, shown)


def _zones(now: Address, found: Experiment, shown: Round) -> None:
    zones(found, shown)


def _candidates(now: Address, found: Experiment, shown: Round) -> None:
    candidates(now, found, shown)


def _training(now: Address, found: Experiment, shown: Round) -> None:
    training(found, shown)


_VIEWS: dict[str, Callable[[Address, Experiment, Round], None]] = {
    "Rounds": _rounds,
    "Forgetting": _forgetting,
    "Zones": _zones,
    "Candidates": _candidates,
    "Training": _training,
}


def _experiment(experiment_id: str) -> tuple[Experiment | None, str]:
    if not experiment_id:
        return None, ""
    try:
        return look.experiment(experiment_id), ""
    except LabError as error:
        return None, str(error)


def _round(now: Address, found: Experiment) -> Round | None:
    """The round in the address; else the newest that has candidates, else the newest."""
    named = next((one for one in found.rounds if str(one.number) == now.round), None)
    if named is not None:
        return named
    having = [one for one in found.rounds if all(look.stamp(found, one))]
    known = having or found.rounds
    return known[-1] if known else None


def _pick(now: Address) -> None:
    """The button that opens the list of experiments."""
    known = look.experiments()
    box = st.popover(
        plain(shorter(now.rest)) or "Choose an experiment",
        key="rest_pick",
        on_change="rerun",
        width="content",
    )
    if not box.open:
        return
    with box, st.container(width=620):
        ids = [one.id for one in known]
        cells = [(one.id, one.dataset, one.rounds, one.state, when(one.created)) for one in known]
        current = ids.index(now.rest) if now.rest in ids else None
        clicked = rows(_COLUMNS, cells, key="rest_experiments", clickable=True, current=current, height=420)
        if clicked is not None and ids[clicked] != now.rest:
            address.go(**(address.no_filters() | {"rest": ids[clicked], "round": ""}))
            st.rerun()


def _pick_view(now: Address) -> None:
    st.session_state["rest_view"] = now.view
    st.segmented_control(
        "View",
        list(VIEWS),
        required=True,
        key="rest_view",
        label_visibility="collapsed",
        on_change=lambda: address.go(view=st.session_state["rest_view"]),
    )


def _pick_round(found: Experiment, shown: Round) -> None:
    names = {one.number: one.name for one in found.rounds}
    st.session_state["rest_round"] = shown.number
    st.segmented_control(
        "Round",
        list(names),
        required=True,
        key="rest_round",
        format_func=names.__getitem__,
        label_visibility="collapsed",
        on_change=lambda: address.go(round=str(st.session_state["rest_round"])),
    )


def _next(found: Experiment) -> None:
    """Open Launch with the settings of this experiment, to be changed."""
    if "rest" not in {kind.name for kind in list_kinds()}:
        return
    words = "Opens Launch with these settings; nothing starts before you press Start there."
    if st.button(
        "Launch the next, edited", key="rest_next", type="tertiary", icon=":material/tune:", help=words
    ):
        begin_with("rest", dict(found.settings))
        st.switch_page(page("launch"))


def _empty() -> None:
    """What ReST is, and how to begin."""
    st.markdown(
        "**No self-training experiment yet.** :gray[ReST lets a model answer each problem many times, keeps "
        "right, well-formed answers to problems that it solves only sometimes, and trains on them. Then it "
        "measures what was learned and what was forgotten, and begins the next round.]"
    )
    if st.button("Set up the first one", key="rest_first", type="primary", icon=":material/arrow_forward:"):
        st.switch_page(page("launch"), query_params={"kind": "rest", "preset": "paper"})
    _wait_for_the_first()


@st.fragment(run_every=5)
def _wait_for_the_first() -> None:
    """Nothing to see; the page runs again when there is an experiment."""
    if look.experiments():
        st.rerun()


def _live(found: Experiment) -> None:
    """What goes on now; an experiment that rests is looked at less often, for it may be resumed."""
    experiment_id, seen = found.id, look.moving(found)
    if found.running:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _watch(experiment_id, seen)
            stop_and_job(found)
    else:
        _wait_to_go_on(experiment_id, seen)
        if unfinished(found):
            how_to_go_on(found)


@st.fragment(run_every=5)
def _wait_to_go_on(experiment_id: str, seen: Any) -> None:
    """Nothing to see; the page runs again when the experiment goes on."""
    try:
        found = look.experiment(experiment_id)
    except LabError:
        return
    if found.running or look.moving(found) != seen:
        st.rerun()


@st.fragment(run_every=2)
def _watch(experiment_id: str, seen: Any) -> None:
    """One line, always; the page runs again when a phase has ended."""
    try:
        found = look.experiment(experiment_id)
    except LabError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    words = plain(look.progress(found) or "Nothing runs any more.")
    st.markdown(f":small[:blue[●] {words}]", width="content")
    if look.moving(found) != seen:
        st.rerun()


def _say(said: list[str]) -> None:
    """Warnings, in words."""
    if said:
        with st.container(border=True, gap="xsmall", key="rest_warnings"):
            said = merged(said)
            head = f":orange[**{counted(len(said), 'thing')} to know before concluding**]"
            st.markdown("  \n".join([head, *(f":small[{plain(sentence)}]" for sentence in said)]))


def _remind(found: Experiment) -> None:
    """The same warnings, folded away, where the view is of something else."""
    try:
        said = look.warnings(found)
    except LabError as error:
        said = [str(error)]
    if said := merged(said):
        box = st.popover(f":orange[{counted(len(said), 'warning')}]", key="rest_reminder", type="tertiary")
        with box, st.container(width=520):
            st.markdown("\n\n".join(plain(sentence) for sentence in said))
