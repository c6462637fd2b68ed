"""Keys that the lab knows never reach a file of a job, whatever they look like.

It knows the key of every saved endpoint, those of the servers that it started, and its own token. Besides, it
takes values of the environment and of `.streamlit/secrets.toml` for keys if their names say so. That is a
guess: what it does not recognise is not removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from audioreason.workspace import ENGINE_KEY_VARIABLE, LAB_TOKEN_VARIABLE, Workspace

_NAME = re.compile(
    r"((^|_)(API_?KEY|KEY|SECRET|AUTH|CREDENTIALS?)|API_?KEY|TOKEN|PASS(WORD|WD)?)\d*($|_)", re.IGNORECASE
)
_SHORTEST = 8  # a shorter value would blot out ordinary words
_SHORTEST_KNOWN = 6  # of a value that is known to be a key; servers without one are given EMPTY or none


def secret_values() -> tuple[tuple[str, str], ...]:
    """Name and value of every known key and of everything that looks like one, longest value first."""
    values = {**dict(_from_files()), **os.environ}
    # without what copying put around it, as it is sent
    known = {name: values[name].strip(" \t\r\n\"'") for name in _variables_of_endpoints() if name in values}
    known |= dict(_server_keys())
    found = [(name, value) for name, value in known.items() if len(value) >= _SHORTEST_KNOWN]
    found += [
        (name, value)
        for name, value in values.items()
        if _NAME.search(name)
        and len(value) >= _SHORTEST
        and not (value.startswith("/") and Path(value).exists())
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda pair: -len(pair[1])))


def last_change() -> tuple[int, ...]:
    """Differs whenever the known keys may have become others; cheap enough to ask for every line."""
    root = _root()
    times = []
    for path in (root / "keys", root / "endpoints.json"):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


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
    return next((name for name, value in secret_values() if len(value) >= _SHORTEST and value in text), None)


def _root() -> Path:
    return Path(os.environ.get("AUDIOREASON_WORKSPACE") or "workspace")


def _variables_of_endpoints() -> Iterator[str]:
    """Names of variables that hold a key for certain: of the endpoints, of the lab's token, of its engine."""
    yield from (LAB_TOKEN_VARIABLE, ENGINE_KEY_VARIABLE, "VLLM_API_KEY")
    # read as it is: whoever asks an endpoint says what is wrong with the file
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        for endpoint in json.loads((_root() / "endpoints.json").read_bytes())["endpoints"]:
            if name := endpoint.get("api_key_env"):
                yield str(name)


def _server_keys() -> Iterator[tuple[str, str]]:
    """Keys of the servers that the lab started, by the names of their files."""
    with contextlib.suppress(OSError):
        for path in sorted(Workspace(_root()).keys.iterdir()):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                yield f"keys/{path.name}", path.read_text(encoding="utf-8").strip()


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
