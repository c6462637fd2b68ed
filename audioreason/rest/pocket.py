"""The self-training experiment at pocket size: one arm of it on one GPU, without a server.

    python -m audioreason.rest.pocket --out DIR --seed 0 --arm curriculum+rehearsal

An arm learns from a `fixed` dataset of generated problems, the same in every round, or from a `curriculum`
that is aimed anew at each round's model; with `+rehearsal`, mastered samples are added against forgetting.
The model is the Pocket Listener, the filter, the training, the merge and the statistics are the loop's own;
only the candidates are written by `engines.bulk` instead of a server. Each arm is tested greedily, with the
prompt that it was trained on and with another, on fresh items that no training draws from and on the shipped
set. `--tiny` runs it on a CPU in a minute, which the tests do. What came of it: docs/self-training.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.bulk import Asked, Bulk
from audioreason.engines.pocket import load_model
from audioreason.engines.sampling import Draw
from audioreason.engines.tokens import ChatTokenizer
from audioreason.items import Dataset, Item, clear_of_benchmarks, load_dataset
from audioreason.items.clips import read_clip
from audioreason.prompts import Prompt, load_prompt
from audioreason.rest.choosing import candidate_table, problem_table
from audioreason.rest.curriculum import Cell, all_cells, allocate, keep_tried, measure, words
from audioreason.rest.filter import filter_config, select
from audioreason.rest.zones import NAMES
from audioreason.runs import Prediction, score_prediction
from audioreason.runs.rendering import render_for
from audioreason.soundcheck import SUBCATEGORIES, families, generate_cells, keep_items, make_item
from audioreason.train.data import Example, write_examples
from audioreason.train.loop import train
from audioreason.train.merge import merge
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace, shipped, write_atomic

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

ARMS = ("fixed", "fixed+rehearsal", "curriculum", "curriculum+rehearsal")
PROMPT = "structured-reasoning"  # asked, and trained on
OTHER = "baseline"  # asked only
_TEST_SEED = 9_000_000


@dataclass(frozen=True)
class Sizes:
    """How large the experiment is; the defaults are those of the write-up."""

    problems: int = 2048
    rounds: int = 2
    samples: int = 16
    probe: int = 4  # problems a cell
    probe_samples: int = 8
    tries: int = 3
    try_samples: int = 4
    silent_samples: int = 4
    test: int = 80  # fresh items a subcategory
    shipped: int = 320
    cells: int | None = None  # only the first cells
    rank: int = 64
    batch: int = 32
    epochs: float = 2.0
    learning_rates: tuple[float, ...] = (2e-4, 1e-4)
    rehearsal: float = 0.5
    filter: str = "code"
    max_tokens: int = 192
    rows: int = 2048
    device: str = "cuda"


TINY = Sizes(
    problems=10, rounds=1, samples=4, probe=2, probe_samples=2, silent_samples=2, test=1, shipped=2,
    cells=10, rank=8, batch=4, epochs=0.5, max_tokens=128, device="cpu",
)  # fmt: skip


class Model:
    """A model folder that answers in bulk."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        dtype = "float32" if sizes.device == "cpu" else "bfloat16"
        model, tokenizer = load_model(folder, sizes.device, dtype), ChatTokenizer.load(folder)
        longest = sizes.max_tokens
        self._greedy = Bulk(model, tokenizer, Draw(temperature=0.0, max_tokens=longest))
        self._drawn = Bulk(
            model, tokenizer, Draw(temperature=0.9, top_p=0.95, top_k=50, max_tokens=longest), sizes.rows
        )

    def predictions(
        self,
        prompt: Prompt,
        items: Sequence[Item],
        clips: Mapping[str, NDArray[np.float32]],
        samples: int = 1,
        seed: int | None = None,
    ) -> list[Prediction]:
        """Every item's answers; drawn as in the published recipe with a seed, greedy without."""
        asked = []
        for item in items:
            said = render_for(prompt, item)
            asked.append(Asked(said.system, said.user, clips[item.id]))
        answers = self._greedy.answer(asked) if seed is None else self._drawn.answer(asked, samples, seed)
        return [
            Prediction(item.id, number, content=text, finish_reason=reason, completion_tokens=tokens)
            for item, given in zip(items, answers, strict=True)
            for number, (text, tokens, reason) in enumerate(given)
        ]


