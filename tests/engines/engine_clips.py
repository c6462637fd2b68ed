"""Clips for the engine's tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """White noise at 16 kHz."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=int(seconds * 16000)) * 0.1).astype(np.float32)
