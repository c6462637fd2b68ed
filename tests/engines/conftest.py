"""A thinker with random weights in a real folder: small, deterministic, and as talkative as a trained one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from audioreason.engines.local import LocalEngine
from audioreason.engines.pocket import PocketShape, build_model, pocket_config, save_folder
from audioreason.engines.tokens import ChatTokenizer, train_tokenizer

SHAPE = PocketShape(
    hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, expert_width=32, audio_width=32, audio_layers=2,
    audio_heads=2, audio_feedforward=64, downsample=8, context=512,
)  # fmt: skip
TEXTS = [
    "How many beeps are in the clip?",
    "HEARD: 0.4-0.9s beep\nANALYSIS: one\nANSWER: one",
    "system user assistant",
]


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = ChatTokenizer(train_tokenizer(TEXTS * 20, 330))
    config = pocket_config(SHAPE, tokenizer)
    model = build_model(config, seed=3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.15
    made = tmp_path_factory.mktemp("models") / "tiny-listener"
    save_folder(model, config, tokenizer, made)
    return made


@pytest.fixture(scope="session")
def engine(folder: Path):  # type: ignore[no-untyped-def]
    with LocalEngine(folder, device="cpu") as running:
        yield running
