"""What a component of this page reported with the last run: a trigger is there once, then None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def clicked(result: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The object that a component sent under `name` with this run, else None."""
    value = result.get(name)
    return dict(value) if isinstance(value, Mapping) else None
