"""The local engine: requests in, text out, many at a time, from one thread that owns the model.

Continuous batching: a request joins the rows that generate as soon as one is free and leaves when it is
done. A sample is decided by its prompt, its settings and its seed; greedy text is the same alone and in
company (see `slots`). Knows nothing about HTTP.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.adapters import apply_adapter, check_base, load_adapter, read_adapter
from audioreason.engines.deltas import AdapterDeltas
from audioreason.engines.features import audio_token_count, frame_count
from audioreason.engines.pocket import load_model, read_config
from audioreason.engines.samples import Chunk, FinishReason, Output, Request, Sample, Ticket
from audioreason.engines.sampling import Picked, pick
from audioreason.engines.slots import Reader, ReadingStopped, Slots
from audioreason.engines.tokens import ChatTokenizer
from audioreason.engines.weights import Shards, load_frozen
from audioreason.errors import EngineError

if TYPE_CHECKING:
    pass

_ADMIT_AT_ONCE = 4  # prompts read between two steps while others generate
_PROMPT_BYTES = {"cpu": 32 << 20, "cuda": 2 << 30}  # prompts that were read and are kept
_ROW_BYTES = {"cpu": 320 << 20}  # keys and values of the rows that generate, where memory is shared
_REST_SECONDS = 20.0  # without a request, until memory is given back


@dataclass(frozen=True)
class Load:
    """How busy the engine is: samples that generate, samples that wait, totals since the start, and the bytes
    of sound that waiting requests hold."""

    running: int
    waiting: int
    prompt_tokens: int
    generated_tokens: int
    waiting_bytes: int = 0


class LocalEngine:
    """A model folder that answers.

    Args:
        folder: a Qwen3-Omni thinker in the published layout: the Pocket Listener, or the 30B on a GPU.
        adapter: LoRA weights: merged in, or, with `quantize`, applied on top as in training.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        rows: samples that may generate together; None: 32 on a CPU, 64 on a GPU.
        quantize: "nf4" holds the experts in 4 bits.

    Raises:
        EngineError: if torch is missing, or the folder or adapter cannot be used, or do not belong together.
    """

    def __init__(
        self,
        folder: Path,
        adapter: Path | None = None,
        device: str = "auto",
        rows: int | None = None,
        quantize: str | None = None,
    ) -> None:
        torch = require_torch()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder = folder
        read_config(folder)
        self.tokenizer = ChatTokenizer.load(folder)
        self._model = _load(folder, adapter, device, quantize)
        self.device = device
        self.context = int(self._model.config.text_config.max_position_embeddings)
        kind = device.partition(":")[0]
        self._reader = Reader(self._model, self.tokenizer.audio_pad, _PROMPT_BYTES.get(kind, 2 << 30))
        self._slots = Slots(self._model, rows or (32 if kind == "cpu" else 64), _ROW_BYTES.get(kind))
        self._inbox: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._waiting: deque[Sample] = deque()
        self._running: list[Sample] = []
        self._waiting_bytes = 0
        self._counting = threading.Lock()
        self._rested = True
        self._prompt_tokens = 0
        self._generated_tokens = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="local-engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, emit: Callable[[Chunk], None]) -> Ticket:
        """Hand a request in; `emit` is called from the engine's thread and must be quick.

        Raises:
            EngineError: if the clips do not fit the parts, or the prompt does not fit the model, or it is
                closed.
        """
        if self._closed:
            raise EngineError("The engine is closed.")
        parts = sum(part is None for turn in request.turns for part in turn.parts)
        if parts != len(request.clips):
            raise EngineError(
                f"The conversation has {parts} places for a clip, and {len(request.clips)} clips."
            )
        counts = [audio_token_count(frame_count(len(clip))) for clip in request.clips]
        if 0 in counts:
            raise EngineError("A clip is too short to be heard.", "Give at least one sample.")
        ids = self.tokenizer.conversation(request.turns, counts)
        if len(ids) >= self.context:
            raise EngineError(
                f"The prompt has {len(ids)} tokens, and the model reads at most {self.context - 1}.",
                "Shorten the prompt or the clip.",
            )
        first = request.turns[0] if request.turns else None
        alone = first is not None and first.role == "system" and None not in first.parts
        system = len(self.tokenizer.turn(first)) if alone and first is not None else 0
        ticket = Ticket(request, ids, system, emit)
        with self._counting:
            self._waiting_bytes += ticket.audio_bytes
        self._inbox.put(ticket)
        return ticket

    def generate(self, requests: Sequence[Request]) -> list[list[Output]]:
        """Answer requests together and wait: for each, its `n` samples.

        Raises:
            EngineError: if a request cannot be answered.
        """
        texts = [[""] * request.n for request in requests]
        tokens: list[list[list[Picked]]] = [[[] for _ in range(request.n)] for request in requests]
        reasons: list[list[FinishReason | None]] = [[None] * request.n for request in requests]
        news: queue.SimpleQueue[tuple[int, Chunk]] = queue.SimpleQueue()
        for number, request in enumerate(requests):
            self.submit(request, lambda chunk, number=number: news.put((number, chunk)))  # type: ignore[misc]
        left = sum(request.n for request in requests)
        while left:
            number, chunk = news.get()
            texts[number][chunk.index] += chunk.text
            tokens[number][chunk.index] += chunk.tokens
            if chunk.finish_reason == "error":
                raise EngineError(f"The model failed ({chunk.error}).")
            if chunk.finish_reason is not None:
                reasons[number][chunk.index] = chunk.finish_reason
                left -= 1
        return [
            [
                Output(text, tuple(picked), reason or "abort")
                for text, picked, reason in zip(*columns, strict=True)
            ]
            for columns in zip(texts, tokens, reasons, strict=True)
        ]

    def load(self) -> Load:
        """How busy the engine is now."""
        return Load(
            len(self._running),
            len(self._waiting) + self._inbox.qsize(),
            self._prompt_tokens,
            self._generated_tokens,
            self._waiting_bytes,
        )

    def close(self) -> None:
        """Abort what is left and end the thread."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
            self._thread.join()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # the engine's thread

    def _run(self) -> None:
        while self._receive():
            try:
                self._drop_cancelled()
                self._admit()
                self._step()
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the engine goes on
                self._fail(f"{type(error).__name__}: {error}")
        for sample in [*self._running, *self._waiting]:
            sample.abort("abort")

    def _receive(self) -> bool:
        """Take in new requests, waiting for one if there is nothing to do; False once closed."""
        while True:
            idle = not self._running and not self._waiting
            try:
                ticket = self._inbox.get(block=idle, timeout=None if self._rested else _REST_SECONDS)
            except queue.Empty:
                if not idle:
                    return True
                self._rest()
                continue
            if ticket is None:
                return False
            self._rested = False
            draw = ticket.request.draw
            limit = min(draw.max_tokens, self.context - ticket.prompt_tokens)
            self._prompt_tokens += ticket.prompt_tokens
            self._waiting.extend(
                Sample(ticket, index, limit, self.tokenizer) for index in range(ticket.request.n)
            )

    def _rest(self) -> None:
        """Give back what a burst of requests needed."""
        self._reader.forget()
        self._slots.clear()
        give_memory_back()
        self._rested = True

    def _next(self) -> Sample:
        """Take the first sample out of the queue."""
        sample = self._waiting.popleft()
        self._left_queue(sample)
        return sample

    def _left_queue(self, sample: Sample) -> None:
        with self._counting:
            self._waiting_bytes -= sample.ticket.leave_queue()

    def _drop_cancelled(self) -> None:
        if any(sample.ticket.cancelled.is_set() for sample in self._waiting):
            for sample in [self._waiting.popleft() for _ in range(len(self._waiting))]:
                if sample.ticket.cancelled.is_set():
                    self._left_queue(sample)
                    sample.abort("abort")
                else:
                    self._waiting.append(sample)
        for row in reversed(range(len(self._running))):
            if self._running[row].ticket.cancelled.is_set():
                self._running[row].abort("abort")
                self._leave(row)

    def _admit(self) -> None:
        allowed = _ADMIT_AT_ONCE if self._running else self._slots.most
        for _ in range(allowed):
            if not self._waiting or not self._slots.fits(self._waiting[0].ticket.prompt_tokens):
                return
            clips = self._waiting[0].ticket.clips
            sample = self._next()
            ticket = sample.ticket
            try:
                prompt = self._reader.read(ticket.ids, ticket.system, clips, ticket.cancelled.is_set)
                sample.take(pick(prompt.logits[None], [sample.chooser])[0])
            except ReadingStopped:
                sample.abort("abort")
                continue
            except Exception as error:  # noqa: BLE001 - one bad request must not end the others
                sample.abort("error", f"{type(error).__name__}: {error}")
                continue
            self._generated_tokens += 1
            if sample.finished is None:
                self._slots.add(prompt)
                self._running.append(sample)

    def _step(self) -> None:
        if not self._running:
            return
        logits = self._slots.step([sample.last for sample in self._running])
        picked = pick(logits, [sample.chooser for sample in self._running])
        self._generated_tokens += len(picked)
        for sample, token in zip(self._running, picked, strict=True):
            sample.take(token)
        for row in reversed(range(len(self._running))):
            if self._running[row].finished is not None:
                self._leave(row)

    def _leave(self, row: int) -> None:
        moved = self._slots.remove(row)
        last = self._running.pop()
        if moved != row:
            self._running[row] = last

    def _fail(self, message: str) -> None:
        for sample in self._running:
            sample.abort("error", message)
        while self._waiting:
            self._next().abort("error", message)
        while self._running:
            self._leave(len(self._running) - 1)


