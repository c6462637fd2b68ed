"""From rows to the loss: padded batches, transformers' forward with the clips put in, cross entropy on the
answers alone; a divergence from the frozen model if it is wanted.

Logits are made for answer tokens only, a piece at a time, and again in the backward: a vocabulary of 152,064
would take gigabytes otherwise. Knows nothing about optimisers or epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from audioreason.engines.adapters import without_lora
from audioreason.train.data import Row

_LOGITS = 1 << 27  # logits held at once


@dataclass(frozen=True)
class Batch:
    """Rows padded at the end to the longest of them, which causal attention makes harmless."""

    ids: torch.Tensor  # (rows, length) int64
    heard: torch.Tensor  # (audio tokens of all rows, hidden)
    where: torch.Tensor  # (answer tokens,) flat positions whose next token is the target
    targets: torch.Tensor  # (answer tokens,) int64
    weights: torch.Tensor  # (answer tokens,) float32

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **moved)


def collate(rows: Sequence[Row], heard: Sequence[torch.Tensor | None], hidden: int) -> Batch:
    """Put rows together; `heard` are their clips' embeddings in the same order."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    where: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        first = number * longest + row.prefix - 1
        where += range(first, first + row.targets)
        targets += row.ids[row.prefix :]
        weights += [row.weight] * row.targets
    present = [clip for clip in heard if clip is not None]
    return Batch(
        ids,
        torch.cat(present) if present else torch.zeros(0, hidden),
        torch.tensor(where),
        torch.tensor(targets),
        torch.tensor(weights),
    )


class AnswerLoss(torch.nn.Module):
    """A thinker whose forward is the loss of a batch.

    Args:
        model: made by `load_frozen`, with LoRA in it.
        audio_pad: the placeholder's token id.
        kl: weight of KL(frozen model || model), nats per answer token; it holds while training only.
    """

    def __init__(self, model: Any, audio_pad: int, kl: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.audio_pad = audio_pad
        self.kl = kl
        self._piece = max(1, _LOGITS // int(model.config.text_config.vocab_size))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Sum over answer tokens of weight times (cross entropy + kl times divergence), float32."""
        text = self.model.model
        embedded = text.embed_tokens(batch.ids).detach()
        if len(batch.heard):
            embedded[batch.ids == self.audio_pad] = batch.heard.to(embedded.dtype)
        states = text(inputs_embeds=embedded, use_cache=False).last_hidden_state
        chosen = states.flatten(0, 1)[batch.where]  # (answer tokens, hidden)
        frozen = self._frozen(embedded, batch.where) if self.kl and self.training else None
        total = torch.zeros((), device=chosen.device)
        columns = [chosen, batch.targets, batch.weights, *([] if frozen is None else [frozen])]
        pieces = zip(
            *(torch.split(each, self._piece) for each in columns),
            strict=True,
        )
        for piece in pieces:
            total = total + checkpoint(self._loss, *piece, use_reentrant=False)
        return total

    def _frozen(self, embedded: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """(answer tokens, hidden) of the model without its adapter."""
        with torch.no_grad(), without_lora(self.model):
            states = self.model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        chosen: torch.Tensor = states.flatten(0, 1)[where]
        return chosen

    def _loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        frozen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        logits = self.model.lm_head(states).float()
        loss = functional.cross_entropy(logits, targets, reduction="none")
        if frozen is not None:
            with torch.no_grad():
                wanted = functional.log_softmax(self.model.lm_head(frozen).float(), dim=-1)
            here = functional.log_softmax(logits, dim=-1)
            pull = functional.kl_div(here, wanted, reduction="none", log_target=True).sum(-1)
            loss = loss + self.kl * pull
        return (loss * weights).sum()
