"""The left side of the Jobs page, and which job the right side shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from app import session
from app.jobs import look, monitor
from app.session import plain
from audioreason.errors import LabError
from audioreason.jobs.actions import stop

Result = TypeVar("Result")


def selected() -> str | None:
    """The job in the address, else the newest that runs, else the newest; the address keeps to it."""
    if chosen := st.query_params.get("job"):
        return chosen
    jobs = look.jobs()
    running = [view for view in jobs if not view.over and view.state != "queued"]
    first = next((view.id for view in [*running, *jobs]), None)
    if first is not None:
        st.query_params["job"] = first
    return first


def select(job_id: str | None) -> None:
    """Show this job; the address says so too."""
    if job_id is None:
        st.query_params.pop("job", None)
    else:
        st.query_params["job"] = job_id
    st.rerun()


def rail(current: str | None) -> None:
    """Draw the lists; a click selects a job."""
    opened, stopped = monitor.rail(current)
    if stopped is not None:
        act(stop, session.workspace(), stopped)
    if opened is not None and opened != current:
        select(opened)


def act(action: Callable[..., Result], *args: Any, **kwargs: Any) -> Result | None:
    """Do something to a job; what stands against it is said in a sentence."""
    try:
        return action(*args, **kwargs)
    except LabError as error:
        st.toast(plain(str(error)))
        return None
    finally:
        look.forget()
