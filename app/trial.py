"""Trying an endpoint out: is it there, what does it serve, how does a clip reach it, what does it answer.

Asks one question of a dataset with the structured prompt, which small and large models can answer. Runs in a
thread, one finding after another, so that a page can show them as they come.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Literal, NamedTuple

from audioreason.errors import LabError
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.messages import build_messages
from audioreason.inference.probe import endpoint_status, probe_audio
from audioreason.inference.stream import stream
from audioreason.items import Item
from audioreason.prompts import load_prompt
from audioreason.runs.rendering import render_for

PROMPT = "structured-reasoning"


class Finding(NamedTuple):
    """One line of a trial: what was tried, what came of it, and whether that is good."""

    what: str
    words: str
    good: bool | None


class Trial:
    """One try of an endpoint with one item; read `findings`, `text` and `reasoning` at any time."""

    def __init__(self, endpoint: Endpoint, item: Item, clip: Path) -> None:
        self.endpoint = endpoint
        self.item = item
        self.clip = clip
        self.findings: list[Finding] = []
        self.text = ""
        self.reasoning = ""
        self.state: Literal["running", "done"] = "running"
        self.reached = False
        threading.Thread(target=self._run, daemon=True, name="trial").start()

    def _run(self) -> None:
        try:
            self._ask()
        except LabError as error:
            self.findings.append(Finding("Problem", str(error), False))
        finally:
            self.state = "done"

    def _ask(self) -> None:
        status = endpoint_status(self.endpoint)
        if status.error is not None:
            self.findings.append(Finding("Server", status.error, False))
            return
        self.reached = True
        self.findings.append(Finding("Server", f"answers in {1000 * (status.seconds or 0):.0f} ms", True))
        endpoint = self.endpoint
        if not endpoint.model and status.models:
            endpoint = endpoint.model_copy(update={"model": status.models[0]})
        listed = ", ".join(status.models) or "none listed"
        known = endpoint.model in status.models
        self.findings.append(Finding("Models", listed, known or None))
        probe = asyncio.run(probe_audio(endpoint, self.clip, refresh=True))
        ways = {"file": "by file, from the shared disk", "input_audio": "inside the request, as base64"}
        self.findings.append(Finding("Clips travel", ways[probe.transport], True))
        if probe.audio_tokens is not None:
            heard = (
                f"{probe.audio_tokens} tokens of sound for this clip"
                if probe.audio_tokens
                else "the clip was ignored"
            )
            self.findings.append(Finding("Hears", heard, probe.audio_tokens > 0))
        rendered = render_for(load_prompt(PROMPT), self.item)
        messages = build_messages(rendered, self.clip, probe.transport)
        for delta in stream(endpoint, messages, Sampling(temperature=0, max_tokens=2000), seed=0):
            self.reasoning += delta.reasoning
            self.text += delta.text
