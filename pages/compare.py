"""Compare: is one run better than another, where, and on which items."""

from __future__ import annotations

from app.compare.page import draw

draw()
