"""Choosing the next token of many rows at once, each with its own settings and its own generator.

A row's choice depends on its logits, its settings and its seed alone, never on the rows beside it.
Knows nothing about models or text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Draw:
    """How one sequence is drawn, with vLLM's meanings; temperature 0 is greedy.

    top_k 0 or -1, top_p 1, min_p 0 and repetition_penalty 1 are off. `logprobs` is how many alternatives to
    report with each token; None reports nothing.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature < 1e-5


@dataclass(frozen=True)
class Picked:
    """A token, the logarithm of its probability under the model itself, and the likeliest tokens."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Chooser:
    """One sequence's settings, its random numbers, and the tokens it has seen (for the penalty)."""

    draw: Draw
    seen: set[int] = field(default_factory=set)
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        seed = self.draw.seed if self.draw.seed is not None else SystemRandom().getrandbits(63)
        self.random = Random(seed)


def pick(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[Picked]:
    """The next token of each row.

    Args:
        logits: (rows, vocabulary), any dtype and device; not changed.
        choosers: one per row; their random numbers and seen tokens advance.
    """
    import torch

    raw = logits.float()
    scores = _penalised(raw, choosers)
    tokens = scores.argmax(dim=-1)
    sampled = [row for row, chooser in enumerate(choosers) if not chooser.draw.greedy]
    if sampled:
        tokens[torch.tensor(sampled, device=tokens.device)] = _sample(
            scores[sampled], [choosers[row] for row in sampled]
        )
    chosen = tokens.tolist()
    for chooser, token in zip(choosers, chosen, strict=True):
        if chooser.draw.repetition_penalty != 1.0:
            chooser.seen.add(token)
    return _with_logprobs(raw, chosen, choosers)


def _penalised(raw: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    """Divide positive and multiply negative logits of seen tokens (CTRL, Keskar et al. 2019, section 4.1)."""
    import torch

    if all(chooser.draw.repetition_penalty == 1.0 for chooser in choosers):
        return raw
    scores = raw.clone()
    for row, chooser in enumerate(choosers):
        penalty = chooser.draw.repetition_penalty
        if penalty != 1.0 and chooser.seen:
            seen = torch.tensor(sorted(chooser.seen), device=raw.device)
            values = scores[row, seen]
            scores[row, seen] = torch.where(values > 0, values / penalty, values * penalty)
    return scores


def _sample(scores: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    """Inverse-transform sampling on what min-p, top-k and top-p leave, with one uniform number a row."""
    import torch

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=scores.device)[:, None]

    draws = [chooser.draw for chooser in choosers]
    ordered, index = (scores / column([draw.temperature for draw in draws])).sort(
        dim=-1, descending=True, stable=True
    )
    probabilities = ordered.softmax(dim=-1)
    rank = torch.arange(probabilities.shape[1], device=scores.device)[None, :]
    keep_k = column([draw.top_k if draw.top_k > 0 else probabilities.shape[1] for draw in draws])
    outside = (rank >= keep_k) | (
        probabilities < column([draw.min_p for draw in draws]) * probabilities[:, :1]
    )
    probabilities = probabilities.masked_fill(outside, 0.0)
    probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    outside = (before >= column([draw.top_p for draw in draws])) & (rank > 0)  # in vLLM's order: min_p, k, p
    probabilities = probabilities.masked_fill(outside, 0.0)
    total = probabilities.cumsum(dim=-1)
    point = column([chooser.random.random() for chooser in choosers]) * total[:, -1:]
    place = (total <= point).sum(dim=-1, keepdim=True)
    place = torch.minimum(place, (probabilities > 0).sum(dim=-1, keepdim=True) - 1)  # a sum that rounded down
    return index.gather(1, place)[:, 0]


def _with_logprobs(raw: torch.Tensor, chosen: list[int], choosers: Sequence[Chooser]) -> list[Picked]:
    wants = [chooser.draw.logprobs for chooser in choosers]
    if all(want is None for want in wants):
        return [Picked(token) for token in chosen]
    logs = raw.log_softmax(dim=-1)
    picked = []
    for row, (token, want) in enumerate(zip(chosen, wants, strict=True)):
        if want is None:
            picked.append(Picked(token))
            continue
        values, tokens = logs[row].topk(want) if want else (logs[row][:0], logs[row][:0])
        top = tuple((int(t), float(v)) for t, v in zip(tokens.tolist(), values.tolist(), strict=True))
        picked.append(Picked(token, float(logs[row, token]), top))
    return picked
