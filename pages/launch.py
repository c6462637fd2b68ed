"""Launch: choose what to run, see what it will do, start it."""

from __future__ import annotations

from app.jobs.launch import choose_kind, launch
from app.widgets.header import header

with header():
    kind = choose_kind()

launch(kind)
