"""Optimize: a search for a better prompt under the microscope, trial by trial."""

from __future__ import annotations

from app.optimize.page import draw

draw()
