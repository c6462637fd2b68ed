"""Home: what was run lately, what goes on now, what to do first."""

from __future__ import annotations

import streamlit as st

from app import overview
from app.widgets.header import header
from app.widgets.jobs import active_jobs

with header():
    dataset = overview.choose_dataset()
    if st.button("Manage runs", key="manage_runs", type="tertiary", icon=":material/inventory_2:"):
        overview.manage_runs()

left, right = st.columns([1.5, 1], gap="large")
with left:
    overview.latest_runs(dataset)
with right:
    active_jobs()
    overview.lately()
    overview.datasets()
