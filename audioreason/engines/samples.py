"""A request on its way through the local engine: what was asked, and each sample's text as it grows.

Knows nothing about models or batching.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audioreason.engines.sampling import Chooser, Draw, Picked
from audioreason.engines.tokens import ChatTokenizer, Turn

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class Request:
    """A conversation with its clips (float32, 16 kHz, in the order of the parts that are None), answered
    `n` times.

    Sample number i is drawn with `draw.seed + i`, as vLLM does.
    """

    turns: tuple[Turn, ...]
    clips: tuple[NDArray[np.float32], ...] = ()
    draw: Draw = field(default_factory=Draw)
    n: int = 1


@dataclass(frozen=True)
class Chunk:
    """News of one sample: text that was added, its tokens, and at the end why it ended."""

    index: int
    text: str
    tokens: tuple[Picked, ...] = ()
    finish_reason: FinishReason | None = None
    error: str = ""


@dataclass(frozen=True)
class Output:
    """One finished sample."""

    text: str
    tokens: tuple[Picked, ...]
    finish_reason: FinishReason


class Ticket:
    """A request that was handed in. `cancel()` may be called from any thread, at any time.

    It holds its clips until the last of its samples has left the queue.
    """

    def __init__(self, request: Request, ids: list[int], system: int, emit: Callable[[Chunk], None]) -> None:
        self.request = replace(request, clips=())
        self.ids = ids
        self.system = system
        self.emit = emit
        self.cancelled = threading.Event()
        self.clips = [(hashlib.sha256(clip.tobytes()).hexdigest(), clip) for clip in request.clips]
        self._queued = request.n

    @property
    def audio_bytes(self) -> int:
        """Memory that its clips take."""
        return sum(clip.nbytes for _, clip in self.clips)

    def leave_queue(self) -> int:
        """One of its samples waits no more; returns the bytes that this freed."""
        self._queued -= 1
        if self._queued:
            return 0
        freed = self.audio_bytes
        self.clips = []
        return freed

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, audio included."""
        return len(self.ids)

    def cancel(self) -> None:
        """Give the answer up; samples that are not finished end with "abort"."""
        self.cancelled.set()


class Sample:
    """One sample in the making."""

    def __init__(self, ticket: Ticket, index: int, limit: int, tokenizer: ChatTokenizer) -> None:
        draw = ticket.request.draw
        self.ticket = ticket
        self.index = index
        self.limit = limit
        seed = None if draw.seed is None else draw.seed + index
        self.chooser = Chooser(replace(draw, seed=seed))
        if draw.repetition_penalty != 1.0:
            self.chooser.seen.update(ticket.ids)
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._done_ids = 0  # tokens whose text was sent
        self._context = 0  # where decoding begins, a little before that
        self._tail = ""  # text held back because it may begin a stop string
        self._unsent: list[Picked] = []
        self.last = 0
        self.finished: FinishReason | None = None

    def take(self, picked: Picked) -> None:
        """Add a token and send the text that it completes."""
        self.last = picked.token
        if picked.token in (self._tokenizer.im_end, self._tokenizer.end_of_text):
            self._finish("stop")
            return
        self._ids.append(picked.token)
        self._unsent.append(picked)
        fresh = self._new_text()
        if fresh:
            self._send(fresh)
        if self.finished is None and len(self._ids) >= self.limit:
            self._finish("length")

    def abort(self, reason: FinishReason, error: str = "") -> None:
        """End now, for another reason than the model's."""
        self.finished = reason
        self._emit("", reason, error)

    def _new_text(self, final: bool = False) -> str:
        """Text of the tokens that were not sent; a character whose bytes are not complete waits."""
        before = self._tokenizer.decode(self._ids[self._context : self._done_ids])
        after = self._tokenizer.decode(self._ids[self._context :])
        if after.endswith("\ufffd") and not final and len(self._ids) - self._done_ids < 8:
            return ""
        self._context, self._done_ids = self._done_ids, len(self._ids)
        return after[len(before) :]

    def _send(self, text: str) -> None:
        text = self._tail + text
        self._tail = ""
        for stop in self.chooser.draw.stop:
            if stop in text:
                self._tail = ""
                self._emit(text[: text.index(stop)], "stop")
                self.finished = "stop"
                return
        held = max(
            (
                size
                for stop in self.chooser.draw.stop
                for size in range(1, len(stop))
                if text.endswith(stop[:size])
            ),
            default=0,
        )
        self._tail = text[len(text) - held :]
        if text[: len(text) - held]:
            self._emit(text[: len(text) - held])

    def _finish(self, reason: FinishReason) -> None:
        self.finished = reason
        self._emit(self._tail + self._new_text(final=True), reason)

    def _emit(self, text: str, reason: FinishReason | None = None, error: str = "") -> None:
        tokens, self._unsent = tuple(self._unsent), []
        self.ticket.emit(Chunk(self.index, text, tokens, reason, error))