def run_arm(out: Path, arm: str, seed: int, sizes: Sizes) -> dict[str, Any]:
    """One arm from the base to its last round; writes OUT/arm-seed.json after each round.

    Args:
        out: folder for results; models and datasets go to OUT/work-ARM-SEED.
        arm: one of `ARMS`.
        seed: of problems, candidates and training.
        sizes: how large.

    Raises:
        LabError: what a phase raises; the rounds before are in the file.
    """
    import torch

    workspace = Workspace(out / f"work-{arm.replace('+', '-')}-{seed}")
    prompt, other = load_prompt(PROMPT), load_prompt(OTHER)
    tests = _tests(workspace, sizes)
    folder = shipped("pocket-listener")
    model = Model(folder, sizes)
    found: dict[str, Any] = {"arm": arm, "seed": seed, "sizes": vars(sizes), "rounds": []}
    found["items"] = [
        {"id": item.id, "subcategory": item.subcategory, "set": name}
        for name, (items, _) in tests.items()
        for item in items
    ]
    found["rounds"].append({"number": 0, **_test(model, tests, (prompt, other))})
    for number in range(1, sizes.rounds + 1):
        began = time.monotonic()
        one: dict[str, Any] = {"number": number}
        name = f"problems-{number}" if arm.startswith("curriculum") else "problems"
        if not (workspace.datasets / name).exists():
            made, cells = name, _even(sizes)
            if arm.startswith("curriculum"):
                cells, one["curriculum"] = _aimed(workspace, model, prompt, number, seed, sizes)
                made = f"tried-{number}"
            seeds, accept = 1000 * (seed + 1) + number, clear_of_benchmarks(workspace)
            generate_cells(workspace.datasets / made, _counted(cells), seeds, accept=accept)
            if made != name:
                tried = load_dataset(workspace, made)
                kept = _sometimes(model, prompt, tried, 100 * seed + 40 + number, sizes)
                keep_items(tried.root, workspace.datasets / name, kept)
        dataset = load_dataset(workspace, name)
        one["seconds"] = {"problems": round(time.monotonic() - began, 1)}
        began = time.monotonic()
        examples, chosen = _choose(workspace, model, prompt, dataset, number, seed, sizes, "rehearsal" in arm)
        one |= chosen
        one["seconds"]["candidates"] = round(time.monotonic() - began, 1)
        began = time.monotonic()
        del model
        gc.collect()
        torch.cuda.empty_cache()  # other arms may run beside this one
        data, adapter = workspace.root / f"training-{number}.jsonl", workspace.adapters / f"r{number}"
        write_examples(data, examples)
        trained = train(workspace, folder, data, adapter, _recipe(sizes, number, seed))
        folder = merge(trained.folder, folder, workspace.root / "models" / f"r{number}")
        one["training"] = {"examples": len(examples), "steps": trained.steps, "loss": trained.loss}
        one["seconds"]["train"] = round(time.monotonic() - began, 1)
        began = time.monotonic()
        model = Model(folder, sizes)
        one |= _test(model, tests, (prompt, other))
        one["seconds"]["test"] = round(time.monotonic() - began, 1)
        found["rounds"].append(one)
        write_atomic(out / f"{arm}-{seed}.json", json.dumps(found) + "\n")
        print(arm, seed, number, one["zones"], one["accuracy"], one["seconds"], flush=True)
    return found


def _recipe(sizes: Sizes, number: int, seed: int) -> Recipe:
    return Recipe(
        rank=sizes.rank,
        alpha=2.0 * sizes.rank,
        learning_rate=sizes.learning_rates[min(number, len(sizes.learning_rates)) - 1],
        epochs=sizes.epochs,
        batch=sizes.batch,
        held_out=0.0,
        seed=seed,
        checkpointing=False,
        part_tokens=65_536,
        device="cpu" if sizes.device == "cpu" else "cuda",
    )


