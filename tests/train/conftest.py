"""A thinker small enough to train in seconds, and data for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_examples import examples, tune

from audioreason.engines.pocket import PocketShape, build_model, pocket_config, save_folder
from audioreason.engines.tokens import ChatTokenizer, train_tokenizer
from audioreason.items import DatasetInfo, Item, save_dataset, wav_bytes
from audioreason.train.data import write_examples
from audioreason.workspace import Workspace

TEXTS = [
    "How many tones are in the clip?",
    "<think>one two</think>\nANSWER: one",
    "system user assistant three four",
]


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_model(seed, hidden)`: a model folder with random weights."""

    def make(seed: int = 3, hidden: int = 64) -> Path:
        shape = PocketShape(
            hidden=hidden, layers=2, heads=4, kv_heads=2, head_dim=16, expert_width=32, audio_width=32,
            audio_layers=2, audio_heads=2, audio_feedforward=64, downsample=8, context=512,
        )  # fmt: skip
        tokenizer = ChatTokenizer(train_tokenizer(TEXTS * 20, 330))
        config = pocket_config(shape, tokenizer)
        model = build_model(config, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn(parameter.shape, generator=generator) * 0.1
        made = tmp_path_factory.mktemp("models") / f"tiny-{seed}-{hidden}"
        save_folder(model, config, tokenizer, made)
        return made

    return make


@pytest.fixture(scope="session")
def tiny(make_model: Callable[..., Path]) -> Path:
    return make_model()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with 12 items; one for all tests, because the guard's fingerprints take a while."""
    workspace = Workspace.open(tmp_path_factory.mktemp("lab"))
    root = workspace.datasets / "tones"
    (root / "audio").mkdir(parents=True)
    items = []
    for index in range(12):
        (root / "audio" / f"{index}.wav").write_bytes(wav_bytes(tune(index)))
        items.append(
            Item(
                id=f"tones-{index}",
                question="How many tones are in the clip?",
                choices=("one", "two", "three", "four"),
                answer="one",
                audio_path=f"audio/{index}.wav",
                modality="sound",
            )
        )
    save_dataset(root, DatasetInfo(name="tones", kind="own"), items, workspace.cache)
    return workspace


@pytest.fixture(scope="session")
def training_file(lab: Workspace) -> Path:
    path = lab.root / "train.jsonl"
    write_examples(path, examples())
    return path
