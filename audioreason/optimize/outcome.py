"""What comes of a search: the winner as a prompt file, and its one look at the test, against its seed.

The test runs are ordinary runs, so the compare page shows them. Knows nothing about DSPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioreason.compare.comparison import compare
from audioreason.errors import OptimizeError, PromptError
from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.items import Dataset
from audioreason.items.sources import cluster_of
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.halting import Stopped
from audioreason.optimize.parts import Parts
from audioreason.optimize.shapes import Paired, Result
from audioreason.progress import Progress
from audioreason.prompts import Prompt, dump_prompt, load_prompt
from audioreason.runs import Catalog, run_folder, run_status
from audioreason.stats import paired_difference, verdict
from audioreason.workspace import Workspace, write_atomic


def prompt_name(config: OptimizeConfig, optimization_id: str, seed: Prompt) -> str:
    """What the new prompt is called."""
    if config.name:
        return config.name
    tail = "".join(
        letter if letter.isalnum() or letter in "._-" else "-" for letter in optimization_id.lower()
    )
    return f"{seed.name[:30]}-{config.optimizer}-{tail}"[:80]


def check_name(workspace: Workspace, name: str, optimization_id: str) -> None:
    """See that the result may be saved under this name, before anything is asked.

    Raises:
        OptimizeError: if another prompt has it.
    """
    if not _path(workspace, name).exists():
        return
    try:
        owner = load_prompt(name, [workspace.prompts]).provenance.get("search")
    except PromptError:  # whatever it is, it is not ours
        owner = None
    if owner != optimization_id:
        raise OptimizeError(
            f"There is a prompt {name} already.", "Choose another name for the result of the search."
        )


def save_prompt(
    workspace: Workspace,
    winner: Prompt,
    seed: Prompt,
    config: OptimizeConfig,
    dataset: Dataset,
    parts: Parts,
    optimization_id: str,
    result: Result,
    ending: str,
) -> None:
    """Write the winner to `prompts/NAME.md`, with what is known of it in its front matter.

    Raises:
        PromptError: if it is too long for a prompt file.
        WorkspaceError: if the disk is full.
    """
    scores: dict[str, Any] = {
        name: round(value, 4)
        for name in ("train", "dev", "seed_dev", "test", "seed_test")
        if (value := getattr(result, name)) is not None
    }
    if result.difference is not None:
        scores["test_difference"] = result.difference.verdict
    provenance = {
        "optimizer": {"mipro": "MIPROv2", "gepa": "GEPA"}[config.optimizer],
        "search": optimization_id,
        "seed_version": seed.version,
        "proposer": config.proposer_model or config.proposer,
        "dataset": dataset.info.name,
        "dataset_hash": dataset.info.hash,
        "split": {
            "dealing": config.dealing,
            "train": len(parts.train),
            "dev": len(parts.dev),
            "test": len(parts.test),
            "test_from": parts.split or "the whole benchmark, train and dev included",
        },
        "metric": config.metric,
        "score": scores,
        "ending": ending,
    }
    saved = winner.model_copy(
        update={
            "name": result.prompt,
            "title": f"{seed.title or seed.name}, optimised",
            "aliases": (),
            "parent": seed.name,
            "provenance": provenance,
        }
    )
    write_atomic(_path(workspace, result.prompt), dump_prompt(saved))


def test_runs(
    workspace: Workspace,
    dataset: Dataset,
    parts: Parts,
    config: OptimizeConfig,
    endpoint: Endpoint,
    winner: Prompt,
    seed: Prompt,
    optimization_id: str,
    result: Result,
    progress: Progress,
) -> Result:
    """Ask about the test items, once with the seed and once with the winner, and compare.

    Raises:
        Stopped: if a stop was asked for; the runs continue when the search is resumed.
        RunError: if the server stopped answering for good.
    """
    seed_run, test_run = f"{optimization_id}-test-seed", f"{optimization_id}-test-winner"
    same = winner.version == seed.version
    for run_id, prompt in ((seed_run, seed),) if same else ((seed_run, seed), (test_run, winner)):
        folder = run_folder(workspace, run_id)
        if not folder.is_dir() or run_status(folder) != "finished":
            evaluate(
                workspace,
                dataset,
                prompt,
                endpoint,
                Sampling(temperature=config.temperature, max_tokens=config.max_tokens),
                split=parts.split,
                item_ids=parts.test,
                run_id=run_id,
                resume=folder.is_dir(),
                seed=config.seed,
                concurrency=config.concurrency,
                progress=progress,
            )
        if run_status(folder) != "finished":
            raise Stopped("stopped")
    score: Any = "official" if config.metric == "official" else "strict"
    catalog = Catalog(workspace)
    runs = [seed_run] if same else [seed_run, test_run]
    comparison = compare(catalog, None, runs, seed_run, score=score)
    board = {row["run_id"]: row for row in comparison.leaderboard.to_dict("records")}
    update: dict[str, Any] = {"seed_run": seed_run, "seed_test": float(board[seed_run]["accuracy"])}
    if not same:
        pair = comparison.pair(test_run)
        update |= {
            "test_run": test_run,
            "test": float(board[test_run]["accuracy"]),
            "difference": Paired(
                mean=pair.difference.mean,
                low=pair.difference.low,
                high=pair.difference.high,
                p=pair.difference.p,
                n=pair.difference.n,
                verdict=pair.verdict,
            ),
            "unseen": _unseen(dataset, parts, pair.grid) if parts.split is None else None,
        }
    return result.model_copy(update=update)


def _unseen(dataset: Dataset, parts: Parts, grid: Any) -> Paired | None:
    """The difference on test items that were neither train nor dev."""
    values = {"both_right": (1.0, 1.0), "won": (0.0, 1.0), "lost": (1.0, 0.0), "both_wrong": (0.0, 0.0)}
    rows: list[tuple[float, float, str]] = [
        (*values[name], cluster_of(dataset[item_id]))
        for name, item_ids in grid.items()
        for item_id in item_ids
        if item_id not in parts.seen
    ]
    if len(rows) < 2:
        return None
    seed, winner, clusters = zip(*rows, strict=True)
    found = paired_difference(seed, winner, _numbers(clusters))
    return Paired(
        mean=found.mean, low=found.low, high=found.high, p=found.p, n=found.n, verdict=verdict(found)
    )


def _numbers(names: Sequence[str]) -> list[int]:
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [place[name] for name in names]


def _path(workspace: Workspace, name: str) -> Path:
    return workspace.prompts / f"{name}.md"
