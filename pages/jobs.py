"""Jobs: what runs, what waits, what has ended, and everything about one of them."""

from __future__ import annotations

import streamlit as st

from app.jobs.detail import detail
from app.jobs.look import jobs
from app.jobs.monitor import counts
from app.jobs.rail import rail, selected
from app.navigation import page
from app.widgets.header import header

chosen = selected()
empty = chosen is None and not jobs()

with header(), st.container(width="content"):
    counts(empty)

if empty:
    st.markdown("**No jobs yet.** :gray[A job goes on when this page is closed.]")
    st.page_link(page("launch"), label="Launch one", icon=":material/arrow_forward:")
else:
    left, right = st.columns([1, 1.75], gap="large")
    with left:
        rail(chosen)
    if chosen is not None:
        with right, st.container(gap="small"):
            detail(chosen)
