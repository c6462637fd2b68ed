"""How large a model is, read from its folder: bytes of weights, and bytes of cache a token takes.

Knows nothing about engines or GPUs; opens no weights.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CACHE_NUMBER = 2  # bytes of a cached number: bf16


@dataclass(frozen=True)
class ModelSize:
    """`folder` is None if the model is not on this disk, `weights` (bytes) 0 if not known.

    `cache_bytes_per_token`: keys and values of all layers. `cache` is where the hub's models are kept.
    """

    folder: Path | None
    weights: int
    cache_bytes_per_token: int
    unquantised: bool
    cache: Path


def model_size(model: str) -> ModelSize:
    """The size of a model folder, or of a hub's model that was downloaded before."""
    cache = Path(
        os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or _HOME) / "hub"
    ).expanduser()
    folder = Path(model).expanduser() if model else None
    if folder is None or not folder.is_dir():
        folder = _downloaded(cache, model)
    if folder is None:
        return ModelSize(None, 0, 0, True, cache)
    config = _config(folder)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return ModelSize(folder, weights, _cache_bytes(config), "quantization_config" not in config, cache)


_HOME = "~/.cache/huggingface"


def _downloaded(cache: Path, model: str) -> Path | None:
    snapshots = cache / f"models--{model.replace('/', '--')}" / "snapshots"
    if not model or not snapshots.is_dir():
        return None
    whole = [folder for folder in snapshots.iterdir() if (folder / "config.json").exists()]
    return max(whole, key=lambda folder: folder.stat().st_mtime, default=None)


def _config(folder: Path) -> dict[str, Any]:
    try:
        read = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):  # vLLM will say what is wrong with the folder
        return {}
    return read if isinstance(read, dict) else {}


def _cache_bytes(config: dict[str, Any]) -> int:
    """2 (keys, values) x layers x key-value heads x head size x 2 bytes, of the thinker's text part."""
    text = config.get("thinker_config", config)
    text = text.get("text_config", text)
    try:
        layers, heads = int(text["num_hidden_layers"]), int(text["num_attention_heads"])
        size = int(text.get("head_dim") or text["hidden_size"] // heads)
        return 2 * layers * int(text.get("num_key_value_heads") or heads) * size * _CACHE_NUMBER
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0
