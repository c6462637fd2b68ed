"""Experts in NF4: the definition is bitsandbytes', and gradients agree with an unquantised reference."""

from __future__ import annotations

import pytest
import torch

from audioreason.engines import nf4
from audioreason.engines.experts import AdaptedExperts, LoraShape, hold
from audioreason.engines.nf4 import BYTES_A_WEIGHT, NF4Weight, PlainWeight
from audioreason.errors import EngineError

EXPERTS, HIDDEN, WIDTH, RANK, TOKENS, CHOSEN = 6, 128, 64, 8, 50, 2


def drawn(*shape: int, seed: int = 0, scale: float = 0.05) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def test_codes_and_scales_equal_bitsandbytes() -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = drawn(5, 128, 192, seed=1)
    weight[0, 0] = 0.0  # blocks of zeros
    codes, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    ours = NF4Weight(weight)
    assert (ours.codes == codes.view(-1)).float().mean() > 0.9999
    assert (ours.scales == state.absmax).float().mean() > 0.99  # its CPU kernel misses the nearest at times
    assert (ours.scales.int() - state.absmax.int()).abs().max() <= 1
    ours.codes, ours.scales = codes.view(-1), state.absmax
    torch.testing.assert_close(
        ours.dense(torch.float32), functional.dequantize_4bit(codes, state), rtol=0, atol=1e-6
    )


def test_the_kernels_of_a_gpu_are_called_as_they_want_it() -> None:
    """bitsandbytes runs the same calls on a CPU, so that the road a GPU takes is driven here too."""
    pytest.importorskip("bitsandbytes.functional")
    weight = drawn(4, 128, 192, seed=1)
    held = NF4Weight(weight)
    for name, part in zip(
        ("codes", "scales", "scales_of_scales", "offset"), nf4._quantise_gpu(weight), strict=True
    ):
        assert part.shape == getattr(held, name).shape
        assert part.dtype == getattr(held, name).dtype
    torch.testing.assert_close(
        nf4._dequantise_gpu(held, torch.float32), held.dense(torch.float32), rtol=0, atol=1e-6
    )


def test_four_bits_stay_near_the_weight_and_take_an_eighth_of_the_room() -> None:
    weight = drawn(4, 256, 256)
    held = NF4Weight(weight)
    error = (held.dense(torch.float32) - weight).norm() / weight.norm()
    assert error < 0.1  # a normal weight loses about 9% of its norm
    stored = sum(buffer.numel() * buffer.element_size() for buffer in held.buffers())
    assert stored == pytest.approx(weight.numel() * BYTES_A_WEIGHT, rel=0.001)


def test_a_weight_that_does_not_divide_is_refused() -> None:
    with pytest.raises(EngineError, match="divide by 64"):
        NF4Weight(torch.zeros(3, 5))


class Reference(torch.nn.Module):
    """The same mathematics, expert by expert in float32, deltas added into the weights."""

    def __init__(self, ours: AdaptedExperts) -> None:
        super().__init__()
        self.weights = {part: getattr(ours, part).dense(torch.float32) for part in ("gate_up", "down")}
        self.scale = ours.scale
        self.factors = torch.nn.ParameterDict(
            {name: parameter.detach().float().clone() for name, parameter in ours.named_parameters()}
        )

    def forward(self, x: torch.Tensor, index: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        full = {
            part: self.weights[part] + self.scale * self.factors[f"{part}_b"] @ self.factors[f"{part}_a"]
            for part in self.weights
        }
        rows = []
        for token in range(len(x)):
            total = torch.zeros_like(x[0])
            for slot in range(index.shape[1]):
                expert = int(index[token, slot])
                gate, up = (full["gate_up"][expert] @ x[token]).chunk(2)
                inner = torch.nn.functional.silu(gate) * up
                total = total + weights[token, slot] * (full["down"][expert] @ inner)
            rows.append(total)
        return torch.stack(rows)


@pytest.mark.parametrize("quantize", [None, "nf4"])
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
def test_gradients_agree_with_an_unquantised_reference(
    quantize: str | None, dtype: torch.dtype, allowed: float
) -> None:
    compare(RANK, quantize, dtype, allowed)


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01), (torch.float16, 0.002)]
)
def test_a_rank_that_grouped_products_do_not_take_gives_the_same(
    rank: int, dtype: torch.dtype, allowed: float
) -> None:
    compare(rank, None, dtype, allowed)


