"""Generations that belong to the process, not to a page: start one, look at it, leave, come back, stop it.

One background thread streams all of them. A page polls `snapshot(id)`, so a rerun, a click or a refresh
kills nothing, and an id in the URL finds its generation again for as long as the process lives. What is kept
longer is the business of `on_done`, which whoever starts a generation may give.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from audioreason.errors import LabError
from audioreason.inference.client import Timeouts
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.faults import Fault, HalfBody
from audioreason.inference.messages import Messages
from audioreason.inference.stream import STREAM_TIMEOUTS, Delta, Usage, stream_async

State = Literal["queued", "streaming", "done", "stopped", "failed"]

_AT_ONCE = 64  # streams at one time; four variants times sixteen repeats
_KEEP = 512  # finished generations that stay in memory
_LONGEST_TEXT = 4_000_000  # characters; a server that writes on past its max_tokens is cut off


@dataclass(frozen=True)
class GenerationSpec:
    """What to generate. `messages` may be a function, called when it begins, so that no clip waits in memory.

    `meta` is the caller's own (item, prompt, page); it comes back with every snapshot.
    """

    endpoint: Endpoint
    messages: Messages | Callable[[], Messages]
    sampling: Sampling
    seed: int
    meta: Mapping[str, Any] = field(default_factory=dict)
    timeouts: Timeouts = STREAM_TIMEOUTS


@dataclass(frozen=True)
class Snapshot:
    """A generation as it stood at one moment.

    Times are seconds: `waited` in the queue, `first_token` from sending to the first piece, `seconds` from
    sending to the last one (or to now). `tokens` is the server's count once it has said it, before that the
    number of pieces. `error` is one sentence and `error_kind` a fault's kind, if it failed; the text that
    came before is kept. `problem` is a sentence if `on_done` could not keep it.
    """

    id: str
    state: State
    text: str
    reasoning: str
    endpoint: Endpoint
    sampling: Sampling
    seed: int
    meta: Mapping[str, Any]
    created: str
    waited: float
    first_token: float | None
    seconds: float
    tokens: int
    usage: Usage | None
    finish_reason: str | None
    error: str | None
    error_kind: str | None
    problem: str | None

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "stopped", "failed")

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens after the first one, over the time since it; None before there are two."""
        if self.first_token is None or self.tokens < 2 or self.seconds <= self.first_token:
            return None
        return (self.tokens - 1) / (self.seconds - self.first_token)


OnDone = Callable[[Snapshot], None]


@dataclass(eq=False)
class _Generation:
    """The changing side of a snapshot; every field is read and written under the hub's lock."""

    id: str
    spec: GenerationSpec
    messages: Messages | Callable[[], Messages] | None
    on_done: OnDone | None
    created: str
    started: float  # time.monotonic when it was asked for
    state: State = "queued"
    texts: list[str] = field(default_factory=list)
    reasonings: list[str] = field(default_factory=list)
    characters: int = 0
    pieces: int = 0
    sent: float | None = None
    first: float | None = None
    ended: float | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    error: str | None = None
    error_kind: str | None = None
    problem: str | None = None
    stop_asked: bool = False
    task: asyncio.Task[None] | None = None  # while it can be cancelled; touched in the hub's thread only
    over: threading.Event = field(default_factory=threading.Event)

    def add(self, delta: Delta) -> None:
        if delta.text or delta.reasoning:
            self.first = self.first or time.monotonic()
            self.pieces += 1
            self.characters += len(delta.text) + len(delta.reasoning)
            if delta.text:
                self.texts.append(delta.text)
            if delta.reasoning:
                self.reasonings.append(delta.reasoning)
        self.usage = delta.usage or self.usage
        self.finish_reason = delta.finish_reason or self.finish_reason

    def view(self, state: State | None = None) -> Snapshot:
        now = time.monotonic()
        for pieces in (self.texts, self.reasonings):
            pieces[:] = ["".join(pieces)]  # so that the next poll joins little
        return Snapshot(
            id=self.id,
            state=state or self.state,
            text=self.texts[0],
            reasoning=self.reasonings[0],
            endpoint=self.spec.endpoint,
            sampling=self.spec.sampling,
            seed=self.spec.seed,
            meta=self.spec.meta,
            created=self.created,
            waited=(self.sent or self.ended or now) - self.started,
            first_token=self.first - self.sent if self.first and self.sent else None,
            seconds=(self.ended or now) - self.sent if self.sent else 0.0,
            tokens=self.usage.completion_tokens if self.usage else self.pieces,
            usage=self.usage,
            finish_reason=self.finish_reason,
            error=self.error,
            error_kind=self.error_kind,
            problem=self.problem,
        )


