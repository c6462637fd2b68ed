"""What a model is trained on: a JSONL file of answers worth learning, checked, tokenised, and cut into steps.

One line is one `Example`: which item, what was asked, and the whole answer with its thoughts. The file names
clips by dataset and item, so it can be copied and read by people; `write_examples` makes it. Knows nothing
about models but their tokenizer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.engines.features import audio_token_count, frame_count
from audioreason.engines.tokens import ChatTokenizer, Turn
from audioreason.errors import GuardError, ItemError
from audioreason.items import Dataset, load_dataset
from audioreason.items.clips import read_clip
from audioreason.items.guard import GuardReport, benchmark_note, check_training
from audioreason.items.rows import read_table
from audioreason.items.schema import Item
from audioreason.progress import Progress, Quiet
from audioreason.prompts import Prompt
from audioreason.runs.rendering import render_for
from audioreason.workspace import Workspace, write_atomic

_POOL = 32  # steps whose rows are sorted by length together


class Example(BaseModel):
    """One answer to learn. `answer` is the assistant's whole text, `<think>` included.

    `weight` multiplies its loss; a step's weights are normalised, so only ratios matter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(min_length=1)
    item_id: str = Field(min_length=1)
    system: str = ""
    user: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write a training file, whole or not at all; returns how many examples it has.

    Raises:
        WorkspaceError: if the disk is full.
    """
    lines = [example.model_dump_json() for example in examples]
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def gold_examples(dataset: Dataset, items: Iterable[Item], prompt: Prompt) -> list[Example]:
    """What a prompt asks about each item, and the right choice as the whole answer.

    The simplest thing to learn from: it teaches answers, not reasoning. `ANSWER:` stands before the choice
    where the prompt asks for sections.

    Raises:
        ItemError: if an item has no gold choice.
        PromptError: if the prompt cannot be rendered for an item.
    """
    lead = "ANSWER: " if "ANSWER" in prompt.sections else ""
    examples = []
    for item in items:
        if item.gold is None:
            raise ItemError(
                f"The item {item.id} has no gold choice.", "Take it out of the dataset, or give it an answer."
            )
        asked = render_for(prompt, item)
        examples.append(
            Example(
                dataset=dataset.info.name,
                item_id=item.id,
                system=asked.system,
                user=asked.user,
                answer=lead + item.choices[item.gold],
            )
        )
    return examples


def read_examples(path: Path) -> list[Example]:
    """The examples of a training file.

    Raises:
        GuardError: if it is a training set of another form with items of a known benchmark in it.
        ItemError: if it is missing, empty, or a line is no example; it names the line.
    """
    try:
        # a text may hold other line ends (U+2028) that JSON does not escape
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise ItemError(f"There is no training file {path}.", "Give a JSONL file of examples.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ItemError(f"{path} cannot be read ({error}).", "Give a JSONL file of examples.") from error
    examples = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            examples.append(Example.model_validate_json(line))
        except ValidationError as error:
            _refuse_other_form(path)
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise ItemError(
                f"Line {number} of {path.name} is no training example: {where}: {first['msg']}.",
                "A line has dataset, item_id, system, user, answer and weight.",
            ) from error
    if not examples:
        raise ItemError(f"{path.name} has no examples.", "Nothing was trained; give at least one.")
    return examples


def _refuse_other_form(path: Path) -> None:
    """Say what a training file is that is a table of questions and responses, and which benchmark is in it.

    Raises:
        GuardError: if a row is an item of a benchmark that is known by its hashes.
        ItemError: if it is such a table.
    """
    try:
        rows = read_table(path.name, path.read_bytes())
    except (OSError, ItemError):
        return
    if not rows or "item_id" in rows[0]:
        return
    note = benchmark_note(rows)
    raise (GuardError if note else ItemError)(
        f"{path.name} is a table with {', '.join(map(str, list(rows[0])[:8]))}, not a training file of the"
        f" lab.{note}",
        "A line of a training file has dataset, item_id, system, user, answer and weight; `audioreason teach`"
        " writes one from a dataset.",
    )


@dataclass(frozen=True)
class Row:
    """An example as tokens; from `prefix` on they are the answer. `clip` is its clip's path, None without."""

    ids: tuple[int, ...]
    prefix: int
    clip: Path | None
    clip_hash: str
    weight: float
    item_id: str

    @property
    def targets(self) -> int:
        """Tokens of the answer, the end mark included."""
        return len(self.ids) - self.prefix


