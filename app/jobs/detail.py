"""The right side of the Jobs page: one job, what can be done to it, how it goes, its metrics and its log."""

from __future__ import annotations

import streamlit as st

from app import session
from app.jobs import charts, look, monitor
from app.jobs.rail import act, select
from app.navigation import page
from app.session import plain
from app.theme import palette
from audioreason.jobs.actions import delete, resume, retry, stop, what_goes
from audioreason.jobs.resuming import resumable
from audioreason.jobs.watch import JobView

_MOST_CHARTS = 4


def detail(job_id: str) -> None:
    """Draw the job."""
    view = look.one(job_id)
    if view is None:
        st.markdown(f"There is no job {plain(job_id)}. :gray[It may have been deleted.]")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="job_head"):
        title = view.title.replace("://", "\u200b://")  # an address in it is no link: no page is there
        st.markdown(f"**{plain(title)}**", width="content")
        st.space("stretch")
        _actions(view)
    opened = monitor.live(view)
    if opened is not None:
        select(opened)
    if view.children:
        return
    _metrics(job_id)
    monitor.log(job_id)
    st.markdown(f":small[:gray[{plain(view.id)}]]")


def _actions(view: JobView) -> None:
    space = session.workspace()
    if view.parent is not None and st.button("All of the matrix", key="job_parent", type="tertiary"):
        select(view.parent)
    if not view.over:
        at_once = view.state == "stopping"
        if st.button("Stop at once" if at_once else "Stop", key="job_stop"):
            act(stop, space, view.id, now=at_once)
            st.rerun()
    elif view.state != "finished":
        _resume(view)
    if view.over and view.parent is None and st.button("Retry", key="job_retry", type="tertiary"):
        again = act(retry, space, view.id)
        if again is not None:
            select(again)
    if st.button("Duplicate and edit", key="job_duplicate", type="tertiary"):
        st.switch_page(page("launch"), query_params={"from": view.id})
    if len(view.runs) == 1 and st.button("Open run", key="job_run", type="tertiary"):
        st.switch_page(page("errors"), query_params={"run": view.runs[0]})
    if len(view.runs) > 1 and st.button("Compare runs", key="job_runs", type="tertiary"):
        st.switch_page(page("compare"), query_params={"runs": ",".join(view.runs)})
    if view.parent is None:
        _delete(view)


def _resume(view: JobView) -> None:
    """Resume, where that can help; else it says why not."""
    space = session.workspace()
    can = act(resumable, space, view.id)
    if can is None:
        return
    why = plain(f"{can.why} {can.hint}".strip()) or None
    if st.button("Resume", key="job_resume", disabled=not can.possible, help=why):
        act(resume, space, view.id)
        st.rerun()


def _delete(view: JobView) -> None:
    space = session.workspace()
    box = st.popover("Delete", type="tertiary", key=f"delete_{view.id}", on_change="rerun")
    if not box.open:
        return
    with box:
        removal = act(what_goes, space, view.id)
        if removal is None:
            return
        st.markdown(plain(removal.sentence()))
        if st.button("Delete it", key="job_delete"):
            with st.spinner("Deleting …"):
                gone = act(delete, space, view.id, stop_first=True)
            if gone is not None:
                select(None)


@st.fragment
def _metrics(job_id: str) -> None:
    """Charts of what the job measures, drawn again when there is more of it. Two elements, always."""
    monitor.pulse(job_id)
    box = st.container(gap="small")
    series = st.session_state.get("job_series")
    if not isinstance(series, look.Series) or series.job_id != job_id:
        series = st.session_state["job_series"] = look.Series(job_id)
    data = series.read()
    names = list(dict.fromkeys(name for row in data[-50:] for name in row))
    names = [name for name in names if name not in ("step", "time", "phase")]
    # what never moves is no chart
    moving = [name for name in names if len({row.get(name) for row in data}) > 1][:_MOST_CHARTS]
    for start in range(0, len(moving), 2):
        columns = box.columns(2, gap="medium")
        for column, name in zip(columns, moving[start : start + 2], strict=False):
            with column, st.container(gap="xsmall"):
                last = next(row[name] for row in reversed(data) if row.get(name) is not None)
                title = plain(name.replace("_", " "))
                st.markdown(f":small[:gray[{title}] **{_number(last)}**]")
                spec = charts.metric_spec(palette())
                frame = charts.points(data, name)
                st.vega_lite_chart(frame, spec, width="stretch", key=f"metric_{job_id}_{name}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
