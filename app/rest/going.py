"""Whether an experiment goes on, and the ways to stop it, to go on with it, and to see its job.

An experiment that a command began has no job: then the command that goes on with it is named.
"""

from __future__ import annotations

import functools

import streamlit as st

from app import session
from app.jobs import look as jobs
from app.jobs.rail import act
from app.navigation import page
from app.rest.look import Experiment
from app.session import plain
from audioreason.errors import LabError
from audioreason.jobs.actions import resume, stop
from audioreason.jobs.resuming import resumable
from audioreason.jobs.spec import job_folder, read_spec
from audioreason.jobs.watch import JobView


def job_of(experiment_id: str) -> JobView | None:
    """The newest job that works, worked or shall work on an experiment; None if no job did."""
    named = (view for view in jobs.everyone() if view.kind == "rest" and _name(view.id) == experiment_id)
    return next(named, None)


@functools.lru_cache(maxsize=256)
def _name(job_id: str) -> str:
    """The experiment of a job: its settings' name, else the job's id; settings are written once."""
    try:
        spec = read_spec(job_folder(session.workspace(), job_id)).spec
    except LabError:
        return ""  # the Jobs page says what is wrong with it
    return str(spec.get("name") or job_id[:60])


def unfinished(found: Experiment) -> bool:
    """Whether something of an experiment is still to be done, and nobody does it."""
    return not found.running and any(not one.over for one in found.rounds)


def stopped_words(found: Experiment) -> str:
    """Where an unfinished experiment stands, such as: Stopped in round 2, at generate."""
    one = next(one for one in found.rounds if not one.over)
    if not one.number:
        return "Stopped before the base was evaluated."
    return f"Stopped in round {one.number}, at {one.phase}."


def stop_and_job(found: Experiment) -> None:
    """Beside what runs: stop it, and look at its job; nothing for an experiment without a job."""
    view = job_of(found.id)
    if view is None or view.over:
        return
    stopping = view.state == "stopping"
    name = "Stopping …" if stopping else "Stop"
    if st.button(name, key="rest_stop", type="tertiary", disabled=stopping, help="What is done is kept."):
        act(stop, session.workspace(), view.id)
        st.rerun()
    _open(view)


def how_to_go_on(found: Experiment) -> None:
    """Where an unfinished experiment stopped, and what goes on with it."""
    view = job_of(found.id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="rest_going_on"):
        if view is not None and not view.over:
            words = f"**Its job is {plain(view.state)}.** :gray[{plain(view.reason)}]"
            st.markdown(words, width="content")
            stop_and_job(found)
            return
        st.markdown(f"**{stopped_words(found)}** :gray[What is done is kept.]", width="content")
        can = None if view is None else act(resumable, session.workspace(), view.id)
        if view is None or can is None or not can.possible:
            command = f"audioreason rest run {found.id} --resume"
            st.markdown(f":gray[Go on with] `{command}`", width="content")
        elif st.button("Resume", key="rest_resume"):
            act(resume, session.workspace(), view.id)
            st.rerun()
        if view is not None:
            _open(view)


def _open(view: JobView) -> None:
    if st.button("Its job", key="rest_job", type="tertiary", icon=":material/arrow_forward:"):
        st.switch_page(page("jobs"), query_params={"job": view.id})
