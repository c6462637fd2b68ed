"""Playground: one item, one prompt, and what the model makes of them."""

from __future__ import annotations

import streamlit as st

from app.playground.compare import compare
from app.playground.listening import listening
from app.playground.one import one
from app.widgets.header import header

with header():
    mode = st.segmented_control(
        "View",
        ["One", "Compare", "Listening test"],
        default="One",
        required=True,
        key="mode",
        bind="query-params",
        label_visibility="collapsed",
    )

if mode == "Compare":
    compare()
elif mode == "Listening test":
    listening()
else:
    one()