class GenerationHub:
    """Runs generations in its own thread. Every method may be called from any thread and returns at once.

    `at_once` generations stream at a time, the others queue; the last `keep` finished ones are remembered.
    """

    def __init__(self, at_once: int = _AT_ONCE, keep: int = _KEEP) -> None:
        self._lock = threading.Lock()
        self._generations: OrderedDict[str, _Generation] = OrderedDict()
        self._keep = keep
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(at_once)
        self._thread = threading.Thread(target=self._run, name="generation-hub", daemon=True)
        self._thread.start()

    def start(self, spec: GenerationSpec, on_done: OnDone | None = None) -> str:
        """Begin a generation and return its id, which fits into a URL.

        `on_done` is called once, in another thread, with the last snapshot, however the generation ended,
        and before anybody else sees it as finished.
        """
        now = datetime.now(UTC)
        generation = _Generation(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
            spec=replace(spec, messages=[], meta=MappingProxyType(dict(spec.meta))),
            messages=spec.messages,
            on_done=on_done,
            created=now.isoformat(timespec="milliseconds"),
            started=time.monotonic(),
        )
        with self._lock:
            self._generations[generation.id] = generation
            self._forget_old_ones()
        self._loop.call_soon_threadsafe(self._begin, generation)
        return generation.id

    def snapshot(self, generation_id: str) -> Snapshot | None:
        """How a generation stands now; None if this process does not know it (any more)."""
        with self._lock:
            generation = self._generations.get(generation_id)
            return None if generation is None else generation.view()

    def stop(self, generation_id: str) -> bool:
        """Ask a generation to stop, which it does within a second; its text is kept. False if it is over."""
        with self._lock:
            generation = self._generations.get(generation_id)
            if generation is None or generation.over.is_set():
                return False
            generation.stop_asked = True
        self._loop.call_soon_threadsafe(self._cancel, generation)
        return True

    def stop_all(self) -> int:
        """Stop everything that runs or waits; returns how many there were."""
        with self._lock:
            known = list(self._generations)
        return sum(self.stop(generation_id) for generation_id in known)

    def recent(self, limit: int = 50) -> list[Snapshot]:
        """The latest generations, newest first."""
        with self._lock:
            newest = itertools.islice(reversed(self._generations.values()), limit)
            return [generation.view() for generation in newest]

    def wait(self, generation_id: str, seconds: float | None = None) -> Snapshot | None:
        """Wait until a generation is finished, at most `seconds`; its snapshot, None if unknown."""
        with self._lock:
            generation = self._generations.get(generation_id)
        if generation is None:
            return None
        generation.over.wait(seconds)
        with self._lock:
            return generation.view()

    def close(self) -> None:
        """Stop everything and end the thread. The process's own hub is never closed."""
        self.stop_all()
        with self._lock:
            generations = list(self._generations.values())
        for generation in generations:
            generation.over.wait(2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    # --- in the hub's thread ---

    def _run(self) -> None:
        # importing it takes half a second, which the first generation need not wait for
        self._loop.call_soon(lambda: self._loop.run_in_executor(None, importlib.import_module, "openai"))
        self._loop.run_forever()
        self._loop.close()

    def _begin(self, generation: _Generation) -> None:
        task = self._loop.create_task(self._generate(generation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, generation: _Generation) -> None:
        if generation.task is not None:
            generation.task.cancel()

    async def _generate(self, generation: _Generation) -> None:
        state: State = "done"
        try:
            generation.task = asyncio.current_task()
            if generation.stop_asked:
                raise asyncio.CancelledError
            async with self._slots:
                await self._stream(generation)
        except asyncio.CancelledError:
            state = "stopped"
        except LabError as error:
            state = "failed"
            with self._lock:
                generation.error = str(error)
                generation.error_kind = error.kind if isinstance(error, Fault) else "unbuildable"
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave a page waiting for ever
            state = "failed"
            with self._lock:
                generation.error = f"The lab itself failed: {type(error).__name__}: {error}."
                generation.error_kind = "lab"
        generation.task = None  # a stop that comes now is too late, and must not interrupt the keeping
        await self._finish(generation, state)

    async def _stream(self, generation: _Generation) -> None:
        spec, messages = generation.spec, generation.messages
        await asyncio.to_thread(importlib.import_module, "openai")
        if callable(messages):
            messages = await asyncio.to_thread(messages)
        with self._lock:
            generation.messages = None
            generation.state = "streaming"
            generation.sent = time.monotonic()
        deltas = stream_async(spec.endpoint, messages or [], spec.sampling, spec.seed, spec.timeouts)
        async with contextlib.aclosing(deltas):
            async for delta in deltas:
                with self._lock:
                    generation.add(delta)
                if generation.characters > _LONGEST_TEXT:
                    raise HalfBody(
                        f"{spec.endpoint.name} wrote more than {_LONGEST_TEXT:,} characters; cut off."
                    )

    async def _finish(self, generation: _Generation, state: State) -> None:
        with self._lock:
            generation.ended = time.monotonic()
            generation.messages = None
            final = generation.view(state)
        if generation.on_done is not None:
            try:
                await asyncio.to_thread(generation.on_done, final)
            except Exception as error:  # noqa: BLE001 - shown with the generation, which is not lost by it
                with self._lock:
                    generation.problem = f"It could not be kept: {error}"
        with self._lock:
            generation.state = state
            generation.on_done = None
        generation.over.set()

    def _forget_old_ones(self) -> None:
        finished = [known for known in self._generations.values() if known.over.is_set()]
        for known in finished[: max(0, len(finished) - self._keep)]:
            del self._generations[known.id]


_hub: GenerationHub | None = None
_hub_lock = threading.Lock()


def get_hub() -> GenerationHub:
    """The process's hub, started at the first call."""
    global _hub
    with _hub_lock:
        if _hub is None:
            _hub = GenerationHub()
        return _hub