def _counted(cells: Mapping[Cell, int]) -> list[tuple[str, int, int]]:
    return [(*cell, count) for cell, count in cells.items()]


def _even(sizes: Sizes) -> dict[Cell, int]:
    """The fixed dataset: as many problems of every cell as there can be."""
    cells = all_cells()[: sizes.cells]
    counts = dict.fromkeys(cells, 0)
    for place in range(sizes.problems):
        counts[cells[place * len(cells) // sizes.problems]] += 1
    return {cell: count for cell, count in counts.items() if count}


def _aimed(
    workspace: Workspace, model: Model, prompt: Prompt, number: int, seed: int, sizes: Sizes
) -> tuple[dict[Cell, int], dict[str, Any]]:
    """Probe every cell with this model, and decide what the round's problems are."""
    name = f"probe-{number}"
    probed = _counted(dict.fromkeys(all_cells()[: sizes.cells], sizes.probe))
    generate_cells(workspace.datasets / name, probed, seed=2000 * (seed + 1) + number)
    dataset = load_dataset(workspace, name)
    heard, silent = _both(model, prompt, dataset, sizes.probe_samples, 100 * seed + number, sizes)
    table = problem_table(dataset.items)
    table["difficulty"] = [item.difficulty for item in dataset.items]
    right = _right(heard, dataset, prompt)
    table["n"] = [len(right[item]) for item in table["item_id"]]
    table["k"] = [sum(right[item]) for item in table["item_id"]]
    measured = measure(table, silent, sizes.samples, filter_config(sizes.filter).zones)
    allocation = allocate(measured, sizes.tries * sizes.problems)
    said = {
        "words": words(measured, allocation),
        "cells": [
            {
                "family": one.cell.family,
                "difficulty": one.cell.difficulty,
                "right": round(one.right, 3),
                "chance": round(one.chance, 3),
                "expected": round(one.expected, 3),
                "left_out": one.left_out,
                "problems": allocation.get(one.cell, 0),
            }
            for one in measured
        ],
    }
    return allocation, said


def _sometimes(model: Model, prompt: Prompt, tried: Dataset, seed: int, sizes: Sizes) -> list[str]:
    """The problems that are right sometimes."""
    answers = model.predictions(prompt, tried.items, _clips(tried, tried.items), sizes.try_samples, seed)
    right = _right(answers, tried, prompt)
    rows = [(item.id, item.family or "", sum(right[item.id]), len(right[item.id])) for item in tried.items]
    return keep_tried(rows, sizes.problems, sizes.samples, filter_config(sizes.filter).zones)


def _both(
    model: Model, prompt: Prompt, dataset: Dataset, samples: int, seed: int, sizes: Sizes
) -> tuple[list[Prediction], dict[str, float]]:
    """Candidates, and the share of right answers by item with a silent clip."""
    import numpy as np

    clips = _clips(dataset, dataset.items)
    heard = model.predictions(prompt, dataset.items, clips, samples, seed)
    nothing = {name: np.broadcast_to(np.float32(0), clip.shape) for name, clip in clips.items()}  # no memory
    control = model.predictions(prompt, dataset.items, nothing, sizes.silent_samples, seed + 50)
    right = _right(control, dataset, prompt)
    return heard, {name: sum(marks) / len(marks) for name, marks in right.items()}


def _right(predictions: Iterable[Prediction], dataset: Dataset, prompt: Prompt) -> dict[str, list[bool]]:
    marks: dict[str, list[bool]] = {}
    for one in predictions:
        score = score_prediction(one, dataset[one.item_id], prompt.sections)
        marks.setdefault(one.item_id, []).append(bool(score.strict))
    return marks


def _clips(dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[np.float32]]:
    paths = {item.id: dataset.clip(item) for item in items}
    return {name: read_clip(path) for name, path in paths.items() if path}  # it was made with all its clips


def _choose(
    workspace: Workspace,
    model: Model,
    prompt: Prompt,
    dataset: Dataset,
    number: int,
    seed: int,
    sizes: Sizes,
    rehearse: bool,
) -> tuple[list[Example], dict[str, Any]]:
    """A round's candidates and what the filter makes of them."""
    heard, silent = _both(model, prompt, dataset, sizes.samples, 100 * seed + 20 + number, sizes)
    items = {item.id: item for item in dataset.items}
    rules = filter_config(sizes.filter)
    chosen = select(
        candidate_table(heard, items, prompt.sections),
        problem_table(items.values()),
        rules,
        rehearsal=sizes.rehearsal if rehearse else 0.0,
        silent=silent,
        seed=seed,
    )
    kept = chosen.candidates[chosen.candidates["kept"]].sort_values(["item_id", "sample"])
    texts = {one.key: one.content or "" for one in heard}
    examples = []
    for item_id, sample, weight in zip(kept["item_id"], kept["sample"], kept["weight"], strict=True):
        said = render_for(prompt, items[item_id])
        examples.append(
            Example(
                dataset=dataset.info.name,
                item_id=item_id,
                system=said.system,
                user=said.user,
                answer=texts[item_id, sample],
                weight=float(weight),
            )
        )
    return examples, {
        "summary": chosen.summary,
        "zones": _zones(chosen.problems),
        "histogram": chosen.problems["k"].value_counts().sort_index().to_dict(),
    }


def _zones(problems: pd.DataFrame) -> dict[str, Any]:
    """Problems by zone: of all, of those with four choices, and of those whose family needs its clips."""
    four = problems[problems["n_choices"] >= 4]
    counted = problems[problems["counts"]]
    return {
        name: {
            "problems": len(table),
            **{zone: int((table["zone"] == zone).sum()) for zone in NAMES},
        }
        for name, table in (("all", problems), ("four_choices", four), ("counted", counted))
    }


Tests = dict[str, tuple[list[Item], dict[str, "NDArray[np.float32]"]]]


def _tests(workspace: Workspace, sizes: Sizes) -> Tests:
    """Fresh items, evenly by subcategory and difficulty, and the shipped set with its held-out families."""
    fresh: list[Item] = []
    clips: dict[str, NDArray[np.float32]] = {}
    for subcategory in SUBCATEGORIES:
        names = [f.name for f in families().values() if f.subcategory == subcategory and not f.held_out]
        for index in range(sizes.test):
            item, samples = make_item(
                names[index % len(names)], 1 + index // len(names) % 5, _TEST_SEED + index, "fresh"
            )
            fresh.append(item)
            clips[item.id] = samples
    dataset = load_dataset(workspace, "soundcheck")
    items = list(dataset.items)[: sizes.shipped]
    return {"fresh": (fresh, clips), "shipped": (items, _clips(dataset, items))}


def _test(model: Model, tests: Tests, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Right or wrong by prompt, in the order of `items`; and accuracy by prompt and set."""
    right: dict[str, list[int]] = {}
    accuracy: dict[str, dict[str, float]] = {}
    for prompt in prompts:
        marks: list[int] = []
        accuracy[prompt.name] = {}
        for name, (items, clips) in tests.items():
            mine = [
                int(bool(score_prediction(one, item, prompt.sections).strict))
                for one, item in zip(model.predictions(prompt, items, clips), items, strict=True)
            ]
            accuracy[prompt.name][name] = round(sum(mine) / len(mine), 4)
            marks += mine
        right[prompt.name] = marks
    return {"right": right, "accuracy": accuracy}


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m audioreason.rest.pocket`."""
    parser = argparse.ArgumentParser(description="Self-training of the Pocket Listener on one GPU.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", choices=ARMS, default="fixed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--problems", type=int, default=None)
    parser.add_argument("--learning-rates", type=float, nargs="+", help="of each round, the last one goes on")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, to try this script")
    given = parser.parse_args(arguments)
    changes = {name: getattr(given, name) for name in ("rounds", "problems") if getattr(given, name)}
    if given.learning_rates:
        changes["learning_rates"] = tuple(given.learning_rates)
    sizes = Sizes(**{**vars(TINY if given.tiny else Sizes()), **changes})
    given.out.mkdir(parents=True, exist_ok=True)
    run_arm(given.out, given.arm, given.seed, sizes)


if __name__ == "__main__":
    main()
