"""The thinker's arithmetic as plain functions over transformers' modules: hear a clip, read a text, add a
token.

transformers' own forward loops over clips and experts in Python, which costs most of the time of a small
model. These functions give the same numbers (tested against it) with batched mathematics: few experts are
computed all at once, many go to transformers' grouped kernels. Linear layers are called as modules, so
adapters work. Knows nothing about tokens' meaning, sampling or scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audioreason.engines.features import CHUNK_FRAMES, CHUNK_TOKENS, audio_token_count, send

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor

_CHUNKS_AT_ONCE = 32  # seconds of sound that are convolved together: 1.3 MB each in the Pocket Listener
_DENSE_EXPERTS = 8  # up to this many experts, computing all of them beats sorting tokens


@dataclass
class KeysValues:
    """Keys and values of one layer: each (rows, kv heads, positions, head_dim)."""

    keys: Tensor
    values: Tensor


def hear(tower: Any, features: Tensor, frames: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The audio tower on a batch of clips.

    Args:
        tower: transformers' `Qwen3OmniMoeAudioEncoder`.
        features: log-mels (batch, 128, longest), zero after each clip's end.
        frames: frames of each clip; plain numbers, so that a GPU need not be asked.

    Returns:
        Embeddings (batch, positions, hidden), of which a clip's first tokens are valid, and tokens per clip.
    """
    import torch
    from torch.nn import functional

    batch, mels, longest = features.shape
    chunks = -(-longest // CHUNK_FRAMES)
    padded = functional.pad(features, (0, chunks * CHUNK_FRAMES - longest))
    x = padded.view(batch, mels, chunks, CHUNK_FRAMES).transpose(1, 2)
    x = x.reshape(batch * chunks, 1, mels, CHUNK_FRAMES).to(tower.conv2d1.weight.dtype)
    x = torch.cat([_front(tower, piece) for piece in torch.split(x, _CHUNKS_AT_ONCE)])
    x = x + tower.positional_embedding.positional_embedding[:CHUNK_TOKENS].to(x.dtype)
    x = x.reshape(batch, chunks * CHUNK_TOKENS, -1)
    counts = [audio_token_count(count) for count in frames]
    x = x[:, : max(counts)]

    window = tower.n_window_infer // CHUNK_FRAMES * CHUNK_TOKENS
    place = torch.arange(x.shape[1], device=x.device)
    valid = place[None, :] < send(counts, x.device)[:, None]  # (batch, positions)
    mask = valid[:, None, None, :]
    if x.shape[1] > window:
        same = (place[:, None] // window) == (place[None, :] // window)
        mask = mask & same[None, None]
        mask = mask | torch.eye(x.shape[1], dtype=torch.bool, device=x.device)[None, None]  # no empty row
    everything = len(set(counts)) == 1 and x.shape[1] <= window
    for layer in tower.layers:
        x = x + _tower_attention(layer.self_attn, layer.self_attn_layer_norm(x), None if everything else mask)
        x = x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))
    return tower.proj2(functional.gelu(tower.proj1(tower.ln_post(x)))), counts


def _front(tower: Any, x: Tensor) -> Tensor:
    """The convolutions of the tower: mels of chunks (chunks, 1, 128, 100) to (chunks, 13, width)."""
    from torch.nn import functional

    x = functional.gelu(tower.conv2d1(x))
    x = functional.gelu(tower.conv2d2(x))
    x = functional.gelu(tower.conv2d3(x))  # (chunks, channels, mels / 8, 13)
    out: Tensor = tower.conv_out(x.permute(0, 3, 1, 2).flatten(2))
    return out


