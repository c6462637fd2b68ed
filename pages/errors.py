"""Error explorer: where a run fails, what that sounds like, and what somebody made of it."""

from __future__ import annotations

from app.errors.page import draw

draw()
