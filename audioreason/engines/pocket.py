"""The Pocket Listener's shape, and model folders in the layout of the published Qwen3-Omni repository.

A folder holds `config.json` (nested `thinker_config`), weights named `thinker.*` with one matrix per
expert, the tokenizer and the preprocessors, so that transformers and vLLM load it as it is. Knows nothing
about training.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.features import HOP, MELS, N_FFT, SAMPLE_RATE
from audioreason.engines.tokens import ChatTokenizer, save_tokenizer
from audioreason.errors import EngineError

if TYPE_CHECKING:
    import torch

_PATCH = 16  # pixels; the vision tower is there because the architecture has one, and is never used
_SHARD_BYTES = 15 * 1024 * 1024
_EXPERT = re.compile(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)$")


@dataclass(frozen=True)
class PocketShape:
    """The sizes of a Pocket Listener; the defaults are the shipped model (23 MB in bfloat16)."""

    vocab: int = 1024
    hidden: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    experts: int = 4
    experts_per_token: int = 2
    expert_width: int = 256
    audio_width: int = 256
    audio_layers: int = 4
    audio_heads: int = 4
    audio_feedforward: int = 768
    downsample: int = 64
    context: int = 16_384


def pocket_config(shape: PocketShape, tokenizer: ChatTokenizer) -> dict[str, Any]:
    """`config.json` of a Pocket Listener: Qwen3-Omni's keys with small numbers and no talker."""
    section = shape.head_dim // 2
    height = section * 20 // 64
    text = {
        "model_type": "qwen3_omni_moe_text",
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.expert_width * shape.experts_per_token,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "sliding_window": None,
        "use_sliding_window": False,
        "use_qk_norm": True,
        "shared_expert_intermediate_size": 0,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": shape.expert_width,
        "num_experts": shape.experts,
        "num_experts_per_tok": shape.experts_per_token,
        "norm_topk_prob": True,
        "mlp_only_layers": [],
        "output_router_logits": False,
        "router_aux_loss_coef": 0.01,
        "tie_word_embeddings": False,
        "rope_theta": 10_000,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000,
            "mrope_section": [section - 2 * height, height, height],
            "mrope_interleaved": True,
            "interleaved": True,
        },
    }
    audio = {
        "model_type": "qwen3_omni_moe_audio_encoder",
        "num_mel_bins": MELS,
        "d_model": shape.audio_width,
        "encoder_layers": shape.audio_layers,
        "num_hidden_layers": shape.audio_layers,
        "encoder_attention_heads": shape.audio_heads,
        "encoder_ffn_dim": shape.audio_feedforward,
        "downsample_hidden_size": shape.downsample,
        "output_dim": shape.hidden,
        "max_source_positions": 1500,
        "n_window": 50,
        "n_window_infer": 3200,  # a clip of up to 32 s is heard as a whole
        "conv_chunksize": 500,
        "activation_function": "gelu",
        "initializer_range": 0.02,
        "dropout": 0,
        "attention_dropout": 0,
        "activation_dropout": 0,
        "scale_embedding": False,
    }
    vision = {
        "model_type": "qwen3_omni_moe_vision_encoder",
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 1,
        "intermediate_size": 64,
        "in_channels": 3,
        "in_chans": 3,
        "patch_size": _PATCH,
        "spatial_patch_size": _PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": shape.hidden,
        "image_size": 16 * _PATCH,
        "num_position_embeddings": 16 * 16,
        "apply_vit_abs_pos_embed": True,
        "deepstack_visual_indexes": [0],
        "hidden_act": "gelu_pytorch_tanh",
        "initializer_range": 0.02,
        "tokens_per_second": 2,
    }
    return {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
        "model_type": "qwen3_omni_moe",
        "enable_audio_output": False,
        "dtype": "bfloat16",
        "im_start_token_id": tokenizer.im_start,
        "im_end_token_id": tokenizer.im_end,
        "thinker_config": {
            "architectures": ["Qwen3OmniMoeThinkerForConditionalGeneration"],
            "model_type": "qwen3_omni_moe_thinker",
            "dtype": "bfloat16",
            "initializer_range": 0.02,
            "position_id_per_seconds": 13,
            "seconds_per_chunk": 2,
            "audio_token_id": tokenizer.audio_pad,
            "audio_start_token_id": tokenizer.audio_start,
            "audio_end_token_id": tokenizer.audio_end,
            "image_token_id": tokenizer.id_of("<|image_pad|>"),
            "video_token_id": tokenizer.id_of("<|video_pad|>"),
            "vision_start_token_id": tokenizer.id_of("<|vision_start|>"),
            "vision_end_token_id": tokenizer.id_of("<|vision_end|>"),
            "user_token_id": tokenizer.im_start,
            "tie_word_embeddings": False,
            "audio_config": audio,
            "text_config": text,
            "vision_config": vision,
        },
    }


