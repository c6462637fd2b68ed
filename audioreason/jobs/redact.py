"""Keys from the environment never reach a file of a job; a key is known by its variable's name."""

from __future__ import annotations

import os
import re

_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)($|_)", re.IGNORECASE)
_SHORTEST = 8  # a shorter value would blot out ordinary words
_STAND_IN = "[removed: value of {name}]"


def secret_values() -> tuple[tuple[str, str], ...]:
    """Name and value of every environment variable that looks like a key, longest value first."""
    found = [
        (name, value)
        for name, value in os.environ.items()
        if _NAME.search(name) and len(value) >= _SHORTEST and not value.startswith("/")
    ]
    return tuple(sorted(found, key=lambda pair: -len(pair[1])))


def redact(text: str) -> str:
    """`text` with every such value replaced by the name of its variable."""
    for name, value in secret_values():
        if value in text:
            text = text.replace(value, _STAND_IN.format(name=name))
    return text


def leaked(text: str) -> str | None:
    """The name of a variable whose value stands in `text`, if there is one."""
    return next((name for name, value in secret_values() if value in text), None)
