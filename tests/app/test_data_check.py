"""A large dataset is checked by a process of its own, which finds what the page would find itself."""

from __future__ import annotations

import pytest

from app.data.check import facts_elsewhere
from app.data.numbers import line
from audioreason.errors import LabError
from audioreason.items import validate
from audioreason.items.facts import Facts, facts
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset


def test_another_process_finds_the_same_numbers(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=5)
    next((data.root / "audio").iterdir()).write_bytes(b"no sound")
    clips: list[tuple[int, int]] = []
    early: list[Facts] = []
    hidden = frozenset({data.items[0].id})
    found = facts_elsewhere(
        workspace.root, "tiny", hidden, lambda *at: clips.append(at), lambda one: early.append(one)
    )
    assert found == facts(data, validate(data), hidden)
    assert clips[-1] == (5, 5)
    assert early[0].items == 5 and early[0].decoded == 0


def test_a_dataset_that_is_gone_is_said(workspace: Workspace) -> None:
    with pytest.raises(LabError, match="nowhere"):
        facts_elsewhere(workspace.root, "nowhere", frozenset(), lambda *_: None, lambda _: None)


def test_one_is_said_in_the_singular(tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=1)
    words = line(data, facts(data, validate(data)))
    assert "**1** :gray[item] " in words and "**1** :gray[clip] " in words
