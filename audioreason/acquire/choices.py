"""Multiple choice of free-form questions: a model that hears the clip invents the wrong answers.

Each proposal is kept as it comes, so that a stopped run goes on where it was; then it is checked: wrong
answers differ from the gold one and from each other, are of its type (a number for a number, about as long),
and do not contain it. The gold answer stands in each place equally often. Whether a wrong answer is truly
wrong only a person can say: the dataset is for training, and says who invented its choices.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from audioreason.acquire.links import link
from audioreason.acquire.mapping import FREE
from audioreason.answers import last_object
from audioreason.errors import ItemError
from audioreason.inference.answers_file import append_answers
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.messages import Messages, build_messages
from audioreason.inference.probe import ready_endpoint
from audioreason.inference.runner import RawRecord, Request
from audioreason.inference.seeds import sample_seed
from audioreason.items import Dataset, DatasetInfo, Item, load_dataset, prepare_clip, save_dataset
from audioreason.items.dataset import check_name, clip_path
from audioreason.progress import Progress, Quiet
from audioreason.prompts import Rendered
from audioreason.workspace import Workspace

PROPOSING = Sampling(temperature=0.8, max_tokens=4096)
_FIELDS = (
    "id", "question", "audio_path", "modality", "category", "sub-category", "language", "source", "url",
    "timestamp",
)  # fmt: skip
_REPLIES = "choices.jsonl"
_TRIES = 3  # proposals for one question before it is given up
_LONGER = 3.0  # a wrong answer has at most so many times the gold one's words, and at least the inverse
_SYSTEM = (
    "You write multiple-choice questions about recordings. Listen, read the question and its right answer,"
    " and invent wrong answers that somebody who did not listen well could give: of the same kind, length"
    " and style as the right one, clearly wrong for this recording, and different from each other."
)
_NUMBERS = frozenset(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "once", "twice")
)


@dataclass(frozen=True)
class Made:
    """What came of it: the dataset, and the ids that got no usable choices with the reason."""

    dataset: Dataset
    given_up: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        info = self.dataset.info
        return {
            "name": info.name,
            "hash": info.hash,
            "items": len(self.dataset.items),
            "given_up": self.given_up,
        }


def make_choices(
    workspace: Workspace,
    source: str,
    name: str,
    endpoint: Endpoint,
    *,
    choices: int = 4,
    limit: int | None = None,
    sampling: Sampling = PROPOSING,
    seed: int = 0,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Made:
    """Make a dataset of multiple-choice items from the free-form rows of the dataset folder `source`.

    Proposals are kept in that folder and never asked for twice; called again, it goes on. The dataset appears
    whole or not at all. Phase of `progress`: choices.

    Raises:
        ItemError: if there is no free-form material, `name` is taken, nothing usable came, or it was stopped.
        EndpointError: if the model is not there or does not hear.
        RunError: if it stopped answering; what came is kept.
    """
    progress = progress or Quiet()
    root = workspace.datasets / check_name(source)
    target = workspace.datasets / check_name(name)
    if target.exists():
        raise ItemError(f"There is a dataset {name} already.", "Choose another name, or remove it first.")
    material = _material(root)[:limit]
    rows, deaf = _heard(root, material)
    if not rows:
        raise ItemError(
            f"None of the {len(material)} clips of {source} is here, and choices are invented by who hears.",
            f"Put them into {root / 'audio'}, or download again with the folder that has them (--audio).",
        )
    endpoint = ready_endpoint(endpoint, workspace.clips)
    kept = root / _REPLIES
    for attempt in range(_TRIES):
        usable, reasons = _usable(rows, kept, choices)
        wanted = [
            row for row in rows if row["id"] not in usable and reasons.get(row["id"], (0, ""))[0] <= attempt
        ]
        if not wanted:
            break
        _ask(
            wanted, root, kept, endpoint, sampling, choices, seed + attempt, concurrency, workspace, progress
        )
    usable, reasons = _usable(rows, kept, choices)
    if not usable:
        first = next(iter(reasons.values()), (0, "The model said nothing."))[1]
        raise ItemError(f"No question got usable choices. The first: {first}", "Try another model.")
    items = _items(rows, usable, choices, seed)
    info = DatasetInfo(
        name=name,
        title=f"{source} with choices invented by {endpoint.model}",
        kind="training",
        source=f"choices of {source} by {endpoint.model}, seed {seed}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    temporary = target.with_name(f".{name}.choosing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for item in items:
            if item.audio_path is not None and (clip := clip_path(root, item.audio_path)) is not None:
                link(clip, temporary / item.audio_path)
        save_dataset(temporary, info, items, workspace.cache)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    dataset = load_dataset(workspace, name)
    given_up = {
        row["id"]: reasons[row["id"]][1] for row in rows if row["id"] not in usable and row["id"] in reasons
    }
    return Made(dataset, {**given_up, **deaf})


@dataclass(frozen=True)
class Outlook:
    """What making choices would take: questions in all, those without clip, those that have choices."""

    questions: int
    without_clip: int
    ready: int


def foresee(workspace: Workspace, source: str, choices: int = 4, limit: int | None = None) -> Outlook:
    """What `make_choices` would have to do; asks nobody.

    Raises:
        ItemError: if there is no free-form material.
    """
    root = workspace.datasets / check_name(source)
    material = _material(root)[:limit]
    rows, deaf = _heard(root, material)
    return Outlook(len(material), len(deaf), len(_usable(rows, root / _REPLIES, choices)[0]))


def check_choices(gold: str, wrong: Sequence[str], count: int) -> str:
    """Why these wrong answers cannot stand beside `gold`, in a sentence; empty if they can."""
    if len(wrong) != count:
        return f"It proposed {len(wrong)} wrong answers instead of {count}."
    plain = [_plain(text) for text in (gold, *wrong)]
    if any(not text for text in plain):
        return "One of its answers is empty."
    if len(set(plain)) != len(plain):
        return "Two of the choices are the same."
    words = [frozenset(text.split()) for text in plain]
    if len(set(words)) != len(words):
        return "Two of the choices are made of the same words."
    if any(words[0] <= other for other in words[1:]):
        return "A wrong answer contains the right one."
    numeric = [_is_number(text) for text in plain]
    if len(set(numeric)) > 1:
        return "Numbers and other words stand side by side."
    lengths = [len(text.split()) for text in plain]
    low, high = lengths[0] / _LONGER, max(lengths[0] * _LONGER, 3)
    if any(not low <= length <= high for length in lengths[1:]):
        return "A wrong answer is much longer or shorter than the right one."
    return ""


def read_proposal(reply: str | None) -> list[str] | None:
    """The wrong answers in a reply: the list `wrong` of its last JSON object; None if there is none."""
    wrong = last_object(reply, "wrong")
    if isinstance(wrong, list) and all(isinstance(one, str | int | float) for one in wrong):
        return [str(one).strip() for one in wrong]
    return None


def _items(rows: Sequence[dict[str, Any]], usable: dict[str, list[str]], count: int, seed: int) -> list[Item]:
    """The items, in the rows' order; over every `count` of them the gold answer stands in each place once."""
    kept = [row for row in rows if row["id"] in usable]
    order = random.Random(f"{seed}/places")
    places: list[int] = []
    while len(places) < len(kept):
        turn = list(range(count))
        order.shuffle(turn)
        places += turn
    items = []
    for row, place in zip(kept, places, strict=False):
        wrong = list(usable[row["id"]])
        random.Random(f"{seed}/{row['id']}").shuffle(wrong)
        choices = [*wrong[:place], str(row["answer"]).strip(), *wrong[place:]]
        fields = {"choices": choices, **{name: row.get(name) for name in _FIELDS if row.get(name)}}
        items.append(Item.model_validate({**fields, "answer": str(row["answer"]).strip()}))
    return items


