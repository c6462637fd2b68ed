"""What the tests of training learn from: clips and answers about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from audioreason.engines.adapters import AdapterRecord, add_lora, lora_parameters, save_adapter
from audioreason.engines.deltas import AdapterDeltas
from audioreason.engines.experts import LoraShape
from audioreason.engines.weights import Shards, load_frozen
from audioreason.train.data import Example


def adapter_of(model: Path, folder: Path, shape: LoraShape, spread: float) -> Path:
    """An adapter of a model with a delta worth noticing; `spread` is that of its factors."""
    trained = load_frozen(model)
    add_lora(trained, shape, "float32", seed=0)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in lora_parameters(trained).values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    record = AdapterRecord(base=model.name, fingerprint=Shards(model).fingerprint())
    save_adapter(trained, shape, folder, record)
    return folder


def deltas_of(adapter: Path, model: Path) -> AdapterDeltas:
    """What an adapter changes in a model."""
    return AdapterDeltas(adapter, Shards(model).shapes())


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
