"""The kind `soundcheck_generate`: a training set of procedurally generated items, each with its clip.

Knows nothing about how a clip is made: that is the room `soundcheck`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from audioreason.errors import ItemError
from audioreason.jobs.kinds import Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.wording import counted
from audioreason.workspace import Workspace

_SECONDS_AN_ITEM = 0.015  # measured on two busy cores, clip, FLAC and hash
_BYTES_AN_ITEM = 100_000


class GenerateSpec(BaseModel):
    """How many items, of what, under which name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        default="soundcheck-train",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        title="Name of the dataset",
        description="A new folder in the workspace.",
    )
    n: int = Field(default=1000, ge=1, le=1_000_000, title="Items", json_schema_extra={"unit": "items"})
    families: list[str] = Field(
        default=[],
        title="Families",
        description="Empty draws from all that may train a model.",
        json_schema_extra={"widget": "families"},
    )
    difficulty: int | None = Field(
        default=None, ge=1, le=5, title="Difficulty", description="1 is easy; empty mixes all five."
    )
    seed: int = Field(default=0, title="Seed", description="The same seed gives the same items.")


def run(spec: GenerateSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Make the dataset; it appears whole or not at all, so an attempt that was cut short begins again."""
    from audioreason.items import clear_of_benchmarks
    from audioreason.items.dataset import read_dataset
    from audioreason.soundcheck.dataset import generate_dataset

    folder = workspace.datasets / spec.name
    if progress.attempt > 1 and folder.exists():
        # the attempt before may have died between the dataset's last step and its own
        made = read_dataset(folder)
        if made.info.source == f"audioreason.soundcheck train/{spec.seed}" and len(made.items) == spec.n:
            return {"dataset": spec.name, "items": spec.n, "folder": str(folder)}
    try:
        generate_dataset(
            folder,
            spec.n,
            spec.families or None,
            spec.difficulty,
            seed=spec.seed,
            progress=progress,
            accept=clear_of_benchmarks(workspace, progress),
        )
    except ItemError as error:
        if progress.should_stop():
            raise StoppedEarly(str(error)) from error
        raise
    return {"dataset": spec.name, "items": spec.n, "folder": str(folder)}


def plan(spec: GenerateSpec, workspace: Workspace) -> Plan:
    """Items, seconds and disk, from what one item takes.

    Raises:
        ItemError: if the name is taken or a family unknown.
    """
    from audioreason.soundcheck.registry import families

    if (workspace.datasets / spec.name).exists():
        raise ItemError(
            f"There is a dataset {spec.name} already.", "Choose another name, or remove it first."
        )
    known = families()
    for name in spec.families:
        if name not in known:
            raise ItemError(f"There is no family {name}.", f"There are: {', '.join(known)}.")
    chosen = len(spec.families) or sum(not family.held_out for family in known.values())
    return Plan(
        items=spec.n,
        seconds=spec.n * _SECONDS_AN_ITEM,
        basis=f"At {1000 * _SECONDS_AN_ITEM:.0f} ms an item.",
        notes=(f"{chosen} families; about {spec.n * _BYTES_AN_ITEM / 1e6:,.0f} MB.",),
    )


def label(spec: GenerateSpec) -> str:
    """Such as "1,000 items as soundcheck-train"."""
    return f"{counted(spec.n, 'item')} as {spec.name}"


KIND = Kind(
    name="soundcheck_generate",
    title="Generate items",
    about="Generate questions with clips whose answers are known, for training.",
    spec=GenerateSpec,
    run=run,
    plan=plan,
    label=label,
    presets={
        "1,000 mixed items": {},
        "200 easy items for a quick look": {"name": "soundcheck-easy", "n": 200, "difficulty": 1},
    },
)