def _tower_attention(attention: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    from torch.nn import functional

    batch, length, _ = x.shape
    shape = (batch, length, attention.num_heads, attention.head_dim)
    q = attention.q_proj(x).view(shape).transpose(1, 2)
    k = attention.k_proj(x).view(shape).transpose(1, 2)
    v = attention.v_proj(x).view(shape).transpose(1, 2)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attention.out_proj(out.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


def rotary(text: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions (rows, length): each (rows, 1, length, head_dim).

    With audio and text alone, the three position axes of Qwen3-Omni are one, so this is ordinary rotary
    embedding.
    """
    import torch

    angles = positions[..., None].float() * text.rotary_emb.inv_freq.float()  # (rows, length, head_dim / 2)
    angles = torch.cat((angles, angles), dim=-1)[:, None]
    return angles.cos(), angles.sin()


def read(
    text: Any,
    embeddings: Tensor,
    past: list[KeysValues] | None = None,
    keep: bool = False,
    routing: list[tuple[Tensor, Tensor]] | None = None,
    check: Callable[[], None] | None = None,
) -> tuple[Tensor, list[KeysValues]]:
    """The text model on whole sequences: for training, and for reading a prompt.

    Args:
        text: transformers' `Qwen3OmniMoeThinkerTextModel`.
        embeddings: (rows, length, hidden); rows of different length are padded at the end, which causal
            attention makes harmless.
        past: what came before, for every layer, the same length for all rows.
        keep: return this stretch's keys and values, the past included.
        routing: gets what `route` returned in each layer, for a balance loss.
        check: called before each layer; it raises to give the reading up.

    Returns:
        Hidden states after the last norm (rows, length, hidden), and keys and values per layer (empty
        unless kept).
    """
    import torch

    rows, length, _ = embeddings.shape
    before = past[0].keys.shape[2] if past else 0
    positions = torch.arange(before, before + length, device=embeddings.device).expand(rows, -1)
    cos, sin = rotary(text, positions)
    mask = None
    if before:
        place = torch.arange(before + length, device=embeddings.device)
        mask = place[None, :] <= place[before:, None]  # (length, before + length)
    kept: list[KeysValues] = []
    x = embeddings
    for number, layer in enumerate(text.layers):
        if check is not None:
            check()
        attention = layer.self_attn
        q, k, v = _project(attention, _norm(layer.input_layernorm, x), cos, sin)
        if past:
            k = torch.cat((past[number].keys, k), dim=2)
            v = torch.cat((past[number].values, v), dim=2)
        if keep:
            kept.append(KeysValues(k, v))
        groups = attention.num_key_value_groups
        out = torch.nn.functional.scaled_dot_product_attention(
            q,
            k.repeat_interleave(groups, dim=1),
            v.repeat_interleave(groups, dim=1),
            attn_mask=mask,
            is_causal=mask is None,
        )
        x = x + attention.o_proj(out.transpose(1, 2).reshape(rows, length, -1))
        x = x + mixture(layer.mlp, _norm(layer.post_attention_layernorm, x), routing)
    return _norm(text.norm, x), kept


def step(text: Any, embeddings: Tensor, positions: Tensor, cache: list[KeysValues], span: int) -> Tensor:
    """One more token for every row.

    Args:
        text: transformers' `Qwen3OmniMoeThinkerTextModel`.
        embeddings: (rows, hidden) of the tokens to read.
        positions: (rows,) where each row's token goes; the cache holds everything before.
        cache: keys and values (rows, kv heads, capacity, head_dim) of every layer, written in place.
        span: how much of the capacity to look at; more than every position.

    Returns:
        Hidden states after the last norm (rows, hidden).
    """
    import torch

    rows = len(embeddings)
    cos, sin = rotary(text, positions[:, None])
    row = torch.arange(rows, device=embeddings.device)
    place = torch.arange(span, device=embeddings.device)
    mask = (place[None, :] <= positions[:, None])[:, None, None, :]  # (rows, 1, 1, span)
    x = embeddings[:, None]
    for layer, memory in zip(text.layers, cache, strict=True):
        attention = layer.self_attn
        q, k, v = _project(attention, _norm(layer.input_layernorm, x), cos, sin)
        memory.keys[row, :, positions] = k[:, :, 0].to(memory.keys.dtype)
        memory.values[row, :, positions] = v[:, :, 0].to(memory.values.dtype)
        heads = memory.keys.shape[1]
        q = q.reshape(rows, heads, -1, q.shape[-1])  # (rows, kv heads, group, head_dim)
        out = torch.nn.functional.scaled_dot_product_attention(
            q.to(memory.keys.dtype), memory.keys[:, :, :span], memory.values[:, :, :span], attn_mask=mask
        )
        x = x + attention.o_proj(out.reshape(rows, 1, -1))
        x = x + mixture(layer.mlp, _norm(layer.post_attention_layernorm, x))
    return _norm(text.norm, x)[:, 0]


def route(mlp: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Router probabilities, and each expert's weight, zero if not chosen: both (tokens, experts)."""
    import torch
    from torch.nn import functional

    gate = mlp.gate
    probabilities = functional.linear(x.float(), gate.weight.float()).softmax(dim=-1)
    best, chosen = probabilities.topk(gate.top_k, dim=-1)
    if gate.norm_topk_prob:
        best = best / best.sum(dim=-1, keepdim=True)
    return probabilities, torch.zeros_like(probabilities).scatter(1, chosen, best)


def mixture(mlp: Any, x: Tensor, routing: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
    """A feed-forward block, of experts or plain: (rows, length, hidden) to the same."""
    plain = hasattr(mlp, "experts") and hasattr(mlp.experts, "gate_up_proj")  # adapted ones do it themselves
    if not plain or mlp.experts.num_experts > _DENSE_EXPERTS:
        return mlp(x)  # type: ignore[no-any-return]
    from torch.nn import functional

    experts = mlp.experts
    flat = x.reshape(-1, x.shape[-1])
    probabilities, weights = route(mlp, flat)
    if routing is not None:
        routing.append((probabilities, weights))
    count, double, hidden = experts.gate_up_proj.shape
    inner = functional.linear(flat, experts.gate_up_proj.reshape(count * double, hidden))
    gate, up = inner.view(len(flat), count, 2, double // 2).unbind(dim=2)  # (tokens, experts, width)
    inner = functional.silu(gate) * up * weights[..., None].to(up.dtype)
    down = experts.down_proj.transpose(0, 1).reshape(hidden, -1)  # (hidden, experts * width)
    return functional.linear(inner.flatten(1), down).view(x.shape)


def _norm(norm: Any, x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.rms_norm(x, norm.weight.shape, norm.weight.to(x.dtype), norm.variance_epsilon)


def _project(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, normalised and turned: (rows, heads, length, head_dim)."""
    rows, length, _ = x.shape
    shape = (rows, length, -1, attention.head_dim)
    q = _norm(attention.q_norm, attention.q_proj(x).view(shape)).transpose(1, 2)
    k = _norm(attention.k_norm, attention.k_proj(x).view(shape)).transpose(1, 2)
    v = attention.v_proj(x).view(shape).transpose(1, 2)
    return _turn(q, cos, sin).to(v.dtype), _turn(k, cos, sin).to(v.dtype), v


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    import torch

    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)
