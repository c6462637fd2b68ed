"""Jobs as cards: what runs, how far it is, how long it takes, and a way to stop it.

They keep themselves up to date. The full picture of a job is the business of the Jobs page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from app import session
from app.feeds import one_card, told
from app.jobs import look
from app.navigation import page
from app.session import plain
from app.widgets.feed import polling_component
from audioreason.errors import LabError
from audioreason.jobs.actions import stop

_component = polling_component(
    "cards",
    Path(__file__).parent / "feed",
    '<div class="label" hidden>Jobs</div><div class="cards"></div><div class="problem wrong"></div>',
)


def active_jobs(most: int = 5) -> None:
    """The jobs that run; nothing at all if there are none. A title leads to the Jobs page."""
    _cards({"now": told({}), "most": most, "open": True}, "active_jobs")


def one_job(job_id: str) -> None:
    """One job while it runs and after it ended, with the accuracy of its run so far."""
    _cards({"now": one_card(job_id), "job": job_id, "open": True}, f"job_card_{job_id}")


def _cards(data: dict[str, Any], key: str) -> None:
    result = _component(key=key, data=data, on_stop_change=lambda: None, on_open_change=lambda: None)
    if result.get("open"):
        st.switch_page(page("jobs"), query_params={"job": str(result["open"])})
    if result.get("stop"):
        try:
            stop(session.workspace(), str(result["stop"]))
        except LabError as error:
            st.toast(plain(str(error)))
        look.forget()
