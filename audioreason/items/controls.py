"""Control clips: as long as the real one, with nothing to hear. An answer that stays never listened.

Knows nothing about datasets or answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from audioreason.items.clips import SAMPLE_RATE, wav_bytes
from audioreason.workspace import clip_folder, write_atomic

Control = Literal["silence", "noise"]
_LEVEL = 0.05  # RMS of the noise, about -26 dBFS: clearly audible, far from full scale


def control_clip(kind: Control, seconds: float, cache: Path) -> Path:
    """A 16 kHz mono WAV of `seconds` of digital silence or white noise, made once per length in 10 ms steps.

    It lies in `cache/clips/`, which servers may read. The noise is the same for every clip of a length, so
    that a listening test can be repeated exactly.

    Raises:
        WorkspaceError: if the cache cannot be written.
    """
    hundredths = max(1, round(seconds * 100))
    path = clip_folder(cache) / f"{kind}-{hundredths}.wav"
    if not path.is_file():
        count = hundredths * SAMPLE_RATE // 100
        samples = np.zeros(count, np.float32)
        if kind == "noise":
            samples = (_LEVEL * np.random.default_rng(hundredths).standard_normal(count)).astype(np.float32)
        write_atomic(path, wav_bytes(samples))
    return path
