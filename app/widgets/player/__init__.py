"""The player: waveform and mel spectrogram of one clip, with loop, speed, zoom and the form the model hears.

Sends numbers and addresses to the browser, never audio; seeking and looping never come back to Python.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from app.session import ClipView

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "audioreason_player",
    html=(_FOLDER / "player.html").read_text(),
    css=(_FOLDER / "player.css").read_text(),
    js=(_FOLDER / "player.js").read_text(),
)


@dataclass(frozen=True)
class Cue:
    """Something audible between two times in seconds; `tone` says whether the answer named it."""

    start: float
    end: float
    label: str
    tone: Literal["right", "wrong", "plain"] = "plain"


def player(
    clip: ClipView, *, key: str, cues: Sequence[Cue] = (), size: Literal["large", "medium", "small"] = "large"
) -> None:
    """Draw the player of a clip. Players of the same clip on one page share one sound.

    Args:
        clip: what `session.clip_view` found for the item.
        key: unique on the page; keep it while the clip changes, so that the player updates in place.
        cues: drawn as marks on top of the spectrogram at their times, labelled under the pointer.
        size: height of spectrogram and waveform, 96/40, 72/32 or 64/30 px.
    """
    _component(
        key=key,
        data={
            "id": clip.id,
            "clip": clip.url,
            "model": clip.model_url,
            "spectrogram": clip.spectrogram_url,
            "seconds": clip.seconds,
            "peak": clip.peak,
            "peaks": base64.b64encode(clip.peaks).decode(),
            "problem": clip.problem,
            "size": size,
            "cues": [{"start": c.start, "end": c.end, "label": c.label, "tone": c.tone} for c in cues],
        },
    )
