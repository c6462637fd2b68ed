"""The recipe learns, survives an interruption, and leaves a folder that everything loads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audioreason.engines.local import LocalEngine
from audioreason.engines.pocket import PocketShape
from audioreason.engines.samples import Request
from audioreason.engines.sampling import Draw
from audioreason.engines.tokens import ChatTokenizer, Turn, save_tokenizer, train_tokenizer
from audioreason.train._pocket_data import Plan, corpus, make_batch
from audioreason.train._pocket_prompts import shipped_prompts
from audioreason.train.pocket import Recipe, train

FAMILIES = ("order", "odd_one_out")
SMALL = Recipe(
    shape=PocketShape(
        vocab=480, hidden=64, layers=2, head_dim=16, expert_width=64, audio_width=64, audio_layers=1,
        audio_heads=2, audio_feedforward=128, downsample=8, context=2048,
    ),
    minutes=5, steps=60, clips=6, parts=2, workers=1, peak=3e-3, warmup=5, validate=1, families=FAMILIES,
    report=20,
)  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    texts = corpus(FAMILIES, shipped_prompts(), 1, 2)
    save_tokenizer(train_tokenizer(texts, 400), tmp_path, 512)
    return Plan(tmp_path, FAMILIES, 7, 4, 0, 1, 0)


def test_a_batch_is_always_the_same_and_asks_twice_about_each_clip(plan: Plan) -> None:
    tokenizer, prompts = ChatTokenizer.load(plan.tokenizer), shipped_prompts()
    first, again = (make_batch(plan, 3, tokenizer, prompts) for _ in range(2))
    other = make_batch(plan, 4, tokenizer, prompts)
    assert np.array_equal(first.sound, again.sound)
    assert first.frames == again.frames
    assert [row.ids.tolist() for row in first.rows] == [row.ids.tolist() for row in again.rows]
    assert [row.ids.tolist() for row in first.rows] != [row.ids.tolist() for row in other.rows]
    assert [row.clip for row in first.rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    for row in first.rows:
        answer = tokenizer.decode(row.ids[row.prefix :].tolist())
        assert answer.strip()
        assert row.ids[-1] == tokenizer.im_end
        assert tokenizer.decode(row.ids[: row.prefix].tolist()).endswith("assistant\n")


@pytest.mark.slow
def test_training_lowers_the_loss_resumes_and_leaves_a_folder_that_answers(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    out = tmp_path / "pocket"
    train(out, replace(SMALL, steps=40, validate=0))
    train(out, SMALL, resume=True)
    lines = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    losses = [line["explained"] for line in lines if "explained" in line]
    assert [line["step"] for line in lines if "explained" in line] == [20, 40, 60]
    assert losses[-1] < 0.75 * losses[0]
    assert {"direct", "structured"} <= set(lines[-1]["validation"])
    with LocalEngine(out, device="cpu") as engine:
        request = Request(
            (Turn("user", (None, "Which comes first?")),),
            (np.zeros(16_000, np.float32),),
            Draw(temperature=0, max_tokens=5),
        )
        assert engine.generate([request])[0][0].tokens
