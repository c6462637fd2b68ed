"""The light in the header as data: a colour, a few words, and what is wrong if something is."""

from __future__ import annotations

from typing import Any

from app.machine import MachineState, machine
from app.session import workspace
from audioreason.inference.endpoint import Endpoint


def light_now() -> dict[str, Any]:
    """`colour` (green, orange, red), `words`, `problem`, and `ready`: whether a model can be asked."""
    state = machine().look()
    colour, words = light(state)
    jobs = "" if not state.jobs else " · 1 job" if state.jobs == 1 else f" · {state.jobs} jobs"
    problem = state.sentence if state.endpoint is None else (state.status.error if state.status else None)
    return {
        "colour": colour,
        "words": f"{words}{jobs} · {workspace().root.name}",
        "problem": (problem or "") if colour == "red" else "",
        "ready": state.endpoint is not None and isinstance(machine().ready(state.endpoint), Endpoint),
    }


def light(state: MachineState) -> tuple[str, str]:
    """Colour and words of the light."""
    if state.endpoint is None:
        if state.engine == "starting":
            return "orange", "starting the embedded model …"
        return "red", "no model"
    name = state.endpoint.model or state.endpoint.name
    if state.status is None:
        return "orange", f"{name} · asking …"
    if not state.status.ok:
        return "red", f"{name} does not answer"
    if not state.endpoint.model and state.status.models:
        name = state.status.models[0]
    words = [name]
    if state.status.seconds is not None:
        words.append(f"{state.status.seconds * 1000:.0f} ms")
    load = state.status.load
    if load and load.waiting:
        words.append(f"{load.waiting} queued")
    elif load and load.running:
        words.append(f"{load.running} running")
    if not state.endpoint.local:
        words.append(f"at {state.endpoint.host}")
    return "green", " · ".join(words)
