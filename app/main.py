"""Entry point: `streamlit run app/main.py` serves the pages (`shell.py`) and the lab's own routes.

Knows where the lab's folder is, so that `app` and `pages` import the same from a checkout and from a wheel.
"""

from __future__ import annotations

import sys

from audioreason.workspace import lab_root, private_files

if str(lab_root()) not in sys.path:
    sys.path.insert(0, str(lab_root()))

import streamlit as st
from starlette.middleware import Middleware

from app.access import Access, lab_token
from app.machine import while_serving
from app.opening import Opening
from app.routes import routes
from app.session import show_script_error

private_files()
app = st.App(
    "shell.py",
    routes=routes(),
    lifespan=while_serving,
    middleware=[Middleware(Access, token=lab_token()), Middleware(Opening)],
    on_script_error=show_script_error,
)
