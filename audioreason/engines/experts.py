"""A thinker's experts as training and 4-bit serving need them: frozen weights, in NF4 or as they are, with
LoRA deltas on top.

transformers keeps a layer's experts in two tensors of three dimensions, which neither bitsandbytes quantises
nor peft adapts together. `AdaptedExperts` takes their place, with the same arguments. Tokens are sorted by
expert and every product is one grouped matrix multiplication. The frozen product is an autograd function of
its own: it makes the layer's weights from 4 bits for the moment of the product, makes them again for the
gradient of its input, and has no gradient for the weight. Knows nothing about files or recipes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from audioreason.engines.nf4 import NF4Weight, PlainWeight, Weight

_DENSE_EXPERTS = 8  # up to this many, computing all of them beats sorting tokens
_ALIGNMENT = 16  # bytes at which `grouped_mm` wants rows to begin


@dataclass(frozen=True)
class LoraShape:
    """LoRA's rank r and alpha; a delta is `alpha / r * B @ A` (Hu et al. 2021, section 4.1)."""

    rank: int = 64
    alpha: float = 128.0
    attention: bool = True
    experts: bool = True

    @property
    def scale(self) -> float:
        """What multiplies `B @ A`."""
        return self.alpha / self.rank


class AdaptedLinear(torch.nn.Module):
    """A frozen linear layer with a delta on top that is not trained.

    Args:
        base: the layer.
        a: (r, in).
        b: (out, r), already scaled.
    """

    def __init__(self, base: torch.nn.Linear, a: torch.Tensor, b: torch.Tensor) -> None:
        super().__init__()
        self.base = base
        self.a = torch.nn.Parameter(a, requires_grad=False)
        self.b = torch.nn.Parameter(b, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        out: torch.Tensor = self.base(x)
        return out + functional.linear(functional.linear(x, self.a), self.b)


class AdaptedExperts(torch.nn.Module):
    """All experts of one layer.

    Args:
        gate_up: frozen (experts, 2 * width, hidden).
        down: frozen (experts, hidden, width).
    """

    def __init__(self, gate_up: Weight, down: Weight) -> None:
        super().__init__()
        self.num_experts, self.hidden_dim, self.intermediate_dim = down.shape
        self.gate_up = gate_up
        self.down = down
        self.scale = 0.0
        self.checkpointed = False  # set by whoever recomputes this layer in the backward
        self.adapted = True  # False computes as if there were no delta
        self.gate_up_a: torch.nn.Parameter | None = None  # (experts, rank, hidden)
        self.gate_up_b: torch.nn.Parameter | None = None  # (experts, 2 * width, rank)
        self.down_a: torch.nn.Parameter | None = None  # (experts, rank, width)
        self.down_b: torch.nn.Parameter | None = None  # (experts, hidden, rank)

    def add_lora(
        self, shape: LoraShape, dtype: torch.dtype, device: torch.device, generator: torch.Generator
    ) -> None:
        """Begin a delta that is zero: A uniform as peft draws it (Kaiming, a = sqrt 5), B zero.

        Args:
            shape: rank and alpha.
            dtype: of the factors.
            device: where they live.
            generator: on the CPU, so that every device begins alike.
        """
        self.scale = shape.scale
        for part, weight in (("gate_up", self.gate_up), ("down", self.down)):
            experts, out, inside = weight.shape
            bound = 1 / math.sqrt(inside)
            a = torch.empty(experts, shape.rank, inside).uniform_(-bound, bound, generator=generator)
            b = torch.zeros(experts, out, shape.rank, dtype=dtype, device=device)
            setattr(self, f"{part}_a", torch.nn.Parameter(a.to(device, dtype)))
            setattr(self, f"{part}_b", torch.nn.Parameter(b))

    def set_lora(self, part: str, a: torch.Tensor, b: torch.Tensor) -> None:
        """Use a delta that is not trained: `B @ A`, already scaled, on `part` ("gate_up" or "down").

        Args:
            part: which projection.
            a: (experts, rank, in).
            b: (experts, out, rank).
        """
        self.scale = 1.0
        setattr(self, f"{part}_a", torch.nn.Parameter(a, requires_grad=False))
        setattr(self, f"{part}_b", torch.nn.Parameter(b, requires_grad=False))

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """(tokens, hidden) to the same; `top_k_index` and `top_k_weights` (tokens, k) say who computes."""
        if self.num_experts <= _DENSE_EXPERTS and not torch.is_grad_enabled():
            return self._dense(hidden_states, top_k_index, top_k_weights)
        tokens, k = top_k_index.shape
        chosen = top_k_index.reshape(-1)
        order = chosen.argsort(stable=True)  # (tokens * k,) pairs of token and expert, sorted by expert
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        numbers = torch.arange(self.num_experts, device=chosen.device)
        ends = torch.searchsorted(chosen[order], numbers, right=True).to(torch.int32)
        # rows, inner, out: (tokens * k, hidden), (tokens * k, width), (tokens * k, hidden)
        rows = _Spread.apply(hidden_states, order, place, k)  # type: ignore[no-untyped-call]
        gate, up = self._product(rows, self.gate_up, self.gate_up_a, self.gate_up_b, ends).chunk(2, dim=-1)
        out = self._product(functional.silu(gate) * up, self.down, self.down_a, self.down_b, ends)
        out = _Reorder.apply(out, place, order).view(tokens, k, -1)  # type: ignore[no-untyped-call]
        return torch.bmm(top_k_weights.to(out.dtype)[:, None], out)[:, 0]

    def _dense(self, x: torch.Tensor, index: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Every expert on every token: faster for few experts, and a token's sums never depend on company."""
        share = x.new_zeros(len(x), self.num_experts).scatter(1, index, weights.to(x.dtype))
        inner = functional.linear(x, self.gate_up.dense(x.dtype).flatten(0, 1))
        inner = inner.view(len(x), self.num_experts, -1)
        if self.adapted and self.gate_up_a is not None and self.gate_up_b is not None:
            small = torch.einsum("th,erh->ter", x, self.gate_up_a.to(x.dtype)) * self.scale
            inner = inner + torch.einsum("ter,eor->teo", small, self.gate_up_b.to(x.dtype))
        gate, up = inner.chunk(2, dim=-1)
        inner = functional.silu(gate) * up * share[..., None]  # (tokens, experts, width)
        out = functional.linear(inner.flatten(1), self.down.dense(x.dtype).transpose(0, 1).flatten(1))
        if self.adapted and self.down_a is not None and self.down_b is not None:
            small = torch.einsum("tew,erw->ter", inner, self.down_a.to(x.dtype)) * self.scale
            out = out + torch.einsum("ter,ehr->th", small, self.down_b.to(x.dtype))
        return out

    def _product(
        self,
        x: torch.Tensor,
        weight: Weight,
        a: torch.nn.Parameter | None,
        b: torch.nn.Parameter | None,
        ends: torch.Tensor,
    ) -> torch.Tensor:
        frozen: torch.Tensor = _FrozenProduct.apply(x, weight, ends, self.checkpointed)  # type: ignore[no-untyped-call]
        if a is None or b is None or not self.adapted:
            return frozen
        left, right = _aligned(a.to(x.dtype), b.to(x.dtype))
        small = functional.grouped_mm(x, left.transpose(1, 2), offs=ends) * self.scale
        return frozen + functional.grouped_mm(small, right.transpose(1, 2), offs=ends)


def _aligned(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors (experts, rank, in) and (experts, out, rank) whose rank fills whole pieces of 16 bytes.

    `grouped_mm` wants rows to begin at multiples of 16 bytes. Zeros fill what is missing: they add nothing
    to `B @ A`, and their gradient is cut off again. A rank that fits is returned as it is.
    """
    missing = -a.shape[1] % (_ALIGNMENT // a.element_size())
    if not missing:
        return a, b
    return functional.pad(a, (0, 0, 0, missing)), functional.pad(b, (0, missing))


class _FrozenProduct(torch.autograd.Function):
    """x (rows, in) with frozen weights (experts, out, in); rows of expert e end at `ends[e]`.

    Under checkpointing the layer is computed again just before its backward, which has then just made the
    weights from 4 bits: they are kept for those milliseconds instead of being made a third time.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: Weight, ends: torch.Tensor, checkpointed: bool
    ) -> torch.Tensor:
        dense = weight.dense(x.dtype)
        ctx.weight = weight
        ctx.save_for_backward(ends, *([dense] if checkpointed else []))
        return functional.grouped_mm(x, dense.transpose(1, 2), offs=ends)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        ends, *kept = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        dense = kept[0] if kept else ctx.weight.dense(gradient.dtype)
        return functional.grouped_mm(gradient, dense, offs=ends), None, None, None


class _Spread(torch.autograd.Function):
    """Each token's row once for each of its experts, sorted by expert; the gradient is a plain sum."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, order: torch.Tensor, place: torch.Tensor, k: int) -> torch.Tensor:
        ctx.save_for_backward(place)
        ctx.k = k
        return x[order // k]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (place,) = ctx.saved_tensors
        gradient = gradients[0]
        return gradient[place].view(-1, ctx.k, gradient.shape[-1]).sum(1), None, None, None


class _Reorder(torch.autograd.Function):
    """Rows in another order; `back` is its inverse, by which the gradient returns without adding up."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, order: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        return x[order]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return gradients[0][back], None, None


def hold(weight: torch.Tensor, quantize: str | None) -> Weight:
    """A frozen weight in NF4 (`quantize` is "nf4"), or as it is (None)."""
    return NF4Weight(weight) if quantize == "nf4" else PlainWeight(weight)


def adapted_layers(model: Any) -> list[tuple[int, AdaptedExperts]]:
    """Number and experts of each layer that has `AdaptedExperts`."""
    return [
        (number, layer.mlp.experts)
        for number, layer in enumerate(model.model.layers)
        if isinstance(getattr(layer.mlp, "experts", None), AdaptedExperts)
    ]
