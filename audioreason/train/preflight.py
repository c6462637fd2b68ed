"""Will it fit, and how long will it take: arithmetic on the sizes in config.json, before anything is loaded.

The coefficients come from one H100 at the full sizes of Qwen3-Omni-30B-A3B and from the Pocket Listener on
two cores; other machines differ. Knows nothing about what is trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioreason.engines.gpus import own_gpus
from audioreason.engines.nf4 import BYTES_A_WEIGHT
from audioreason.engines.pocket import read_config
from audioreason.errors import EngineError
from audioreason.train.recipe import Recipe

_GIB = 2**30
_LOGITS = 1 << 27  # as `forward` holds at once
_RESERVE = 1.0 * _GIB  # what CUDA and the allocator keep for themselves
# measured at 30B-A3B sizes, NF4, H100: 0.70 s for 512 tokens, 1.35 s for 8,192
_GPU_STEP = 0.66  # seconds a step, for dequantising 29e9 weights three times
_GPU_TOKEN = 8.4e-5  # seconds a token, for 3.3e9 active weights
_CPU_FLOPS = 2.5e10  # a second, two cores, float32


@dataclass(frozen=True)
class Sizes:
    """Numbers of weights in a thinker's parts, and the sizes that activations depend on."""

    experts: int
    attention: int
    embeddings: int
    audio: int
    lora: int
    active: int  # weights that a token meets
    layers: int
    hidden: int
    per_token: int  # experts that a token meets
    width: int
    vocabulary: int
    largest: int  # weights of a layer's larger expert tensor

    @property
    def frozen(self) -> int:
        """Weights that are not trained."""
        return self.experts + self.attention + self.embeddings + self.audio


@dataclass(frozen=True)
class Estimate:
    """Bytes by what they are for, and seconds, None if they depend on data that is not known yet."""

    parts: dict[str, float]
    steps: int | None
    seconds: float | None
    trained: int

    @property
    def bytes(self) -> float:
        """All parts together."""
        return sum(self.parts.values())

    def sentence(self) -> str:
        """Such as "36.1 GiB: frozen weights 17.1, LoRA 4.8, ..."."""
        parts = ", ".join(f"{name} {size / _GIB:.2g}" for name, size in self.parts.items())
        return f"{self.bytes / _GIB:.1f} GiB: {parts}"


def sizes(config: dict[str, Any], recipe: Recipe) -> Sizes:
    """The numbers of a model folder's config.json.

    Raises:
        EngineError: if a size is missing.
    """
    try:
        text, audio = config["thinker_config"]["text_config"], config["thinker_config"]["audio_config"]
        layers, hidden, vocabulary = text["num_hidden_layers"], text["hidden_size"], text["vocab_size"]
        count, width = text["num_experts"], text["moe_intermediate_size"]
        heads = text["num_attention_heads"] * text["head_dim"]
        kv = text["num_key_value_heads"] * text["head_dim"]
        per_token = text["num_experts_per_tok"]
        wide = audio["d_model"]
        tower = audio["encoder_layers"] * wide * (4 * wide + 2 * audio["encoder_ffn_dim"])
    except (KeyError, TypeError) as error:
        raise EngineError(
            f"The model's config.json lacks {error}.", "Give the folder of a Qwen3-Omni thinker."
        ) from error
    attention = layers * hidden * 2 * (heads + kv)
    expert = 3 * hidden * width
    lora = 0
    if recipe.attention:
        lora += layers * recipe.rank * 2 * (2 * hidden + heads + kv)
    if recipe.experts:
        lora += layers * count * recipe.rank * (2 * hidden + 3 * width)
    return Sizes(
        experts=layers * count * expert,
        attention=attention + layers * count * hidden,
        embeddings=2 * vocabulary * hidden,
        audio=tower,
        lora=lora,
        active=attention + layers * per_token * expert + vocabulary * hidden,
        layers=layers,
        hidden=hidden,
        per_token=per_token,
        width=width,
        vocabulary=vocabulary,
        largest=count * 2 * width * hidden,
    )


