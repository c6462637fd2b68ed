"""The paper's table beside the lab's own runs."""

from __future__ import annotations

from app.compare.address import Asked
from app.compare.picker import Settings


def paper(asked: Asked, called: dict[str, str], settings: Settings) -> None:
    """Draw the view."""
