"""The process score of a run: by a judge, with how far to believe it, and the way to have it rated."""

from __future__ import annotations

import math
from typing import Literal

import streamlit as st

from app import session
from app.challenge import look
from app.challenge.look import Run
from app.errors.words import percent
from app.jobs import look as job_look
from app.jobs.launch import begin_with
from app.jobs.shown import progress_line
from app.navigation import page
from app.session import plain
from app.widgets.rows import Column, rows
from audioreason.challenge import ProcessScore
from audioreason.errors import LabError
from audioreason.jobs.actions import plan, submit
from audioreason.wording import counted

_FEW = 30  # answers rated by hand that say much
_COLUMNS = (
    Column("Subcategory", "minmax(0, 1fr)"),
    Column("Items", "70px", number=True),
    Column("Process score", "110px", number=True),
)


def score(run: Run, judge: str) -> None:
    """Draw the score, or what it is and how to get it."""
    if judge:
        _scored(run, judge)
    _rate(run, judge)
    if judge:
        _by_subcategory(run, judge)


def _scored(run: Run, judge: str) -> None:
    st.markdown(f"**Process score** :gray[as {plain(judge)} rates the reasoning]")
    try:
        found = look.score(run, judge)
    except LabError as error:
        st.markdown(f":gray[{plain(str(error))}]")
        return
    low, high = (100 * bound for bound in found.interval)
    st.markdown(
        f"**{percent(found.score)}** :gray[95% interval {low:.1f} to {high:.1f}, the middle three of the "
        f"ratings of each answer] &emsp; **{percent(found.by_round)}** :gray[the leaderboard's way, the "
        "middle three of five rounds]"
    )
    st.markdown(
        f"**{percent(found.of_right)}** :gray[of what the {counted(found.rated, 'rated right answer')} could "
        f"get; {found.right:,} of {counted(found.items, 'item')} are right, a wrong answer counts 0]"
    )
    _agreement(found)
    _by_hand(run, judge)


def _by_subcategory(run: Run, judge: str) -> None:
    try:
        found = look.score(run, judge)
    except LabError:
        return  # said above
    table = sorted(found.by_subcategory.items(), key=lambda pair: pair[1][1])
    rows(
        _COLUMNS,
        [(name, f"{number:,}", percent(value)) for name, (number, value) in table],
        key="challenge_subcategories",
        height=476,
    )


def _agreement(found: ProcessScore) -> None:
    """How far the five rounds agree; nothing is said of it where it cannot be had."""
    spread = f"an answer's ratings lie {found.spread:.2f} apart (standard deviation)"
    if math.isnan(found.agreement):
        words = f"The judge gave every point the same, so its agreement with itself tells nothing; {spread}."
    else:
        words = (
            f"The judge agrees with itself over five rounds: Krippendorff's alpha {found.agreement:.2f} a "
            f"point; {spread}."
        )
        if found.agreement < 0.667:
            words += " Below 0.67 the ratings are too much by chance to conclude from."
    st.markdown(f":small[:gray[{plain(words)}]]")


def _by_hand(run: Run, judge: str) -> None:
    """The judge against people."""
    try:
        beside = look.calibration(run, judge)
    except LabError as error:
        st.markdown(f":small[:orange[{plain(error.message)}] :gray[The view By hand is the place to do it.]]")
        return
    low, high = (100 * bound for bound in beside.interval)
    kappa = "not to be had" if math.isnan(beside.kappa) else f"{beside.kappa:.2f} a point"
    more = "" if beside.items >= _FEW else f" :orange[{_FEW} or more would say much.]"
    st.markdown(
        f"**{percent(beside.corrected)}** :gray[without the judge's bias, 95% interval {low:.1f} to "
        f"{high:.1f}: it gives {100 * beside.bias:+.1f} points against {counted(beside.items, 'answer')} "
        f"rated by hand, Cohen's kappa {kappa}.]{more}"
    )


def _rate(run: Run, judge: str) -> None:
    """Have it rated, or see it being rated."""
    working = look.at_work(run)
    if working is not None:
        _watch(str(run["run_id"]), working.id)
        return
    try:
        ahead = look.ahead(run, judge)
    except LabError as error:
        if not judge:
            st.markdown(
                f"**No process score.** {plain(error.message)} :gray[A process score says how well right "
                f"answers were reasoned. {plain(error.hint)}]"
            )
        return
    if not judge:
        st.markdown(
            f"**No judge has rated this run yet.** :gray[A language model grades the reasoning of "
            f"{counted(ahead.answers, 'right answer')} five times each, by the rubric of its item: a right "
            "answer is worth 0.2 to 1.0, a wrong one 0.]"
        )
    elif ahead.missing:
        st.markdown(f":orange[{counted(ahead.missing, 'rating is', 'ratings are')} missing.]")
    known = look.endpoints()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        chosen = None
        if known:
            chosen = st.selectbox(
                "Judge at", known, key="challenge_endpoint", label_visibility="collapsed", width=240
            )
            if st.button("Rate reasoning", key="challenge_rate", type="secondary" if judge else "primary"):
                _start(run, chosen)
        name = "Another judge" if judge or known else "Choose a judge"
        kind: Literal["primary", "tertiary"] = "tertiary" if judge or known else "primary"
        if st.button(name, key="challenge_launch", type=kind, icon=":material/tune:"):
            begin_with(look.KIND, {"run": run["run_id"], "endpoint": chosen or "default"})
            st.switch_page(page("launch"), query_params={"kind": look.KIND})
    if chosen:
        _notes(run, chosen)


def _notes(run: Run, endpoint: str) -> None:
    """What the endpoint would be asked, and what is to be known before."""
    try:
        foreseen = plan(session.workspace(), look.KIND, {"run": run["run_id"], "endpoint": endpoint})
    except LabError as error:
        st.markdown(f":small[:red[{plain(str(error))}]]")
        return
    asked = [f"{counted(foreseen.requests or 0, 'request')}.", *foreseen.notes]
    st.markdown(f":small[:gray[{plain(' '.join(asked))}]]")


def _start(run: Run, endpoint: str) -> None:
    try:
        submit(session.workspace(), look.KIND, {"run": run["run_id"], "endpoint": endpoint})
    except LabError as error:
        st.toast(plain(str(error)))
        return
    job_look.forget()
    st.rerun()


@st.fragment(run_every=2)
def _watch(run_id: str, job_id: str) -> None:
    """One line of the rating at work; the page runs again when it is over."""
    view = job_look.one(job_id)
    if view is None or view.over:
        st.rerun()
    line = " · ".join(text for text, _ in progress_line(view))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":blue[●] **Being rated** :gray[{plain(line)}]", width="content")
        st.page_link(page("jobs"), label="The job", query_params={"job": job_id})
