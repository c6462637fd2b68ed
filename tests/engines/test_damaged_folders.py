"""A model or adapter folder that was half copied: one sentence that names it, whichever file is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audioreason.engines.launch import pocket_folder
from audioreason.engines.pocket import load_model
from audioreason.engines.tokens import ChatTokenizer
from audioreason.errors import EngineError


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The embedded model in a folder whose name has a space and a letter beyond ASCII."""
    folder = tmp_path / "mödel 1"
    shutil.copytree(pocket_folder(), folder)
    return folder


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model-00001-of-00002.safetensors", b""),
        ("model-00002-of-00002.safetensors", b"\x10" * 500),
        ("model.safetensors.index.json", b"{"),
        ("model.safetensors.index.json", b'{"weight_map": 5}'),
    ],
)
def test_damaged_weights_are_said_in_a_sentence(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        load_model(copied)
    assert str(copied) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]"])
def test_a_damaged_tokenizer_is_said_in_a_sentence(copied: Path, content: bytes) -> None:
    (copied / "tokenizer.json").write_bytes(content)
    with pytest.raises(EngineError, match="The tokenizer in"):
        ChatTokenizer.load(copied)
