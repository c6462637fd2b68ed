"""Settings: which model answers. Add, try and choose endpoints; start and stop the embedded one."""

from __future__ import annotations

import streamlit as st

from app import endpoints
from app.widgets.header import header

with header():
    st.markdown("**Endpoints** :gray[who answers, and how clips get there]", width="content")

left, right = st.columns([1, 1.25], gap="large")
with left:
    endpoints.choose()
    endpoints.add()
with right:
    endpoints.try_out()