def _usable(
    rows: Sequence[dict[str, Any]], kept: Path, choices: int
) -> tuple[dict[str, list[str]], dict[str, tuple[int, str]]]:
    """Wrong answers by id where a proposal holds; else how often it was asked, and what is wrong with it."""
    gold = {row["id"]: str(row["answer"]) for row in rows}
    usable: dict[str, list[str]] = {}
    tries: Counter[str] = Counter()
    reasons: dict[str, tuple[int, str]] = {}
    for row in _lines(kept):
        item_id = row["id"]
        if item_id not in gold or item_id in usable or row.get("choices") != choices:
            continue
        tries[item_id] += 1
        wrong = row["wrong"]
        problem = (
            "Its reply held no proposal."
            if wrong is None
            else check_choices(gold[item_id], wrong, choices - 1)
        )
        if problem:
            reasons[item_id] = (tries[item_id], problem)
        else:
            usable[item_id] = wrong
    return usable, reasons


def _ask(
    rows: Sequence[dict[str, Any]],
    root: Path,
    kept: Path,
    endpoint: Endpoint,
    sampling: Sampling,
    choices: int,
    seed: int,
    concurrency: int,
    workspace: Workspace,
    progress: Progress,
) -> None:
    def requests() -> Iterator[Request]:
        for row in rows:
            build = partial(_messages, row, root, endpoint, choices, workspace.cache)
            yield Request(row["id"], 0, sample_seed(seed, row["id"], 0), build)

    def line(raw: RawRecord) -> dict[str, Any]:
        return {
            "id": raw.item_id,
            "choices": choices,
            "wrong": read_proposal(raw.content),
            "reply": raw.content,
            "model": endpoint.model,
            "created": raw.created,
        }

    summary = append_answers(
        kept,
        requests(),
        endpoint,
        sampling,
        line,
        phase="choices",
        total=len(rows),
        concurrency=concurrency,
        progress=progress,
        hint="What it said is kept.",
    )
    if summary.stopped:
        raise ItemError("Making choices was stopped.", "What was proposed is kept; the same command resumes.")


