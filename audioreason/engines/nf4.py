"""NF4: weights in 4 bits, as bitsandbytes defines them, on any device.

Blocks of 64 values share a scale; a value becomes the nearest of 16 levels, which are quantiles of a normal
distribution (QLoRA, Dettmers et al. 2023, section 3 and appendix E). The scales themselves are stored in 8
bits ("double quantisation"), in blocks of 256 on a dynamic-exponent scale: 4.13 bits a weight in all. On a
GPU bitsandbytes' kernels do the work; on a CPU the same definition is a few lines of torch. Knows nothing
about models.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from audioreason.errors import EngineError

BLOCK = 64  # values that share a scale
SCALE_BLOCK = 256  # scales that share a scale of scales
BYTES_A_WEIGHT = 0.5 + 1 / BLOCK + 4 / (BLOCK * SCALE_BLOCK)

# QLoRA, appendix E; the same digits as bitsandbytes
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
    1.0,
)  # fmt: skip


class NF4Weight(torch.nn.Module):
    """A weight of any shape held in NF4; it is a module only so that its buffers move with a model.

    Args:
        weight: what to hold, in 16 or 32 bits; the number of values must divide by 64.

    Raises:
        EngineError: if it does not, or bitsandbytes is missing on a GPU.
    """

    codes: torch.Tensor  # (values / 2,) uint8; the first of two values is in the high bits
    scales: torch.Tensor  # (values / 64,) uint8
    scales_of_scales: torch.Tensor  # (values / 64 / 256, rounded up) float32
    offset: torch.Tensor  # () float32, the mean scale, which was subtracted

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        if weight.numel() % BLOCK:
            raise EngineError(
                f"A weight of shape {tuple(weight.shape)} cannot be held in NF4.",
                f"The number of its values must divide by {BLOCK}.",
            )
        self.shape = tuple(weight.shape)
        parts = _quantise_gpu(weight) if weight.is_cuda else _quantise(weight)
        for name, part in zip(("codes", "scales", "scales_of_scales", "offset"), parts, strict=True):
            self.register_buffer(name, part, persistent=False)

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight again, in `dtype` and its own shape, with the error that 4 bits leave."""
        if self.codes.is_cuda:
            return _dequantise_gpu(self, dtype)
        table = _scale_levels().to(self.codes.device)
        coarse = self.scales_of_scales.repeat_interleave(SCALE_BLOCK)[: len(self.scales)]
        scales = table[self.scales.int()] * coarse + self.offset
        pairs = _pairs().to(self.codes.device)[self.codes.int()]  # (values / 2, 2)
        return (pairs.view(-1, BLOCK) * scales[:, None]).to(dtype).view(self.shape)


class PlainWeight(torch.nn.Module):
    """A weight held as it is, with `NF4Weight`'s interface."""

    values: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        self.register_buffer("values", weight, persistent=False)

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight in `dtype`; no copy if it has it already."""
        return self.values.to(dtype)


Weight = NF4Weight | PlainWeight


def _quantise(weight: torch.Tensor) -> Sequence[torch.Tensor]:
    blocks = weight.detach().reshape(-1, BLOCK).float()
    largest = blocks.abs().amax(dim=1)
    scaled = blocks * (1.0 / largest.clamp(min=1e-38))[:, None]  # an empty block stays zero
    levels = torch.tensor(LEVELS, device=weight.device)
    nearest = torch.bucketize(scaled.clamp(-1, 1), (levels[1:] + levels[:-1]) / 2, out_int32=True)
    codes = nearest.to(torch.uint8).view(-1, 2)
    offset = largest.mean()
    padded = torch.nn.functional.pad(largest - offset, (0, -len(largest) % SCALE_BLOCK))
    coarse = padded.view(-1, SCALE_BLOCK).abs().amax(dim=1)
    fine = (padded.view(-1, SCALE_BLOCK) / coarse.clamp(min=1e-38)[:, None]).clamp(-1, 1).view(-1)
    table = _scale_levels().to(weight.device)
    scales = torch.bucketize(fine[: len(largest)].contiguous(), (table[1:] + table[:-1]) / 2)
    return (codes[:, 0] << 4) | codes[:, 1], scales.to(torch.uint8), coarse, offset


@functools.cache
def _pairs() -> torch.Tensor:
    """The two levels that each byte of codes stands for: (256, 2)."""
    levels = torch.tensor(LEVELS)
    byte = torch.arange(256)
    return torch.stack((levels[byte >> 4], levels[byte & 15]), dim=1)


@functools.cache
def _scale_levels() -> torch.Tensor:
    """The 256 levels of the dynamic 8-bit type: a sign, 0 to 6 exponent bits, the rest a linear fraction.

    8-Bit Approximations for Parallelism in Deep Learning (Dettmers, 2016), section 2.2; the same numbers as
    bitsandbytes' `create_dynamic_map`.
    """
    found = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1.0, 2**exponent + 1)
        means = (edges[1:] + edges[:-1]) / 2
        scaled = (10 ** (exponent - 6) * means).tolist()
        found += [*scaled, *(-value for value in scaled)]
    return torch.tensor(sorted(found))


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes.functional
    except ImportError as error:
        raise EngineError(
            "NF4 on a GPU needs bitsandbytes, which is not installed.",
            'Install it with: pip install "audioreason[train]"',
        ) from error
    return bitsandbytes.functional


def _quantise_gpu(weight: torch.Tensor) -> Sequence[torch.Tensor]:
    functional = _bitsandbytes()
    codes, state = functional.quantize_4bit(
        weight.detach().contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
    )
    return codes.view(-1), state.absmax, state.state2.absmax, state.offset


def _dequantise_gpu(weight: NF4Weight, dtype: torch.dtype) -> torch.Tensor:
    functional = _bitsandbytes()
    coarse = functional.QuantState(
        absmax=weight.scales_of_scales,
        code=_scale_levels_on(weight.codes.device),
        blocksize=SCALE_BLOCK,
        dtype=torch.float32,
    )
    state = functional.QuantState(
        absmax=weight.scales,
        shape=torch.Size((math.prod(weight.shape),)),
        code=_levels_on(weight.codes.device),
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=dtype,
        offset=weight.offset,
        state2=coarse,
    )
    dense: torch.Tensor = functional.dequantize_4bit(weight.codes.view(-1, 1), state)
    return dense.view(weight.shape)


@functools.lru_cache(maxsize=8)
def _scale_levels_on(device: torch.device) -> torch.Tensor:
    return _scale_levels().to(device)


@functools.lru_cache(maxsize=8)
def _levels_on(device: torch.device) -> torch.Tensor:
    return torch.tensor(LEVELS, device=device)
