"""How the page names outcomes, runs and choices. Pure text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OUTCOMES: Mapping[str, str] = {
    "correct": "right",
    "wrong": "wrong choice",
    "unresolved": "no choice",
    "truncated": "cut off",
    "looped": "loops",
    "refused": "refused",
    "format_broken": "broken format",
    "server_error": "no answer",
}
FAILURES = tuple(name for name in OUTCOMES if name != "correct")


def outcome_words(name: str) -> str:
    """An outcome as the page says it."""
    return OUTCOMES.get(name, name.replace("_", " "))


def run_label(run: Mapping[str, Any]) -> str:
    """Prompt and version; an import, which has none, by its id."""
    if not run["prompt"]:
        return str(run["run_id"])
    return f"{run['prompt']} {str(run['prompt_version'] or '')[:4]}".strip()


def percent(share: float | None) -> str:
    """A fraction as a percentage with one decimal."""
    return "" if share is None or share != share else f"{100 * share:.1f}%"


def letter(index: int) -> str:
    """A choice's letter: A for 0."""
    return chr(ord("A") + index) if index < 26 else str(index + 1)