def build_model(config: dict[str, Any], seed: int) -> Any:
    """A thinker (`Qwen3OmniMoeThinkerForConditionalGeneration`, float32) with new weights from `seed`."""
    import torch
    from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    sizes = Qwen3OmniMoeThinkerConfig(**config["thinker_config"])
    model: Any = Qwen3OmniMoeThinkerForConditionalGeneration(sizes)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for layer in model.model.layers:  # transformers leaves routers at zero, which is a tie for ever
            layer.mlp.gate.weight.normal_(0.0, 0.02)
            layer.mlp.experts.gate_up_proj.normal_(0.0, 0.02)
            layer.mlp.experts.down_proj.normal_(0.0, 0.02)
    torch.random.set_rng_state(state)
    return model


def published_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A thinker's weights under the published names: `thinker.` in front, experts one by one."""
    published: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        match = _EXPERT.match(name)
        if match is None:
            published[f"thinker.{name}"] = tensor
            continue
        prefix, kind = match.groups()
        for expert, matrix in enumerate(tensor):  # (2 * width, hidden) or (hidden, width)
            parts = {"down_proj": matrix}
            if kind == "gate_up_proj":
                gate, up = matrix.chunk(2, dim=0)
                parts = {"gate_proj": gate, "up_proj": up}
            for part, value in parts.items():
                published[f"thinker.{prefix}.{expert}.{part}.weight"] = value
    return published


def save_folder(model: Any, config: dict[str, Any], tokenizer: ChatTokenizer, folder: Path) -> None:
    """Write a complete model folder (bfloat16, shards of at most 15 MB); `folder` must be new or empty."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = published_weights(model.state_dict())
    weights = {name: tensor.detach().to("cpu", torch.bfloat16).clone() for name, tensor in weights.items()}
    shards: list[dict[str, torch.Tensor]] = [{}]
    room = _SHARD_BYTES
    for name in sorted(weights):
        size = weights[name].numel() * 2
        if size > room:
            shards.append({})
            room = _SHARD_BYTES
        shards[-1][name] = weights[name]
        room -= size
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(
            {name: tensor.contiguous() for name, tensor in shard.items()}, folder / file, {"format": "pt"}
        )
        (folder / file).chmod(0o644)
        index.update(dict.fromkeys(shard, file))
    total = sum(tensor.numel() * 2 for tensor in weights.values())
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})
    _write(folder / "config.json", config)
    _write(
        folder / "generation_config.json",
        {
            "do_sample": True,
            "temperature": 0.7,
            "top_p": 1.0,
            "eos_token_id": [tokenizer.im_end, tokenizer.end_of_text],
            "pad_token_id": tokenizer.end_of_text,
        },
    )
    _write(folder / "preprocessor_config.json", _PREPROCESSOR)
    save_tokenizer(tokenizer.raw, folder, config["thinker_config"]["text_config"]["max_position_embeddings"])
    tokenizer.raw.encode_special_tokens = True


def load_model(folder: Path, device: str = "cpu", dtype: str = "float32") -> Any:
    """The thinker of a model folder in the published layout, pocket-sized or 30B, in eval mode.

    Raises:
        EngineError: if the folder is no such model, or its weights are missing or broken.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

    read_config(folder)
    try:
        model = Qwen3OmniMoeThinkerForConditionalGeneration.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            device_map=None if device == "cpu" else device,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (
        OSError,
        ValueError,
        TypeError,
        RuntimeError,
        LookupError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise EngineError(
            f"The weights in {folder} cannot be loaded ({type(error).__name__}: {first_line(error)}).",
            "Check that every file of the folder is complete.",
        ) from error
    model.eval()  # type: ignore[no-untyped-call]
    return model.requires_grad_(False)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a folder in the published layout.

    Raises:
        EngineError: if it is missing, broken, or of another architecture.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise EngineError(
            f"There is no model in {folder}: config.json is missing.",
            "Give the folder of a Qwen3-Omni thinker, such as data/pocket-listener.",
        ) from error
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read ({error}).", "Copy the folder again.") from error
    if not isinstance(config, dict) or "thinker_config" not in config:
        raise EngineError(
            f"{folder} is not a Qwen3-Omni model (config.json has no thinker_config).",
            "Give the folder of a Qwen3-Omni thinker.",
        )
    return config


def first_line(error: Exception) -> str:
    """The first line of an error's text; libraries append pages."""
    return (str(error).splitlines() or [""])[0]


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


_PREPROCESSOR = {
    "processor_class": "Qwen3OmniMoeProcessor",
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": MELS,
    "sampling_rate": SAMPLE_RATE,
    "hop_length": HOP,
    "n_fft": N_FFT,
    "chunk_length": 300,
    "n_samples": 300 * SAMPLE_RATE,
    "nb_max_frames": 300 * SAMPLE_RATE // HOP,
    "padding_side": "right",
    "padding_value": 0.0,
    "dither": 0.0,
    "return_attention_mask": True,
    "image_processor_type": "Qwen2VLImageProcessor",
    "video_processor_type": "Qwen2VLVideoProcessor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "patch_size": _PATCH,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "min_pixels": 1024,
    "max_pixels": 16384,
    "size": {"shortest_edge": 1024, "longest_edge": 16384},
}