def compare(rank: int, quantize: str | None, dtype: torch.dtype, allowed: float) -> None:
    """Output and all gradients against the reference, within a relative error."""
    ours = AdaptedExperts(
        hold(drawn(EXPERTS, 2 * WIDTH, HIDDEN, seed=1).to(dtype), quantize),
        hold(drawn(EXPERTS, HIDDEN, WIDTH, seed=2).to(dtype), quantize),
    )
    ours.add_lora(LoraShape(rank, 2 * rank), dtype, torch.device("cpu"), torch.Generator().manual_seed(3))
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name.endswith("_b"):
                parameter.copy_(drawn(*parameter.shape, seed=4))
    reference = Reference(ours)
    x = drawn(TOKENS, HIDDEN, seed=5, scale=1.0).to(dtype)
    scores = drawn(TOKENS, EXPERTS - 1, seed=6, scale=1.0)  # the last expert is never chosen
    weights, index = scores.softmax(-1).topk(CHOSEN, dim=-1)
    weights = weights.to(dtype)
    direction = drawn(TOKENS, HIDDEN, seed=7, scale=1.0)

    def run(module: torch.nn.Module, kind: torch.dtype) -> dict[str, torch.Tensor]:
        inputs = x.to(kind, copy=True).requires_grad_(), weights.to(kind, copy=True).requires_grad_()
        out = module(inputs[0], index, inputs[1])
        (out.float() * direction).sum().backward()
        found = {"out": out.detach(), "x": inputs[0].grad, "weights": inputs[1].grad}
        named = {name.removeprefix("factors."): p.grad for name, p in module.named_parameters()}
        return {name: value.float() for name, value in {**found, **named}.items()}  # type: ignore[union-attr]

    mine, theirs = run(ours, dtype), run(reference, torch.float32)
    assert set(mine) == {"out", "x", "weights", "gate_up_a", "gate_up_b", "down_a", "down_b"}
    for name, value in theirs.items():
        assert mine[name].shape == value.shape
        error = ((mine[name] - value).norm() / value.norm()).item()
        assert error <= allowed, f"{name}: {error:.4f}"


def test_without_a_delta_the_module_equals_transformers_experts() -> None:
    from transformers import Qwen3OmniMoeThinkerConfig
    from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling

    text = {
        "num_experts": EXPERTS, "hidden_size": HIDDEN, "moe_intermediate_size": WIDTH, "hidden_act": "silu"
    }  # fmt: skip
    config = Qwen3OmniMoeThinkerConfig(text_config=text).text_config
    theirs = modeling.Qwen3OmniMoeThinkerTextExperts(config)
    with torch.no_grad():
        theirs.gate_up_proj.copy_(drawn(EXPERTS, 2 * WIDTH, HIDDEN, seed=1))
        theirs.down_proj.copy_(drawn(EXPERTS, HIDDEN, WIDTH, seed=2))
    ours = AdaptedExperts(PlainWeight(theirs.gate_up_proj.data), PlainWeight(theirs.down_proj.data))
    x = drawn(TOKENS, HIDDEN, seed=5, scale=1.0)
    weights, index = drawn(TOKENS, EXPERTS, seed=6, scale=1.0).softmax(-1).topk(CHOSEN, dim=-1)
    expected = theirs(x, index, weights).detach()
    with torch.no_grad():  # few experts: all of them on every token
        torch.testing.assert_close(ours(x, index, weights), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(x, index, weights), expected, rtol=1e-4, atol=1e-5)


def test_a_checkpointed_layer_keeps_its_weights_only_while_it_is_recomputed() -> None:
    from torch.utils.checkpoint import checkpoint

    weights = [hold(drawn(EXPERTS, *shape), "nf4") for shape in ((2 * WIDTH, HIDDEN), (HIDDEN, WIDTH))]
    ours = AdaptedExperts(*weights)
    ours.add_lora(LoraShape(RANK), torch.float32, torch.device("cpu"), torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(drawn(*parameter.shape, seed=9))
    scores, index = drawn(4, EXPERTS, seed=6).softmax(-1).topk(CHOSEN, dim=-1)
    gradients = []
    for checkpointed in (False, True):
        ours.checkpointed = checkpointed
        x = drawn(4, HIDDEN).requires_grad_()
        run = (x, index, scores)
        out = checkpoint(ours, *run, use_reentrant=False) if checkpointed else ours(*run)
        ours.zero_grad()
        out.square().sum().backward()
        assert ours.gate_up_a is not None
        gradients.append((x.grad, ours.gate_up_a.grad))
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_memory_of_frozen_weights_is_not_kept_for_the_backward() -> None:
    ours = AdaptedExperts(
        hold(drawn(EXPERTS, 2 * WIDTH, HIDDEN), "nf4"), hold(drawn(EXPERTS, HIDDEN, WIDTH), "nf4")
    )
    kept: list[int] = []
    x = drawn(4, HIDDEN).requires_grad_()
    weights, index = drawn(4, EXPERTS, seed=6).softmax(-1).topk(CHOSEN, dim=-1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        ours(x, index, weights)
    assert max(kept) < EXPERTS * HIDDEN * WIDTH
