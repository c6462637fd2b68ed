"""The middle of a round: an adapter from what the filter kept, and the model that it becomes.

Knows nothing about why an answer was kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audioreason.errors import ItemError
from audioreason.progress import Progress
from audioreason.rest.config import RestConfig
from audioreason.rest.phases import Interrupted
from audioreason.rest.record import adapter_name, merged_folder, round_folder
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.train.recipe import Recipe


def round_recipe(config: RestConfig, number: int) -> Recipe:
    """The training's settings in a round."""
    from audioreason.train.recipe import Recipe

    return Recipe(
        rank=config.rank,
        alpha=config.alpha,
        quantize="nf4" if config.quantize == "nf4" else None,
        learning_rate=config.learning_rate(number),
        epochs=config.epochs,
        steps=config.steps,
        batch=config.batch,
        longest=config.longest,
        held_out=0.0,
        patience=0,
        save_minutes=config.save_minutes,
        seed=config.seed,
        kl=config.kl,
        checkpointing=bool(config.gpus),
        device="cuda" if config.gpus else "cpu",
    )


def train_round(
    workspace: Workspace, config: RestConfig, number: int, origin: Path, progress: Progress
) -> str:
    """Train a round's adapter, or go on with it; returns its name.

    Raises:
        Interrupted: if a stop was asked for; the state is saved.
        LabError: as `train`.
    """
    from audioreason.engines.adapters import read_record
    from audioreason.train.distributed import train_on

    name = adapter_name(config.name, number)
    out = workspace.adapters / name
    if (record := read_record(out)) is not None and record.finished:
        return name
    data = round_folder(workspace, config.name, number) / "training.jsonl"
    arguments = (workspace, origin, data, out, round_recipe(config, number))
    reason = config.override_reason.strip() or None
    again = out.exists()
    try:
        result = train_on(
            config.gpus,
            *arguments,
            resume=again,
            override_reason=reason,
            progress=progress,
            wait_seconds=config.gpu_wait_seconds,
        )
    except ItemError as error:
        if progress.should_stop():  # before the first step
            raise Interrupted from error
        raise
    if not result.finished:
        raise Interrupted
    return name


def left_out(workspace: Workspace, config: RestConfig, number: int, examples: int) -> list[str]:
    """A sentence about the examples that were too long for a round's training, if there were any."""
    from audioreason.engines.adapters import read_record

    record = read_record(workspace.adapters / adapter_name(config.name, number))
    trained = record.data.get("rows", examples) if record else examples
    if trained >= examples:
        return []
    return [
        f"{examples - trained:,} of the {examples:,} examples of round {number} have more than"
        f" {config.longest:,} tokens and were left out of its training."
    ]


def merge_round(
    workspace: Workspace, config: RestConfig, number: int, origin: Path, progress: Progress
) -> Path:
    """Merge a round's adapter into the model that it was trained on, or go on with it; returns the folder.

    Raises:
        Interrupted: if a stop was asked for; finished shards are kept.
        LabError: as `merge`, a full disk among them.
    """
    from audioreason.train.merge import MERGED, Stopped, merge

    out = merged_folder(workspace, config.name, number)
    if not (out / MERGED).is_file():
        try:
            merge(workspace.adapters / adapter_name(config.name, number), origin, out, progress)
        except Stopped as error:
            raise Interrupted from error
    return out
