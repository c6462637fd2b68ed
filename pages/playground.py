"""Playground: one item, one prompt, and what the model makes of them."""

from __future__ import annotations

import streamlit as st

from app.playground.one import one
from app.widgets.header import header

with header():
    mode = st.segmented_control(
        "View",
        ["One"],
        default="One",
        required=True,
        key="mode",
        bind="query-params",
        label_visibility="collapsed",
    )

one()
