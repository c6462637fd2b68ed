"""The batched mathematics give transformers' numbers, and folders load the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from engine_clips import noise
from safetensors import safe_open

from audioreason.engines import thinker
from audioreason.engines.features import log_mel_batch
from audioreason.engines.pocket import load_model
from audioreason.engines.tokens import ChatTokenizer, Turn
from audioreason.errors import EngineError


def test_logits_equal_transformers_for_clips_and_texts_of_different_length(folder: Path) -> None:
    model = load_model(folder)
    tokenizer = ChatTokenizer.load(folder)
    features, frames = log_mel_batch([noise(s, int(s)) for s in (2.5, 3.27, 6.0)])
    heard, counts = thinker.hear(model.audio_tower, features, frames)
    lengths = torch.tensor(frames)
    rows = [
        tokenizer.conversation([Turn("system", ("Hi",)), Turn("user", (None, "how many?" * n))], [count])
        for n, count in enumerate(counts, start=1)
    ]
    longest = max(map(len, rows))
    ids = torch.full((3, longest), tokenizer.end_of_text)
    mask = torch.zeros(3, longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    frame_mask = (torch.arange(features.shape[2])[None] < lengths[:, None]).long()
    expected = model(
        input_ids=ids, attention_mask=mask, input_features=features, feature_attention_mask=frame_mask
    ).logits
    embedded = model.model.embed_tokens(ids)
    for number, count in enumerate(counts):
        embedded[number][ids[number] == tokenizer.audio_pad] = heard[number, :count]
    states, _ = thinker.read(model.model, embedded)
    found = model.lm_head(states)
    for number, row in enumerate(rows):
        torch.testing.assert_close(
            found[number, : len(row)], expected[number, : len(row)], atol=2e-4, rtol=1e-4
        )


def test_reading_in_two_pieces_and_a_step_equals_reading_at_once(folder: Path) -> None:
    model = load_model(folder)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 20, 64, generator=generator)
    whole, _ = thinker.read(model.model, x)
    _, past = thinker.read(model.model, x[:, :7], keep=True)
    _, past = thinker.read(model.model, x[:, 7:19], past=past, keep=True)
    cache = [
        thinker.KeysValues(
            torch.zeros(4, 2, 64, 16).index_copy(2, torch.arange(19), layer.keys.expand(4, -1, -1, -1)),
            torch.zeros(4, 2, 64, 16).index_copy(2, torch.arange(19), layer.values.expand(4, -1, -1, -1)),
        )
        for layer in past
    ]
    last = thinker.step(model.model, x[:, 19].expand(4, -1), torch.full((4,), 19), cache, 64)
    torch.testing.assert_close(last, whole[:, 19].expand(4, -1), atol=1e-5, rtol=1e-5)


def test_the_folder_has_the_published_layout(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["Qwen3OmniMoeForConditionalGeneration"]
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert all(name.startswith("thinker.") for name in index)
    assert "thinker.model.layers.0.mlp.experts.3.down_proj.weight" in index
    with safe_open(folder / index["thinker.lm_head.weight"], "pt") as weights:
        assert weights.get_tensor("thinker.lm_head.weight").dtype == torch.bfloat16
    assert not any(layer.mlp.gate.weight.abs().max() == 0 for layer in load_model(folder).model.layers)


def test_a_folder_without_a_model_is_refused_in_one_sentence(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(EngineError, match=r"config\.json is missing"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_model(tmp_path)
