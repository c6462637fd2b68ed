"""What the tests of training learn from: clips and answers about them."""

from __future__ import annotations

import numpy as np

from audioreason.train.data import Example


def tune(index: int, sr: int = 16_000) -> np.ndarray:
    """Half a second or more of a few tones, float32 (samples,); each index its own."""
    time = np.arange(int((0.5 + 0.1 * (index % 4)) * sr)) / sr
    tones = sum(np.sin(2 * np.pi * (200 + 170 * index) * part * time) / part for part in (1, 2, 3))
    return (0.2 * tones * (np.sin(2 * np.pi * (2 + index) * time) > 0)).astype(np.float32)


def examples(count: int = 12) -> list[Example]:
    """Answers of different lengths, thoughts included, about the items of `lab`."""
    words = ("one", "two", "three", "four")
    return [
        Example(
            dataset="tones",
            item_id=f"tones-{index}",
            system="system",
            user="How many tones are in the clip?",
            answer=f"<think>{'one two ' * (1 + index % 5)}</think>\nANSWER: {words[index % 4]}",
            weight=1.0 + index % 3,
        )
        for index in range(count)
    ]
