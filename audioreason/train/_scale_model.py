"""The thinker that `scale` measures: its sizes, weights from seeds, random clips and rows.

Every weight is drawn from a seed that is its name, so the same model can be made again at any time. Knows
nothing about what is measured.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from random import Random
from typing import Any

import torch

from audioreason.engines import thinker
from audioreason.engines.features import audio_token_count, frame_count, log_mel_batch
from audioreason.engines.pocket import PocketShape
from audioreason.engines.weights import empty_thinker
from audioreason.train.data import Row

FULL = PocketShape(
    vocab=152_064, hidden=2048, layers=48, heads=32, kv_heads=4, head_dim=128, experts=128,
    experts_per_token=8, expert_width=768, audio_width=1280, audio_layers=32, audio_heads=20,
    audio_feedforward=5120, downsample=480, context=65_536,
)  # fmt: skip
TINY = PocketShape(
    vocab=1024, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, experts=16, experts_per_token=4,
    expert_width=64, audio_width=32, audio_layers=2, audio_heads=2, audio_feedforward=64, downsample=8,
    context=8192,
)  # fmt: skip


class RandomWeights:
    """Weights by name, each drawn from a seed that is its name; `__call__` is what `assemble` reads from.

    Args:
        config: sizes, as config.json has them.
        device: where they are drawn.
        dtype: what they become.
    """

    def __init__(self, config: dict[str, Any], device: str, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, parameter in empty_thinker(config).named_parameters():
            stem, _, kind = name.rpartition(".")
            if not stem.endswith(".mlp.experts"):
                self.shapes[name] = tuple(parameter.shape)
                continue
            experts, out, inside = parameter.shape
            parts = ("gate_proj", "up_proj") if kind == "gate_up_proj" else ("down_proj",)
            for part in parts:
                for expert in range(experts):
                    self.shapes[f"{stem}.{expert}.{part}.weight"] = (out // len(parts), inside)

    def __call__(self, name: str) -> torch.Tensor:
        """The weight: ones for norms, else normal with a spread that keeps the signal's size."""
        shape = self.shapes[name]
        if len(shape) == 1:
            kind = torch.zeros if name.endswith("bias") else torch.ones
            return kind(shape, dtype=self._dtype, device=self._device)
        generator = torch.Generator(self._device).manual_seed(zlib.crc32(name.encode()))
        drawn = torch.randn(shape, generator=generator, device=self._device, dtype=torch.float32)
        spread = 0.02 if "embed" in name or "lm_head" in name else 1 / math.sqrt(math.prod(shape[1:]))
        return (drawn * spread).to(self._dtype)


class Heard:
    """`Hearing` for random clips: embeddings made once by the model's own tower."""

    def __init__(self, model: Any, clips: int, seconds: float) -> None:
        self._model = model
        self.clips: list[Any] = []
        self.embeddings = []
        generator = torch.Generator().manual_seed(0)
        for _ in range(clips):
            samples = (torch.randn(int(16_000 * seconds), generator=generator) * 0.1).numpy()
            self.clips.append(samples)
            self.embeddings.append(self.hear(len(self.clips) - 1).cpu())

    def hear(self, clip: int) -> torch.Tensor:
        """Hear a clip again: its embeddings (tokens, hidden), where the model is."""
        with torch.no_grad():
            features, frames = log_mel_batch([self.clips[clip]], str(self._model.device))
            heard, counts = thinker.hear(self._model.audio_tower, features, frames)
        kept: torch.Tensor = heard[0, : counts[0]].to(self._model.dtype)
        return kept

    def get(self, row: Row) -> torch.Tensor:
        """The embeddings of a row's clip."""
        return self.embeddings[int(row.clip_hash)]


def random_rows(count: int, length: int, seconds: float, pad: int) -> list[Row]:
    """Rows of `length` tokens around a clip; answers repeat a few words, so that something can be learned."""
    audio = audio_token_count(frame_count(int(16_000 * seconds)))
    random = Random(0)
    rows = []
    for number in range(count):
        prefix = max(audio + 8, length * 4 // 7)
        prompt = [random.randrange(500) for _ in range(prefix - audio)]
        answer = [random.randrange(40) for _ in range(length - prefix)]
        ids = (*prompt[:4], *[pad] * audio, *prompt[4:], *answer)
        rows.append(Row(ids, prefix, Path("clip"), str(number % 4), 1.0, str(number)))
    return rows