def _messages(row: dict[str, Any], root: Path, endpoint: Endpoint, choices: int, cache: Path) -> Messages:
    text = (
        f"Question: {row['question']}\nRight answer: {row['answer']}\n\nInvent {choices - 1} wrong answers."
        ' Answer with one JSON object and nothing behind it: {"wrong": ["...", "..."]}'
    )
    clip = clip_path(root, row["audio_path"]) if row.get("audio_path") else None
    heard = None if clip is None else prepare_clip(clip, cache)
    return build_messages(Rendered(_SYSTEM, text), heard, endpoint.transport)


def _heard(root: Path, material: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows whose clip is here or that name none, and the ids of the others with the reason."""
    rows, deaf = [], {}
    for row in material:
        if row.get("audio_path") and clip_path(root, row["audio_path"]) is None:
            deaf[row["id"]] = "Its clip is not here."
        else:
            rows.append(row)
    return rows, deaf


def free_form(workspace: Workspace) -> dict[str, int]:
    """Datasets of the workspace that hold free-form questions, by name, with how many."""
    found = {}
    for path in sorted(workspace.datasets.glob(f"*/{FREE}")):
        with path.open("rb") as file:
            found[path.parent.name] = sum(1 for _ in file)
    return found


def _material(root: Path) -> list[dict[str, Any]]:
    rows = [row for row in _lines(root / FREE) if row.get("question") and row.get("answer") and row.get("id")]
    if not rows:
        raise ItemError(
            f"{root.name} has no free-form questions ({FREE}).",
            "Download one, such as: audioreason data download musicbench",
        )
    return rows


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield orjson.loads(line)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _is_number(text: str) -> bool:
    return any(word.isdigit() or word in _NUMBERS for word in text.split()) and len(text.split()) <= 3