def estimate(
    config: dict[str, Any], recipe: Recipe, device: str, longest: int, rows: int = 0, tokens: int = 0
) -> Estimate:
    """What training takes on each device.

    Args:
        config: config.json of the model.
        recipe: all numbers.
        device: "cpu" or "cuda".
        longest: tokens of the longest example.
        rows: examples; 0 if not known.
        tokens: of all examples together.
    """
    found = sizes(config, recipe)
    gpu = device == "cuda"
    wide = 4 if (recipe.dtype == "float32" or (recipe.dtype == "auto" and not gpu)) else 2  # bytes a number
    part = max(longest, min(recipe.part_tokens, recipe.batch * longest))  # tokens computed at once
    routed = part * found.per_token
    kept = found.layers if recipe.checkpointing else 1
    layer = routed * (4 * found.hidden + 8 * found.width) + part * 8 * found.hidden
    parts = {
        "frozen weights": found.experts * (BYTES_A_WEIGHT if recipe.quantize else wide)
        + (found.frozen - found.experts) * wide,
        "LoRA": found.lora * wide,
        "gradients": found.lora * wide,
        "optimiser": found.lora * (2.0 if gpu else 8.0),
        "activations": wide
        * (kept * part * found.hidden + layer * (1 if recipe.checkpointing else found.layers)),
        "weights of a layer": (1.5 * found.largest if recipe.quantize else 0) * wide,
        "logits": 4.0 * 3 * min(_LOGITS, part * found.vocabulary),
        "reserve": _RESERVE if gpu else 0.3 * _GIB,
    }
    steps = steps_of(recipe, rows) if rows else None
    seconds = None
    if steps is not None:
        per_step = tokens / max(1, rows) * recipe.batch
        if gpu:
            each = _GPU_STEP * found.experts / 29e9 + _GPU_TOKEN * found.active / 3.3e9 * per_step
        else:
            each = 8 * found.active * per_step / _CPU_FLOPS
        seconds = steps * each
    return Estimate(parts, steps, seconds, found.lora)


def check_memory(model: Path, recipe: Recipe, longest: int, device: str) -> Estimate:
    """See that training fits before anything is loaded.

    Raises:
        EngineError: if it does not.
    """
    found = estimate(read_config(model), recipe, device, longest)
    there, name = memory(device)
    if found.bytes > there:
        raise EngineError(
            f"Training {model.name} needs about {found.sentence()}; {name} has {there / _GIB:.1f} GiB.",
            "Use NF4 (--quantize nf4)." if recipe.quantize is None else "Lower the rank or part_tokens.",
        )
    return found


def memory(device: str) -> tuple[float, str]:
    """Bytes that training may use on a device, and what the device is called.

    For a GPU nvidia-smi is asked: asking through CUDA would itself take half a GiB of it.
    """
    if device == "cuda":
        if gpus := own_gpus():
            least = min(gpus, key=lambda gpu: gpu.free)
            return float(least.free) * 2**20, least.name
        import torch

        free, _ = torch.cuda.mem_get_info()
        return float(free), torch.cuda.get_device_name()
    import psutil

    return float(psutil.virtual_memory().available), "this machine"


def choose_device(recipe: Recipe) -> str:
    """ "cpu" or "cuda".

    Raises:
        EngineError: if a GPU is asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if recipe.device == "cuda" and not there:
        raise EngineError("There is no GPU that torch can use here.", "Train on the CPU, or elsewhere.")
    return "cuda" if there and recipe.device != "cpu" else "cpu"


def steps_of(recipe: Recipe, rows: int) -> int:
    """Optimiser steps of a whole run."""
    return recipe.steps or max(1, math.ceil(recipe.epochs * math.ceil(rows / recipe.batch)))
