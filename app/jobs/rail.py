"""The left side of the Jobs page: what runs, what waits and why, what has ended. Polls once a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from app import session
from app.jobs import look
from app.navigation import page
from app.session import plain
from app.widgets.rows import Column, Tone, rows
from app.words import duration
from audioreason.errors import LabError
from audioreason.jobs.actions import stop
from audioreason.jobs.watch import JobView

Result = TypeVar("Result")

_FINISHED = 200  # ended jobs listed
_QUEUED = (Column("Job", "minmax(0, 1.3fr)"), Column("Waits"))
_ENDED = (
    Column("Job"),
    Column("State", "76px"),
    Column("Took", "76px", number=True),
    Column("Accuracy", "78px", number=True),
)


def selected() -> str | None:
    """The job in the address, else the newest that runs, else the newest."""
    if chosen := st.query_params.get("job"):
        return chosen
    jobs = look.jobs()
    active = [view for view in jobs if not view.over]
    return next((view.id for view in [*active, *jobs]), None)


def select(job_id: str | None) -> None:
    """Show this job; the address says so too."""
    if job_id is None:
        st.query_params.pop("job", None)
    else:
        st.query_params["job"] = job_id
    st.rerun()


def leave(name: str, **query: str) -> None:
    """Go to another page with the next whole run: a fragment that left by itself would draw on there."""
    st.session_state["jobs_leave"] = (name, query)
    st.rerun()


def leave_if_asked() -> None:
    """Go where `leave` said; called before anything is drawn."""
    if (target := st.session_state.pop("jobs_leave", None)) is not None:
        st.switch_page(page(target[0]), query_params=target[1])


@st.fragment(run_every=1.0)
def counts() -> None:
    """How many jobs run and wait, and the GPUs' memory, as one line."""
    jobs = look.jobs()
    queued = sum(view.state == "queued" for view in jobs)
    running = sum(not view.over for view in jobs) - queued
    words = [f"**{running}** :gray[running]", f"**{queued}** :gray[queued]"]
    words += [
        f"**{gpu.used / 1024:.1f}** :gray[of {gpu.total / 1024:.0f} GB on GPU {plain(gpu.index)}]"
        for gpu in look.gpus()
    ]
    st.markdown(" &emsp; ".join(words), width="content")


@st.fragment(run_every=1.0)
def rail() -> None:
    """Draw the lists; a click selects a job."""
    jobs = look.jobs()
    current = selected()
    queued = [view for view in jobs if view.state == "queued"]
    ended = [view for view in jobs if view.over]
    for view in jobs:
        if not view.over and view.state != "queued":
            _card(view)
    if queued:
        st.markdown(f":small[:gray[Queued {len(queued)}]]")
        cells = [(view.title, look.why(view)) for view in queued]
        _table(_QUEUED, queued, cells, "queued", current, 150)
    if ended:
        st.markdown(f":small[:gray[Finished {len(ended):,}]]")
        shown = ended[:_FINISHED]
        tones: list[tuple[Tone, ...]] = [
            ("", "wrong" if view.state in ("failed", "crashed") else "", "", "") for view in shown
        ]
        _table(_ENDED, shown, [_ended(view) for view in shown], "ended", current, 440, tones)


def _card(view: JobView) -> None:
    with st.container(border=True, gap="xsmall", key=f"card_{view.id}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if st.button(f"**{plain(view.title)}**", key=f"show_{view.id}", type="tertiary"):
                select(view.id)
            st.space("stretch")
            stopping = view.state in ("stopping", "deleting")
            if st.button("Stop", key=f"stop_{view.id}", type="tertiary", disabled=stopping):
                act(stop, session.workspace(), view.id)
        st.progress(min(1.0, view.done / view.total) if view.total else 0.0)
        st.markdown(progress_line(view))


def progress_line(view: JobView) -> str:
    """Such as "612 of 1,000 · 8.4 /s · 46 s left · GPU 1 · running", as Markdown."""
    words = [] if view.total is None else [f"{view.done:,} of {view.total:,}"]
    rest = [f"{view.rate:.1f} /s"] if view.rate else []
    rest += [f"{duration(view.eta)} left"] if view.eta is not None else []
    rest += [f"GPU {', '.join(view.gpus)}"] if view.gpus else []
    rest += [view.note] if view.note else []
    if view.ready:
        rest.append("answers")
    elif view.state != "running":
        rest.append(view.state)
    else:
        rest.append(view.phase or "running")
    tail = plain(" · ".join(rest))
    return f"{words[0]} :gray[· {tail}]" if words else f":gray[{tail}]"


def _ended(view: JobView) -> tuple[str, str, str, str]:
    points = accuracy(view)
    took = duration(view.seconds) if view.began else ""
    return view.title, view.state, took, "" if points is None else f"{100 * points:.1f}%"


def accuracy(view: JobView) -> float | None:
    """Strict accuracy of the run that a finished job made, as a fraction."""
    strict = (view.result or {}).get("strict")
    return strict.get("accuracy") if isinstance(strict, dict) else None


def _table(
    columns: Sequence[Column],
    views: Sequence[JobView],
    cells: Sequence[Sequence[str]],
    key: str,
    current: str | None,
    height: int,
    tones: Sequence[Sequence[Tone]] | None = None,
) -> None:
    ids = [view.id for view in views]
    # a click counts rows as they were drawn; meanwhile the list may have moved on
    drawn = st.session_state.get(f"drawn_{key}", ids)
    st.session_state[f"drawn_{key}"] = ids
    clicked = rows(
        columns,
        cells,
        key=f"rows_{key}",
        clickable=True,
        current=ids.index(current) if current in ids else None,
        height=height,
        tones=tones,
    )
    if clicked is not None and clicked < len(drawn):
        select(drawn[clicked])


def act(action: Callable[..., Result], *args: Any, **kwargs: Any) -> Result | None:
    """Do something to a job; what stands against it is said in a sentence."""
    try:
        return action(*args, **kwargs)
    except LabError as error:
        st.toast(plain(str(error)))
        return None
    finally:
        look.forget()