@dataclass(frozen=True)
class Prepared:
    """Rows ready for training, held-out rows, and what was checked and left out."""

    rows: tuple[Row, ...]
    held_out: tuple[Row, ...]
    too_long: tuple[str, ...]  # ids of items left out
    guard: tuple[GuardReport, ...]
    digest: str  # of everything that decides the rows


def prepare(
    examples: Sequence[Example],
    workspace: Workspace,
    tokenizer: ChatTokenizer,
    *,
    longest: int,
    held_out: float = 0.0,
    seed: int = 0,
    override_reason: str | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Check examples against the benchmarks and turn them into rows.

    Args:
        examples: what to learn.
        workspace: whose datasets they name.
        tokenizer: the model's.
        longest: tokens; examples with more are left out, never cut.
        held_out: share of the items whose examples are kept for measuring.
        seed: which items are held out.
        override_reason: see `check_training`.
        progress: told of the clips.

    Raises:
        GuardError: if a benchmark item would train the model.
        ItemError: if a dataset, an item or a clip is missing, or nothing is left.
    """
    progress = progress or Quiet()
    datasets = {name: load_dataset(workspace, name) for name in sorted({e.dataset for e in examples})}
    for example in examples:
        if example.item_id not in datasets[example.dataset]:
            raise ItemError(
                f"The dataset {example.dataset} has no item {example.item_id}, named in the training file.",
                "Bring the dataset back, or write the training file again.",
            )
    reports = []
    for name, dataset in datasets.items():
        wanted = sorted({e.item_id for e in examples if e.dataset == name})
        items = [dataset[item_id] for item_id in wanted]
        reports.append(check_training(dataset, workspace, items, override_reason, progress))
    progress.phase("tokens", len(examples))
    rows: list[Row] = []
    too_long = []
    clips: dict[tuple[str, str], tuple[Path | None, str, int]] = {}
    for number, example in enumerate(examples, 1):
        key = (example.dataset, example.item_id)
        if key not in clips:
            clips[key] = _clip(datasets[example.dataset], example.item_id)
        row = encode(tokenizer, example, *clips[key])
        if len(row.ids) > longest:
            too_long.append(example.item_id)
        else:
            rows.append(row)
        if number % 100 == 0 or number == len(examples):
            progress.done(number)
    if not rows:
        raise ItemError(
            f"All {len(examples)} examples have more than {longest} tokens, so nothing is left to train on.",
            "Raise `longest`.",
        )
    kept = {item_id for item_id in {row.item_id for row in rows} if _share(item_id, seed) < held_out}
    training = tuple(row for row in rows if row.item_id not in kept)
    if not training:
        raise ItemError(
            f"All {len(rows)} examples are held out, so nothing is left to train on.", "Hold out fewer."
        )
    measured = tuple(row for row in rows if row.item_id in kept)
    return Prepared(training, measured, tuple(too_long), tuple(reports), _digest(training, measured))


def encode(
    tokenizer: ChatTokenizer, example: Example, clip: Path | None, clip_hash: str, samples: int
) -> Row:
    """An example's tokens: the prompt exactly as the engine reads it, then the answer and its end mark.

    The two are tokenised apart, as they are when the model answers; a chat template would join them, and
    some templates drop `<think>`.

    Raises:
        ItemError: if the answer does not survive tokenising.
    """
    parts = (example.user,) if clip is None else (None, example.user)
    turns = [Turn("system", (example.system,))] if example.system else []
    counts = [] if clip is None else [audio_token_count(frame_count(samples))]
    prompt = tokenizer.conversation([*turns, Turn("user", parts)], counts)
    full = [*prompt, *tokenizer.text(example.answer), tokenizer.im_end]
    if full[: len(prompt)] != prompt or tokenizer.decode(full[len(prompt) :]) != example.answer:
        raise ItemError(
            f"The answer to {example.item_id} changes when it becomes tokens.",
            "Remove characters that the model's tokenizer does not know.",
        )
    return Row(tuple(full), len(prompt), clip, clip_hash, example.weight, example.item_id)


def _clip(dataset: Dataset, item_id: str) -> tuple[Path | None, str, int]:
    """Path, content hash and length in samples (16 kHz) of an item's clip; (None, "", 0) if it has none.

    Raises:
        ItemError: if the item has a clip and the file is missing.
    """
    item = dataset[item_id]
    if item.audio_path is None:
        return None, "", 0
    path = dataset.clip(item)
    if path is None:
        raise ItemError(
            f"The clip of {item_id} is missing: {dataset.root / item.audio_path}.",
            "Nothing was trained; bring the file back, or take the example out.",
        )
    return path, dataset.clip_hash(item) or "", len(read_clip(path))


def _share(item_id: str, seed: int) -> float:
    """A number in [0, 1) that an item keeps whatever else is in the file."""
    return int(hashlib.sha256(f"{seed}|{item_id}".encode()).hexdigest()[:13], 16) / 16**13


def _digest(*groups: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for group in groups:
        for row in group:
            digest.update(repr((row.ids, row.prefix, row.clip_hash, row.weight)).encode())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def steps_per_epoch(rows: int, batch: int) -> int:
    """Optimiser steps in one pass over the rows; the last may be smaller."""
    return math.ceil(rows / batch)


class Order:
    """Which rows each step learns from: a function of rows, batch, seed and step alone.

    Each epoch is a new order. Rows are sorted by length within pools of 32 steps, cut into batches of
    similar length, and the batches are shuffled, so that little is padded.
    """

    def __init__(self, rows: Sequence[Row], batch: int, seed: int) -> None:
        self._lengths = [len(row.ids) for row in rows]
        self._batch = batch
        self._seed = seed
        self.steps = steps_per_epoch(len(rows), batch)  # in an epoch
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def __getitem__(self, step: int) -> list[int]:
        epoch, place = divmod(step, self.steps)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._batches(epoch))
        return self._epoch[1][place]

    def _batches(self, epoch: int) -> list[list[int]]:
        random = Random(f"{self._seed}|{epoch}")
        order = list(range(len(self._lengths)))
        random.shuffle(order)
        batches = []
        for start in range(0, len(order), _POOL * self._batch):
            pool = sorted(order[start : start + _POOL * self._batch], key=self._lengths.__getitem__)
            batches += [pool[begin : begin + self._batch] for begin in range(0, len(pool), self._batch)]
        random.shuffle(batches)
        return batches


def micro_batches(rows: Sequence[Row], indices: Sequence[int], tokens: int) -> list[list[int]]:
    """A step's rows cut so that no part, padded to its longest row, has more than `tokens` tokens.

    A single row longer than that is a part of its own.
    """
    parts: list[list[int]] = []
    for index in sorted(indices, key=lambda i: (len(rows[i].ids), i)):
        if parts and (len(parts[-1]) + 1) * len(rows[index].ids) <= tokens:
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts


def statistics(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts for the record and the preflight: rows, tokens, answer tokens, the longest row."""
    return {
        "rows": len(rows),
        "tokens": sum(len(row.ids) for row in rows),
        "answer_tokens": sum(row.targets for row in rows),
        "longest": max((len(row.ids) for row in rows), default=0),
        "clips": len({row.clip_hash for row in rows if row.clip is not None}),
    }
