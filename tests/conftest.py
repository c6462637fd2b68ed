"""Fixtures that every room may use: a workspace, a tiny dataset with real clips, MMAR's files if present."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from audioreason.items import Dataset, DatasetInfo, Item, save_dataset, wav_bytes
from audioreason.items.schema import Kind
from audioreason.workspace import Workspace

_MMAR = Path(__file__).resolve().parents[2] / "shared" / "mmar"
_REAL = {"jobs", "browser", "packaging"}  # folders of tests that wait for other processes
_LAYERS = (("Signal Layer", "Counting"), ("Semantic Layer", "Speaker Analysis"), ("Cultural Layer", "Style"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace of this test alone."""
    return Workspace.open(tmp_path / "workspace")


class TinyDataset(Protocol):
    """Builds a dataset in the workspace; see the fixture `tiny_dataset`."""

    def __call__(
        self, name: str = "tiny", n: int = 8, kind: Kind = "own", clips: bool = True, seed: int = 0
    ) -> Dataset: ...


@pytest.fixture
def tiny_dataset(workspace: Workspace) -> TinyDataset:
    """`tiny_dataset(name, n, kind, clips, seed)`: n four-choice items, each with its own 0.6 s melody."""

    def build(
        name: str = "tiny", n: int = 8, kind: Kind = "own", clips: bool = True, seed: int = 0
    ) -> Dataset:
        root = workspace.datasets / name
        items = []
        for index in range(n):
            layer, subcategory = _LAYERS[index % len(_LAYERS)]
            choices = ("one", "two", "three", "four")
            items.append(
                Item(
                    id=f"{name}-{index:03d}",
                    question=f"How many tones are in clip {index}?",
                    choices=choices,
                    answer=choices[index % 4],
                    audio_path=f"audio/{index:03d}.wav" if clips else None,
                    modality="sound",
                    layer=layer,
                    subcategory=subcategory,
                    language="en",
                )
            )
            if clips:
                (root / "audio").mkdir(parents=True, exist_ok=True)
                (root / "audio" / f"{index:03d}.wav").write_bytes(wav_bytes(melody(seed * 10_000 + index)))
        return save_dataset(root, DatasetInfo(name=name, kind=kind), items, workspace.cache)

    return build


def melody(seed: int, seconds: float = 0.6, sr: int = 16_000) -> np.ndarray:
    """Notes of random pitch and length over faint noise, float32 (samples,); each seed its own."""
    random = np.random.default_rng(seed)
    samples = random.normal(0, 0.005, int(seconds * sr))
    start = 0
    while start < len(samples):
        length = int(random.uniform(0.08, 0.3) * sr)
        time = np.arange(min(length, len(samples) - start)) / sr  # seconds
        pitch = random.uniform(200, 3000)
        note = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3))
        samples[start : start + length] += 0.2 * note * np.exp(-4 * time)
        start += length
    return samples.astype(np.float32)


@pytest.fixture(scope="session")
def mmar_meta() -> Path:
    """MMAR's metadata file (1,000 items); skips where it is absent."""
    return _shared("MMAR-meta.jsonl")


@pytest.fixture(scope="session")
def mmar_traces() -> Path:
    """500 real predictions on MMAR; skips where they are absent."""
    return _shared("traces-500.jsonl")


def _shared(name: str) -> Path:
    path = _MMAR / name
    if not path.is_file():
        pytest.skip(f"{path} is not here: MMAR's files are not part of the project")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser's tests last: while a browser is held, this thread has a running event loop.

    What starts real processes or a real browser gets one second try, because a busy machine may take longer
    than any patience. The summary names each that needed it (`-rR`): look at them, a race is a fault.
    """
    items.sort(key=lambda item: "browser" in item.path.parts)
    for item in items:
        if _REAL & set(item.path.parts):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))
