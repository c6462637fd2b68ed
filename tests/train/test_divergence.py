"""The pull to the base: nothing while the adapter changes nothing, then the divergence as it is defined."""

from __future__ import annotations

from pathlib import Path

import torch
from training_examples import examples

from audioreason.engines.adapters import add_lora, lora_parameters, without_lora
from audioreason.engines.experts import LoraShape
from audioreason.engines.tokens import ChatTokenizer
from audioreason.engines.weights import load_frozen
from audioreason.train.data import prepare
from audioreason.train.forward import AnswerLoss, collate
from audioreason.workspace import Workspace


def test_the_pull_is_the_divergence_of_the_frozen_model_from_the_adapted_one(
    lab: Workspace, tiny: Path
) -> None:
    tokenizer = ChatTokenizer.load(tiny)
    model = load_frozen(tiny, "cpu", "float32", None, lambda done, total: None)
    add_lora(model, LoraShape(4, 8.0), "float32", 0)
    rows = prepare(examples()[:3], lab, tokenizer, longest=400).rows
    hidden = model.config.text_config.hidden_size
    heard = [torch.randn(sum(i == tokenizer.audio_pad for i in row.ids), hidden) * 0.1 for row in rows]
    batch = collate(rows, heard, hidden)

    plain = AnswerLoss(model, tokenizer.audio_pad).train()
    pulled = AnswerLoss(model, tokenizer.audio_pad, kl=0.5).train()
    assert torch.allclose(plain(batch), pulled(batch), atol=1e-3)

    with torch.no_grad():
        for factor in lora_parameters(model).values():
            factor += 0.05 * torch.randn(factor.shape, generator=torch.Generator().manual_seed(1))
    added = float((pulled(batch) - plain(batch)).detach())

    def distribution() -> torch.Tensor:
        embedded = model.model.embed_tokens(batch.ids)
        embedded[batch.ids == tokenizer.audio_pad] = batch.heard
        states = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return model.lm_head(states.flatten(0, 1)[batch.where]).double().log_softmax(-1)

    with torch.no_grad():
        here = distribution()
        with without_lora(model):
            there = distribution()
    expected = ((there.exp() * (there - here)).sum(-1) * batch.weights).sum()
    assert expected > 0.01
    assert abs(added - 0.5 * float(expected)) < 1e-3 * max(1.0, float(expected))
    assert torch.equal(plain.eval()(batch), pulled.eval()(batch))  # what is measured is the loss alone
    assert all(factor.requires_grad for factor in lora_parameters(model).values())
