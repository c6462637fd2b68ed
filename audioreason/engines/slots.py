"""Rows that generate together: their keys and values, and the conversations that were read already.

The arithmetic of a row does not depend on its company. On the CPU that is exact: every prompt is read alone
and in the same two pieces (the system message, the rest), and a step always computes at least four rows,
because kernels for fewer add up in another order. Knows nothing about sampling or requests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from audioreason.engines import thinker
from audioreason.engines.features import log_mel_batch
from audioreason.engines.thinker import KeysValues

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Key = TypeVar("Key")
Value = TypeVar("Value")

_FEWEST_ROWS = 4
_STRIDE = 64  # positions: the cache grows, and is looked at, in such strides
_SYSTEMS = 8  # system messages kept
_CLIP_BYTES = 16 << 20  # embeddings of clips that are kept


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt after reading: keys and values of every layer, and logits for the answer's first token."""

    memory: list[KeysValues]
    logits: torch.Tensor
    length: int


class ReadingStopped(Exception):
    """The request whose prompt was being read is cancelled."""


class Reader:
    """Reads prompts, one at a time, and remembers clips, system messages and whole prompts.

    Args:
        model: a thinker.
        audio_pad: the placeholder's token id.
        remember_bytes: how much memory whole prompts may keep, so that many samples of one prompt read it
            once.
    """

    def __init__(self, model: Any, audio_pad: int, remember_bytes: int = 256 << 20) -> None:
        self._model = model
        self._audio_pad = audio_pad
        self._clips: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._systems: OrderedDict[tuple[int, ...], list[KeysValues]] = OrderedDict()
        self._prompts: OrderedDict[tuple[Any, ...], ReadPrompt] = OrderedDict()
        self._remember_bytes = remember_bytes

    def forget(self) -> None:
        """Keep nothing; what is asked again is read again."""
        self._clips.clear()
        self._systems.clear()
        self._prompts.clear()

    def read(
        self,
        ids: Sequence[int],
        system: int,
        clips: Sequence[tuple[str, NDArray[np.float32]]],
        stopped: Callable[[], bool] = lambda: False,
    ) -> ReadPrompt:
        """Read a prompt.

        Args:
            ids: its tokens, placeholders expanded.
            system: how many of them, at the start, are the system message.
            clips: content hash and samples (16 kHz) of each clip, in order.
            stopped: asked before each clip and each layer.

        Raises:
            ReadingStopped: if `stopped` says so.
        """
        import torch

        def check() -> None:
            if stopped():
                raise ReadingStopped

        key = (tuple(ids), tuple(name for name, _ in clips))
        if key in self._prompts:
            self._prompts.move_to_end(key)
            return self._prompts[key]
        model = self._model
        with torch.inference_mode():
            tokens = torch.tensor(list(ids), device=model.device)
            embedded = model.model.embed_tokens(tokens)
            if clips:
                heard = torch.cat([self._hear(name, samples, check) for name, samples in clips])
                embedded[tokens == self._audio_pad] = heard.to(embedded.dtype)
            past = self._system(tuple(ids[:system]), embedded[None, :system]) if system else None
            rest = embedded[None, system:]
            states, memory = thinker.read(model.model, rest, past=past, keep=True, check=check)
            done = ReadPrompt(memory, model.lm_head(states[:, -1])[0], len(ids))
        self._prompts[key] = done
        size = sum(layer.keys.numel() * layer.keys.element_size() * 2 for layer in memory)
        while len(self._prompts) > max(1, self._remember_bytes // size):
            self._prompts.popitem(last=False)
        return done

    def _hear(self, name: str, samples: NDArray[np.float32], check: Callable[[], None]) -> torch.Tensor:
        """Embeddings of one clip (tokens, hidden), heard alone so that they never depend on other clips."""
        check()
        if name not in self._clips:
            features, frames = log_mel_batch([samples], str(self._model.device))
            heard, counts = thinker.hear(self._model.audio_tower, features, frames)
            self._clips[name] = heard[0, : counts[0]].clone()
        found = self._clips[name]
        return _kept(self._clips, name, max(1, _CLIP_BYTES // (found.numel() * found.element_size())))

    def _system(self, ids: tuple[int, ...], embedded: torch.Tensor) -> list[KeysValues]:
        if ids not in self._systems:
            _, memory = thinker.read(self._model.model, embedded, keep=True)
            self._systems[ids] = memory
        return _kept(self._systems, ids, _SYSTEMS)


class Slots:
    """The rows that are generating now, packed at the front of one cache.

    Args:
        model: a thinker.
        most: rows that may generate together.
        most_bytes: of memory for the prompts that join; None for no limit.
    """

    def __init__(self, model: Any, most: int, most_bytes: int | None = None) -> None:
        self._model = model
        self.most = max(most, _FEWEST_ROWS)
        self._most_bytes = most_bytes
        self._cache: list[KeysValues] = []
        self._capacity = 0
        self._rows = 0
        self.lengths: list[int] = []

    def __len__(self) -> int:
        return len(self.lengths)

    def fits(self, length: int) -> bool:
        """Whether a prompt of so many tokens may join the rows; the first always may."""
        if not self.lengths:
            return True
        if len(self.lengths) >= self.most:
            return False
        rows, capacity = self._grown(len(self.lengths) + 1, length + 1)
        return self._most_bytes is None or rows * capacity * self._position_bytes() <= self._most_bytes

    def clear(self) -> None:
        """Give the cache's memory back; only when no row generates."""
        assert not self.lengths
        self._cache, self._rows, self._capacity = [], 0, 0

    def _position_bytes(self) -> int:
        """Bytes of one position of one row, all layers."""
        text = self._model.config.text_config
        width = self._model.model.layers[0].self_attn.head_dim * self._model.dtype.itemsize
        return int(2 * text.num_hidden_layers * text.num_key_value_heads * width)

    def add(self, prompt: ReadPrompt) -> int:
        """Copy a prompt that was read into a free row; returns the row."""
        row = len(self.lengths)
        self._reserve(row + 1, prompt.length + 1)
        for memory, layer in zip(self._cache, prompt.memory, strict=True):
            memory.keys[row, :, : prompt.length] = layer.keys[0]
            memory.values[row, :, : prompt.length] = layer.values[0]
        self.lengths.append(prompt.length)
        return row

    def remove(self, row: int) -> int:
        """Free a row; the last row moves into its place. Returns the row that moved (`row`, if the last)."""
        last = len(self.lengths) - 1
        if row != last:
            length = self.lengths[last]
            for memory in self._cache:
                memory.keys[row, :, :length] = memory.keys[last, :, :length]
                memory.values[row, :, :length] = memory.values[last, :, :length]
            self.lengths[row] = length
        self.lengths.pop()
        return last

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read one token in every row; logits for the next (rows, vocabulary)."""
        import torch

        active = len(self.lengths)
        rows = _FEWEST_ROWS
        while rows < active:
            rows *= 2
        span = -(-(max(self.lengths) + 1) // _STRIDE) * _STRIDE
        self._reserve(rows, span)
        padding = rows - active
        device = self._model.device
        with torch.inference_mode():
            ids = torch.tensor([*tokens, *[0] * padding], device=device)
            positions = torch.tensor([*self.lengths, *[0] * padding], device=device)
            cache = [KeysValues(layer.keys[:rows], layer.values[:rows]) for layer in self._cache]
            embedded = self._model.model.embed_tokens(ids)
            states = thinker.step(self._model.model, embedded, positions, cache, span)
            logits: torch.Tensor = self._model.lm_head(states)[:active]
        self.lengths = [length + 1 for length in self.lengths]
        return logits

    def _grown(self, rows: int, capacity: int) -> tuple[int, int]:
        """The cache's rows and positions once it has room for so many."""
        grown = self._rows
        while grown < rows:
            grown = max(_FEWEST_ROWS, grown * 2)
        if self._capacity >= capacity:
            return grown, self._capacity
        return grown, -(-max(capacity, self._capacity * 5 // 4) // _STRIDE) * _STRIDE

    def _reserve(self, rows: int, capacity: int) -> None:
        if rows <= self._rows and capacity <= self._capacity:
            return
        import torch

        old_rows, old_capacity = self._rows, self._capacity
        self._rows, self._capacity = self._grown(rows, capacity)
        text = self._model.config.text_config
        width = self._model.model.layers[0].self_attn.head_dim
        shape = (self._rows, text.num_key_value_heads, self._capacity, width)
        for number in range(text.num_hidden_layers):
            fresh = KeysValues(
                *(torch.zeros(shape, dtype=self._model.dtype, device=self._model.device) for _ in "kv")
            )
            if old_rows:
                fresh.keys[:old_rows, :, :old_capacity] = self._cache[number].keys
                fresh.values[:old_rows, :, :old_capacity] = self._cache[number].values
                self._cache[number] = fresh
            else:
                self._cache.append(fresh)


def _kept(store: OrderedDict[Key, Value], key: Key, most: int) -> Value:
    """The value, marked as used last; the one used longest ago is dropped."""
    store.move_to_end(key)
    while len(store) > most:
        store.popitem(last=False)
    return store[key]
