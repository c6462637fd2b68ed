"""Jobs as one line each: what runs, how far it is, how long it takes, and a way to stop it.

Polls by itself, once a second. The full picture of a job is the business of the Jobs page.
"""

from __future__ import annotations

import streamlit as st

from app import session
from app.session import plain
from app.words import duration
from audioreason.errors import JobError
from audioreason.jobs.actions import stop
from audioreason.jobs.watch import JobView, job, list_jobs


@st.fragment(run_every=1.0)
def active_jobs(most: int = 5) -> None:
    """The jobs that run, wait or have just ended badly; nothing at all if there are none."""
    shown = [view for view in list_jobs(session.workspace(), children=False) if not view.over][:most]
    if not shown:
        return
    st.markdown(":small[:gray[Jobs]]")
    for view in shown:
        card(view)


@st.fragment(run_every=1.0)
def one_job(job_id: str) -> None:
    """One job while it runs and after it ended, with the accuracy of its run so far."""
    try:
        card(job(session.workspace(), job_id))
    except JobError as error:
        st.markdown(f":small[:gray[{plain(str(error))}]]")


def card(view: JobView) -> None:
    """One bordered job: title, bar, numbers, Stop."""
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(view.title)}**", width="content")
            st.space("stretch")
            if not view.over and st.button("Stop", key=f"stop_{view.id}", type="tertiary"):
                try:
                    stop(session.workspace(), view.id)
                except JobError as error:
                    st.toast(plain(str(error)))
        if view.total and not view.over:
            st.progress(min(1.0, view.done / view.total))
        st.markdown(_line(view))
        if view.over and view.reason and view.state != "finished":
            st.markdown(f":small[:red[{plain(view.reason)}] :gray[{plain(view.hint)}]]")


def _line(view: JobView) -> str:
    words = []
    if view.total:
        words.append(f"{view.done:,} of {view.total:,}")
    rest = []
    if view.rate:
        rest.append(f"{view.rate:.1f} /s")
    if view.eta is not None and not view.over:
        rest.append(f"{duration(view.eta)} left")
    if view.over:
        rest.append(f"{view.state} after {duration(view.seconds)}")
    elif view.state == "queued":
        rest.append(view.reason or "queued")
    else:
        rest.append(view.phase or view.state)
    accuracy = _accuracy(view)
    return f"{' · '.join(words)} :gray[{plain(' · '.join(rest))}]{accuracy}"


def _accuracy(view: JobView) -> str:
    """Strict accuracy with its interval and n, of what has been answered so far."""
    if len(view.runs) != 1:
        return ""
    runs = session.runs()
    found = runs[(runs["run_id"] == view.runs[0]) & (runs["rated"] > 0)]
    if found.empty:
        return ""
    row = found.iloc[0]
    low, high = 100 * row["strict_low"], 100 * row["strict_high"]
    return f"  \n**{100 * row['strict']:.1f}%** :gray[{low:.1f} to {high:.1f}, {row['rated']:,} items rated]"