def give_memory_back() -> None:
    """Return what is free to the operating system; the allocators keep it otherwise."""
    import torch

    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # glibc has it, other C libraries do not
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def require_torch() -> Any:
    """The torch module.

    Raises:
        EngineError: if torch or transformers is not installed.
    """
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise EngineError(
            "The local engine needs torch and transformers, which are not installed.",
            'Install them with: pip install "audioreason[local]"',
        ) from error
    return torch


def _load(folder: Path, adapter: Path | None, device: str, quantize: str | None) -> Any:
    """The model as it shall answer.

    Raises:
        EngineError: if model or adapter cannot be used, or the adapter belongs to another model.
    """
    if quantize not in (None, "nf4"):
        raise EngineError(f"There is no quantisation {quantize}.", "Use nf4, or none.")
    dtype = "float32" if device == "cpu" else "bfloat16"
    deltas = None
    if adapter is not None:
        check_base(read_adapter(adapter), folder)
        deltas = AdapterDeltas(adapter, Shards(folder).shapes())
    if quantize is None:
        model = load_model(folder, device, dtype)
        if deltas is not None:
            apply_adapter(model, deltas)
    else:
        model = load_frozen(folder, device, dtype, quantize)
        if deltas is not None:
            load_adapter(model, deltas, dtype)
    return model.eval().requires_grad_(False)
