"""The right side of the Jobs page: one job as it is now. Polls once a second, apart from the rail."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app import session
from app.jobs import charts, look
from app.jobs.logview import logview
from app.jobs.rail import accuracy, act, leave, progress_line, select
from app.session import plain
from app.theme import palette
from app.widgets.rows import Column, Tone, rows
from app.words import duration, when
from audioreason.jobs.actions import delete, duplicate, resume, retry, stop, what_goes
from audioreason.jobs.resources import usage
from audioreason.jobs.watch import JobView, tail_log

_LEVELS = {"All": "", "Warnings": "WARNING", "Errors": "ERROR"}
_LINES = 400
_MOST_CHARTS = 4
_GIB = 2**30
_CHILDREN = (
    Column("Job", "minmax(0, 1.6fr)"),
    Column("State", "84px"),
    Column("Done", "110px", number=True),
    Column("Accuracy", "84px", number=True),
)


@st.fragment(run_every=1.0)
def detail(job_id: str) -> None:
    """Draw the job."""
    view = look.one(job_id)
    if view is None:
        st.markdown(f"There is no job {plain(job_id)}. :gray[It may have been deleted.]")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="job_head"):
        st.markdown(f"**{plain(view.title)}** :gray[{_since(view)}]", width="content")
        st.space("stretch")
        _actions(view)
    st.markdown(_state_line(view))
    if view.children:
        _children(view)
        return
    frame, unit, count = charts.timeline(view)
    if count:
        names = tuple(dict.fromkeys(frame["name"]))
        spec = charts.timeline_spec(palette(), names, unit)
        st.vega_lite_chart(frame, spec, width="stretch", key=f"timeline_{job_id}")
    st.markdown(_resources(view))
    _metrics(job_id)
    _log(job_id)


def _since(view: JobView) -> str:
    words = []
    if view.began:
        words.append(f"started {when(datetime.fromtimestamp(view.began, UTC))}")
        words.append(duration(view.seconds))
    if view.attempt > 1:
        words.append(f"attempt {view.attempt}")
    return plain(" · ".join(words))


def _actions(view: JobView) -> None:
    space = session.workspace()
    if not view.over:
        at_once = view.state == "stopping"
        if st.button("Stop at once" if at_once else "Stop", key="job_stop"):
            act(stop, space, view.id, now=at_once)
            st.rerun()
    elif view.state != "finished" and st.button("Resume", key="job_resume"):
        act(resume, space, view.id)
        st.rerun()
    if view.over and view.parent is None and st.button("Retry", key="job_retry", type="tertiary"):
        again = act(retry, space, view.id)
        if again is not None:
            select(again)
    if st.button("Duplicate and edit", key="job_duplicate", type="tertiary"):
        leave("launch", **{"from": view.id})
    if view.runs and st.button("Open run", key="job_run", type="tertiary"):
        spec = act(duplicate, space, view.id)
        if spec is not None:
            leave("home", dataset=str(spec.spec.get("dataset", "")))
    if view.parent is None:
        _delete(view)


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


def _state_line(view: JobView) -> str:
    """How far it is or how it ended, with what it came to, in one line."""
    if view.state == "queued":
        return f"Queued :gray[· waits {plain(look.why(view))}]"
    if not view.over:
        return progress_line(view)
    colour = "red" if view.state in ("failed", "crashed") else "gray"
    words = [f"{view.state.capitalize()} :gray[after {duration(view.seconds)}]"]
    if view.total is not None:
        words.append(f"{view.done:,} of {view.total:,}")
    points = accuracy(view)
    if points is not None and view.result is not None:
        low, high = view.result["strict"]["ci95"]
        interval = f"{100 * low:.1f} to {100 * high:.1f}, {view.result['answered']:,} answered"
        words.append(f"**{100 * points:.1f}%** :gray[strict, {interval}]")
    if view.reason and view.state != "finished":
        words.append(f":{colour}[{plain(view.reason)}] :gray[{plain(view.hint)}]")
    return " :gray[·] ".join(words)


def _children(view: JobView) -> None:
    parts = [part for part in map(look.one, view.children) if part is not None]
    cells: list[tuple[str, ...]] = []
    tones: list[tuple[Tone, ...]] = []
    for part in parts:
        points = accuracy(part)
        done = "" if part.total is None else f"{part.done:,} of {part.total:,}"
        cells.append((part.title, part.state, done, "" if points is None else f"{100 * points:.1f}%"))
        bad: Tone = "wrong" if part.state in ("failed", "crashed") else ""
        tones.append(("", bad, "", ""))
    clicked = rows(_CHILDREN, cells, key="job_children", clickable=True, height=560, tones=tones)
    if clicked is not None:
        select(parts[clicked].id)


def _resources(view: JobView) -> str:
    used = None if view.over else usage(view.pid)
    if used is None:
        back = f" · part of {plain(view.parent)}" if view.parent else ""
        return f":small[:gray[{plain(view.id)}{back}]]"
    words = [f"**{used.cpu:.1f}** :gray[cores]", f"**{used.memory / _GIB:.1f} GB** :gray[memory]"]
    if used.gpu_memory is not None:
        words.append(f"**{used.gpu_memory / 1024:.1f} GB** :gray[GPU memory]")
    words.append(f":gray[{used.processes} process{'es' if used.processes != 1 else ''} · {plain(view.id)}]")
    return f":small[{' &emsp; '.join(words)}]"


def _metrics(job_id: str) -> None:
    series = st.session_state.get("job_series")
    if not isinstance(series, look.Series) or series.job_id != job_id:
        series = st.session_state["job_series"] = look.Series(job_id)
    data = series.read()
    names = list(dict.fromkeys(name for row in data[-50:] for name in row))
    names = [name for name in names if name not in ("step", "time", "phase")]
    # what never moves is no chart
    moving = [name for name in names if len({row.get(name) for row in data}) > 1][:_MOST_CHARTS]
    for start in range(0, len(moving), 2):
        for column, name in zip(st.columns(2, gap="medium"), moving[start : start + 2], strict=False):
            with column, st.container(gap="xsmall"):
                last = next(row[name] for row in reversed(data) if row.get(name) is not None)
                title = plain(name.replace("_", " "))
                st.markdown(f":small[:gray[{title}] **{last:,.4g}**]")
                spec = charts.metric_spec(palette())
                frame = charts.points(data, name)
                st.vega_lite_chart(frame, spec, width="stretch", key=f"metric_{job_id}_{name}")


def _log(job_id: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="job_log_head"):
        st.markdown("**Log**", width="content")
        level = st.segmented_control(
            "Level",
            list(_LEVELS),
            default="All",
            key="log_level",
            required=True,
            label_visibility="collapsed",
        )
        st.space("stretch")
        find = st.text_input(
            "Find in log",
            key="log_find",
            placeholder="Find in log",
            icon=":material/search:",
            label_visibility="collapsed",
            width=220,
        )
    lines = tail_log(session.workspace(), job_id, _LINES, _LEVELS[level or "All"], find or "")
    logview(lines, key="job_log", job_id=f"{job_id} {level} {find}")
