"""Answers of the local engine as objects of the OpenAI chat API: whole, or as server-sent events.

Knows nothing about requests' bodies or sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audioreason.engines.chat import (
    Defaults,
    Envelope,
    ReasoningParser,
    ReasoningSplit,
    error_object,
    logprobs_of,
    usage_of,
)
from audioreason.engines.local import LocalEngine
from audioreason.engines.samples import Chunk, Ticket
from audioreason.engines.sampling import Picked
from audioreason.engines.text import TextEngine
from audioreason.errors import EngineError

MAX_WAITING = 512  # requests
MAX_WAITING_BYTES = 64 << 20  # of sound that they hold: 10 clips of 100 s, 100 of 10 s
_TOGETHER = 2  # requests that are decoded, and large bodies that arrive, at the same time


@dataclass
class Service:
    """What the routes need."""

    engine: LocalEngine | TextEngine
    name: str
    allowed: tuple[Path, ...] = ()
    reasoning_parser: ReasoningParser | None = None
    defaults: Defaults = field(default_factory=Defaults)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    arriving: int = 0  # requests that the engine does not have yet
    decoding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TOGETHER))
    receiving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TOGETHER))

    def overloaded(self) -> bool:
        """Whether a further request would wait behind more than is kept in memory."""
        load = self.engine.load()
        return load.waiting + self.arriving >= MAX_WAITING or load.waiting_bytes >= MAX_WAITING_BYTES


class Answer:
    """One request on its way: news from the engine's thread, turned into objects of the API."""

    ticket: Ticket

    def __init__(
        self, service: Service, n: int, include_usage: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._service = service
        self._n = n
        self._include_usage = include_usage
        self._loop = loop
        self._news: asyncio.Queue[Chunk] = asyncio.Queue()
        self._splits = [ReasoningSplit(service.reasoning_parser) for _ in range(n)]
        self._envelope = Envelope.new(next(service.numbers), service.name)
        self._counts = [0] * n

    def emit(self, chunk: Chunk) -> None:
        """Called by the engine's thread."""
        # the loop is closed when the server stops with answers under way; nobody is left to hear them
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.put_nowait, chunk)

    async def _chunks(self) -> AsyncIterator[tuple[Chunk, str, str]]:
        """News with reasoning and answer apart, until every sample is done."""
        left = self._n
        while left:
            chunk = await self._news.get()
            if chunk.finish_reason == "error":
                raise EngineError(f"The model failed ({chunk.error}).")
            self._counts[chunk.index] += len(chunk.tokens) + (chunk.finish_reason == "stop")
            left -= chunk.finish_reason is not None
            reasoning, content = self._splits[chunk.index].feed(chunk.text, chunk.finish_reason is not None)
            yield chunk, reasoning, content

    def _usage(self) -> dict[str, int]:
        return usage_of(self.ticket.prompt_tokens, sum(self._counts))

    async def complete(self) -> dict[str, Any]:
        """The `chat.completion` object; each choice also carries its own `completion_tokens`.

        Raises:
            EngineError: if the model failed.
        """
        n = self._n
        reasoning, content = [""] * n, [""] * n
        picked: list[list[Picked]] = [[] for _ in range(n)]
        reasons: list[str | None] = [None] * n
        async for chunk, thought, said in self._chunks():
            reasoning[chunk.index] += thought
            content[chunk.index] += said
            picked[chunk.index] += chunk.tokens
            reasons[chunk.index] = chunk.finish_reason or reasons[chunk.index]
        choices = []
        for index in range(n):
            message: dict[str, Any] = {"role": "assistant", "content": content[index] or None}
            if reasoning[index]:
                message["reasoning"] = reasoning[index]
            elif not content[index]:
                message["content"] = ""
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": logprobs_of(picked[index], self._spell),
                    "finish_reason": reasons[index],
                    "completion_tokens": self._counts[index],
                }
            )
        return self._envelope.wrap("chat.completion", choices, self._usage())

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: `chat.completion.chunk` objects, the usage if asked for, then [DONE]."""
        try:
            for index in range(self._n):
                yield self._event(index, {"role": "assistant", "content": ""})
            async for chunk, thought, said in self._chunks():
                delta = {"reasoning": thought} if thought else {}
                if said:
                    delta["content"] = said
                if delta or chunk.tokens or chunk.finish_reason:
                    yield self._event(chunk.index, delta, chunk)
            if self._include_usage:
                yield _sse(self._envelope.wrap("chat.completion.chunk", [], self._usage()))
        except EngineError as error:
            yield _sse(error_object(str(error), "internal_error", 500))
        finally:
            self.ticket.cancel()
        yield "data: [DONE]\n\n"

    def _event(self, index: int, delta: dict[str, str], chunk: Chunk | None = None) -> str:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs_of(chunk.tokens, self._spell) if chunk else None,
            "finish_reason": chunk.finish_reason if chunk else None,
        }
        return _sse(self._envelope.wrap("chat.completion.chunk", [choice]))

    def _spell(self, token: int) -> bytes:
        return self._service.engine.tokenizer.spell(token)


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
