"""Home: what was run lately, what runs now, what to do next."""

from __future__ import annotations

import streamlit as st

from app.widgets.header import header

with header():
    st.markdown("**audioreason**", width="content")
