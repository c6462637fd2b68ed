"""What a round is asked: the experiment's dataset, or problems that a curriculum makes for the round's model.

    datasets/NAME-rN-probe, runs NAME-rN-probe and NAME-rN-probe-silent     what the model can, cell by cell
    rest/NAME/round-N/curriculum.json                                       what was measured and decided
    dataset and run NAME-rN-tried                                           more problems than are wanted
    datasets/NAME-rN                                                        those that are kept

Each step is left alone if it is done, so a loop that was killed goes on. What to aim at is decided in
`curriculum`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audioreason.errors import ItemError
from audioreason.inference.endpoint import Endpoint
from audioreason.items import clear_of_benchmarks, load_dataset
from audioreason.items.variants import Ablation
from audioreason.progress import Progress
from audioreason.rest.config import RestConfig
from audioreason.rest.curriculum import Measured, all_cells, allocate, keep_tried, measure, words
from audioreason.rest.filter import filter_config
from audioreason.rest.generate import ask, candidate_seed, drawn
from audioreason.rest.phases import Interrupted
from audioreason.rest.record import curriculum_path, probe_name, problems_name, tried_name
from audioreason.runs import scored
from audioreason.soundcheck import generate_cells, keep_items
from audioreason.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    import pandas as pd

_SEEDS = 1_000_000  # apart: no round draws the problems of another experiment's seed


def problems_dataset(config: RestConfig, number: int) -> str:
    """The dataset that a round learns from."""
    return problems_name(config.name, number) if config.curriculum else config.dataset


def aim(
    workspace: Workspace, config: RestConfig, number: int, endpoint: Endpoint, progress: Progress
) -> tuple[str, list[str]]:
    """Make a round's problems, or what is left of that.

    Args:
        workspace: where everything is.
        config: with `curriculum`.
        number: the round's, from 1.
        endpoint: the model that will answer them.
        progress: hears of each step.

    Returns:
        What was decided, in a sentence or two, and the ids of the runs that it took.

    Raises:
        RestError: if there is nothing to aim at.
        Interrupted: if a stop was asked for.
        LabError: as `evaluate`.
    """
    import orjson

    assert config.curriculum is not None
    probe, runs = probe_name(config.name, number), _probe_runs(config, number)
    seed = config.seed * _SEEDS + 2 * number
    if not (workspace.datasets / probe).is_dir():
        _make(workspace, probe, [(*cell, config.probe) for cell in all_cells()], seed, progress, False)
    ways: tuple[tuple[str, Ablation | None], ...] = ((runs[0], None), (runs[1], "silence"))
    for run_id, ablation in ways:
        ask(
            workspace,
            config,
            run_id,
            config.prompt,
            endpoint,
            drawn(config, config.probe_samples),
            progress,
            dataset=probe,
            split="full",
            limit=None,
            seed=candidate_seed(config, number) + _SEEDS,
            kind="candidates",
            ablation=ablation,
        )
    measured = measure(
        _table(workspace, probe, runs[0]),
        right_shares(workspace, runs[1]),
        config.samples,
        filter_config(config.filter, config.filter_changes).zones,
    )
    counts_by_cell = allocate(measured, config.tries * config.curriculum)
    said = words(measured, counts_by_cell)
    rows = [_row(one, counts_by_cell.get(one.cell, 0)) for one in measured]
    write_atomic(
        curriculum_path(workspace, config.name, number), orjson.dumps({"words": said, "cells": rows})
    )
    counts = [(*cell, count) for cell, count in counts_by_cell.items()]
    folder = workspace.datasets / problems_name(config.name, number)
    if config.tries == 1:
        if not folder.is_dir():
            _make(workspace, folder.name, counts, seed + 1, progress)
        return said, list(runs)
    kept = _tried(workspace, config, number, counts, seed + 1, endpoint, progress)
    if not folder.is_dir():
        keep_items(workspace.datasets / tried_name(config.name, number), folder, kept)
    said += f" Of these, {len(kept):,} that are right sometimes are kept."
    return said, [*runs, tried_name(config.name, number)]


def _tried(
    workspace: Workspace,
    config: RestConfig,
    number: int,
    counts: list[tuple[str, int, int]],
    seed: int,
    endpoint: Endpoint,
    progress: Progress,
) -> list[str]:
    """Make more problems than are wanted, ask each a few times, and say which to keep."""
    assert config.curriculum is not None
    name = tried_name(config.name, number)
    if not (workspace.datasets / name).is_dir():
        _make(workspace, name, counts, seed, progress)
    ask(
        workspace,
        config,
        name,
        config.prompt,
        endpoint,
        drawn(config, config.try_samples),
        progress,
        dataset=name,
        split="full",
        limit=None,
        seed=candidate_seed(config, number) + 2 * _SEEDS,
        kind="candidates",
    )
    table = _table(workspace, name, name)
    rows = zip(table["item_id"], table["family"], table["k"], table["n"], strict=True)
    zones = filter_config(config.filter, config.filter_changes).zones
    return keep_tried(list(rows), config.curriculum, config.samples, zones)


def _make(
    workspace: Workspace,
    name: str,
    counts: list[tuple[str, int, int]],
    seed: int,
    progress: Progress,
    trains: bool = True,
) -> None:
    """Make a dataset; of one that trains nothing sounds like a benchmark's, or training would be refused."""
    accept = clear_of_benchmarks(workspace, progress) if trains else None
    try:
        generate_cells(workspace.datasets / name, counts, seed, progress, accept)
    except ItemError as error:
        if progress.should_stop():
            raise Interrupted from error
        raise


def _probe_runs(config: RestConfig, number: int) -> tuple[str, str]:
    probe = probe_name(config.name, number)
    return probe, f"{probe}-silent"


def _table(workspace: Workspace, dataset: str, run_id: str) -> pd.DataFrame:
    """The probe as `measure` wants it, one row a problem."""
    import pandas as pd

    marks = _marks(workspace, run_id)
    rows = []
    for item in load_dataset(workspace, dataset).items:
        found = marks.get(item.id, [])
        rows.append((item.id, item.family, item.difficulty, len(item.choices), len(found), sum(found)))
    return pd.DataFrame(rows, columns=["item_id", "family", "difficulty", "n_choices", "n", "k"])


def right_shares(workspace: Workspace, run_id: str) -> dict[str, float]:
    """By item: the share of its answered samples that is right."""
    return {item: sum(found) / len(found) for item, found in _marks(workspace, run_id).items() if found}


def _marks(workspace: Workspace, run_id: str) -> dict[str, list[bool]]:
    """Right or wrong of every answered sample, by item."""
    marks: dict[str, list[bool]] = {}
    for one in scored(workspace, run_id):
        if one.strict is not None:
            marks.setdefault(one.item_id, []).append(bool(one.strict))
    return marks


def _row(one: Measured, problems: int) -> dict[str, Any]:
    return {
        "family": one.cell.family,
        "difficulty": one.cell.difficulty,
        "probed": one.problems,
        "right": one.right,
        "chance": one.chance,
        "expected": one.expected,
        "left_out": one.left_out,
        "problems": problems,
    }
