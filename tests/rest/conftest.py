"""A model, items and a server by rule for the tests of the loop; each test has an experiment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_lab import build_items, build_tiny, half_right

from audioreason.items import load_dataset
from audioreason.workspace import Workspace
from tests.servers import FakeServer


@pytest.fixture(autouse=True)
def train_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in the test's own process: a child takes seconds to import torch.

    The tests of `jobs` and `train` have real children.
    """
    from audioreason.train import distributed
    from audioreason.train.loop import train
    from audioreason.train.recipe import Trained

    def train_on(processes: int, *given: Any, wait_seconds: float, **more: Any) -> Trained:
        return train(*given, **more)

    monkeypatch.setattr(distributed, "train_on", train_on)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One for all tests, because the guard's fingerprints take a while; each has an experiment of its own."""
    made = Workspace.open(tmp_path_factory.mktemp("lab"))
    build_items(made)
    return made


@pytest.fixture
def server(workspace: Workspace) -> Iterator[FakeServer]:
    items = load_dataset(workspace, "tiny").items
    gold = {item.question: item.answer for item in items}
    wrong = {item.question: next(c for c in item.choices if c != item.answer) for item in items}
    with FakeServer(half_right(gold, wrong), check_model=False) as running:
        yield running
