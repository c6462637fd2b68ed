"""Data: what is in each dataset, what is wrong with it, where it was used; browse and listen."""

from __future__ import annotations

from app.data.page import draw

draw()
