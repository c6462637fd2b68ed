"""Keys never reach a file of a job: those of the environment and of `.streamlit/secrets.toml`.

A key is known by its variable's name.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)($|_)", re.IGNORECASE)
_SHORTEST = 8  # a shorter value would blot out ordinary words


def secret_values() -> tuple[tuple[str, str], ...]:
    """Name and value of everything that looks like a key, longest value first."""
    found = [
        (name, value)
        for name, value in [*os.environ.items(), *_from_files()]
        if _NAME.search(name) and len(value) >= _SHORTEST and not value.startswith("/")
    ]
    return tuple(sorted(found, key=lambda pair: -len(pair[1])))


def stand_in(name: str) -> str:
    """What stands where the value of `name` stood."""
    return f"[removed: value of {name}]"


def redact(text: str) -> str:
    """`text` with every such value replaced by the name of its variable."""
    for name, value in secret_values():
        if value in text:
            text = text.replace(value, stand_in(name))
    return text


def leaked(text: str) -> str | None:
    """The name of a variable whose value stands in `text`, if there is one."""
    return next((name for name, value in secret_values() if value in text), None)


def _from_files() -> list[tuple[str, str]]:
    """Top-level values of the secrets files in which an endpoint's key is looked for."""
    found: list[tuple[str, str]] = []
    for folder in (Path.cwd(), Path.home()):
        try:
            read = tomllib.loads((folder / ".streamlit" / "secrets.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or one from which no key can be read: whoever needs it says so
            continue
        found += [(name, value) for name, value in read.items() if isinstance(value, str)]
    return found
