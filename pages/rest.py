"""ReST: what self-training did, round by round, and what it kept, forgot and cost."""

from __future__ import annotations

from app.rest.page import draw

draw()
