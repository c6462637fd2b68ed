"""Batches for the Pocket Listener, made on the fly by worker processes: a clip, and two ways of asking
about it.

Workers need numpy, tokenizers and Soundcheck, not torch. Batch number k always comes from worker k modulo
workers and from its own seed, so a run can be repeated and resumed. Knows nothing about the model.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioreason.engines.features import audio_token_count, frame_count, stack
from audioreason.engines.tokens import ChatTokenizer, Turn
from audioreason.errors import EngineError
from audioreason.train._pocket_prompts import answer_text, ask, shipped_prompts, wanted

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event as StopEvent

    from audioreason.items.schema import Item
    from audioreason.prompts import Prompt

SILENT_SHARE = 0.025
_SEEDS_PER_BATCH = 4096


@dataclass(frozen=True)
class Row:
    """One conversation about clip number `clip` of its batch; tokens from `prefix` on are the answer."""

    clip: int
    ids: NDArray[np.int32]
    prefix: int


@dataclass(frozen=True)
class Batch:
    """Clips, stacked and mirrored (clips, longest), with their frames, and the rows that ask about them."""

    number: int
    sound: NDArray[np.int16]
    frames: list[int]
    rows: list[Row]


@dataclass(frozen=True)
class Plan:
    """What every worker must know."""

    tokenizer: Path
    families: tuple[str, ...]
    seed: int
    clips: int
    first_batch: int
    workers: int
    easy_batches: int


def encode(
    tokenizer: ChatTokenizer, system: str, user: str, samples: int, answer: str | None
) -> tuple[list[int], int]:
    """Token ids of a conversation about a clip of so many samples, and where its answer starts.

    Without an answer the ids end where the assistant would begin.
    """
    turns = [Turn("system", (system,))] if system else []
    turns.append(Turn("user", (None, user)))
    prompt = tokenizer.conversation(turns, [audio_token_count(frame_count(samples))])
    if answer is None:
        return prompt, len(prompt)
    return [*prompt, *tokenizer.text(answer), tokenizer.im_end], len(prompt)


def _example_rows(
    rng: Random, item: Item, samples: int, silent: bool, tokenizer: ChatTokenizer, prompts: Sequence[Prompt]
) -> list[tuple[list[int], int]]:
    """Two conversations about one clip: one that asks for an explanation, one for the answer alone."""
    gold = item.gold
    if gold is None:
        raise EngineError(f"The item {item.id} has no gold choice.")
    rows = []
    for explain in (True, False):
        asked = ask(rng, item, explain, prompts)
        chosen = rng.randrange(len(item.choices)) if silent else gold
        answer = answer_text(rng, item, chosen, wanted(asked, item.question, item.choices), silent)
        rows.append(encode(tokenizer, asked.system, asked.user, samples, answer))
    return rows


def make_batch(plan: Plan, number: int, tokenizer: ChatTokenizer, prompts: Sequence[Prompt]) -> Batch:
    """Batch `number` of a plan: always the same one."""
    from audioreason.soundcheck import make_item

    rng = Random(f"{plan.seed}/{number}")
    clips: list[NDArray[np.int16]] = []
    rows: list[Row] = []
    for index in range(plan.clips):
        family = rng.choice(plan.families)
        hardest = 3 if number < plan.easy_batches else 5
        item, samples = make_item(
            family, rng.randint(1, hardest), number * _SEEDS_PER_BATCH + index, namespace="train"
        )
        silent = rng.random() < SILENT_SHARE
        clip = np.zeros(len(samples), np.int16) if silent else to_int16(samples)
        clips.append(clip)
        for ids, prefix in _example_rows(rng, item, len(clip), silent, tokenizer, prompts):
            rows.append(Row(index, np.asarray(ids, np.int32), prefix))
    return Batch(number, *stack(clips), rows)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in [-1, 1] as a 16-bit wav would hold them, which is what the model meets in use."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype(np.int16)


def corpus(families: Sequence[str], prompts: Sequence[Prompt], seed: int, per_family: int) -> Iterator[str]:
    """Texts to train the tokenizer on: prompts in many forms and answers of every kind."""
    from audioreason.soundcheck import make_item

    rng = Random(f"{seed}/corpus")
    for family in families:
        for index in range(per_family):
            item, _ = make_item(family, 1 + index % 5, 2**30 + index, namespace="train")
            for explain in (True, False):
                asked = ask(rng, item, explain, prompts)
                answer = answer_text(
                    rng, item, item.gold or 0, wanted(asked, item.question, item.choices), silent=False
                )
                # answers count double: their length is what generation costs
                yield from (f"system\n{asked.system}", f"user\n{asked.user}", answer, answer, "assistant\n")


def _work(plan: Plan, worker: int, out: Queue[Any], stop: StopEvent) -> None:
    """A worker process: its batches, in order, until told to stop; an error is sent in a batch's place."""
    try:
        tokenizer = ChatTokenizer.load(plan.tokenizer)
        prompts = shipped_prompts()
        number = plan.first_batch + worker
        while not stop.is_set():
            batch = make_batch(plan, number, tokenizer, prompts)
            while not stop.is_set():
                try:
                    out.put(batch, timeout=0.5)
                    break
                except queue.Full:
                    continue
            number += plan.workers
    except Exception as error:  # noqa: BLE001 - it must reach the parent, whatever it is
        out.put(f"{type(error).__name__}: {error}")
    out.cancel_join_thread()


class Feed:
    """Batches in their order from worker processes; a context manager that ends them.

    Raises:
        EngineError: from `next()`, if a worker failed or died.
    """

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._queues: list[Queue[Any]] = [context.Queue(maxsize=2) for _ in range(plan.workers)]
        self._processes = [
            context.Process(target=_work, args=(plan, worker, self._queues[worker], self._stop), daemon=True)
            for worker in range(plan.workers)
        ]
        self._next = 0

    def __enter__(self) -> Feed:
        for process in self._processes:
            process.start()
        return self

    def next(self) -> Batch:
        """The next batch; waits for its worker."""
        worker = self._next % len(self._queues)
        self._next += 1
        while True:
            try:
                batch = self._queues[worker].get(timeout=5)
                break
            except queue.Empty:
                if not self._processes[worker].is_alive():
                    raise EngineError(f"Data worker {worker} died.", "See its message above.") from None
        if not isinstance(batch, Batch):
            raise EngineError(f"A data worker failed ({batch}).", "Correct the family it names and resume.")
        return batch

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(timeout=2)
            if process.is_alive():
                process.terminate()
