"""The kind `train`: an adapter from a file of answers worth learning.

Knows nothing about how a model learns: that is the room `train`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from audioreason.errors import ItemError, JobError
from audioreason.jobs.begun import (
    Begun,
    fingerprint,
    is_as,
    read_mark,
    remove_if_nothing_began,
    see,
    write_mark,
)
from audioreason.jobs.kinds import Check, Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.jobs.spec import Needs
from audioreason.wording import counted
from audioreason.workspace import Workspace, shipped

if TYPE_CHECKING:
    from audioreason.train.recipe import Recipe

log = logging.getLogger("audioreason.jobs")


class TrainSpec(BaseModel):
    """What is learned, by which model, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(
        default="answers",
        min_length=1,
        title="Training file",
        description="JSONL of examples: a path, or a name in the workspace's folder training/.",
        json_schema_extra={"widget": "training"},
    )
    model: str = Field(
        default="", title="Model", description="Its folder; empty takes the embedded Pocket Listener."
    )
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        title="Name of the adapter",
        description="A new folder in adapters/; empty takes the job's id.",
    )
    rank: int = Field(default=64, ge=1, le=512, title="LoRA rank")
    alpha: float = Field(default=128.0, gt=0, title="LoRA alpha")
    quantize: Literal["none", "nf4"] = Field(
        default="none", title="Frozen experts", description="nf4 holds them in 4 bits: 30B fits on one GPU."
    )
    gpus: int = Field(default=0, ge=0, title="GPUs", description="0 trains on the CPU, for small models.")
    epochs: float = Field(default=3.0, gt=0, title="Epochs")
    batch: int = Field(default=16, ge=1, title="Examples a step")
    learning_rate: float = Field(default=1e-4, gt=0, title="Learning rate, at its peak")
    held_out: float = Field(
        default=0.05, ge=0, lt=1, title="Held out", description="Share of the items used for measuring only."
    )
    patience: int = Field(
        default=3,
        ge=0,
        title="Patience",
        description="Evaluations without a better held-out loss before it stops; 0 never stops early.",
        json_schema_extra={"advanced": True},
    )
    evaluate_every: int = Field(
        default=0,
        ge=0,
        title="Steps between evaluations",
        description="0 evaluates at the end of each epoch.",
        json_schema_extra={"advanced": True},
    )
    steps: int | None = Field(
        default=None, ge=1, title="Steps, instead of epochs", json_schema_extra={"advanced": True}
    )
    longest: int = Field(
        default=4096,
        ge=16,
        title="Longest example",
        description="Longer ones are left out and counted.",
        json_schema_extra={"advanced": True, "unit": "tokens"},
    )
    part_tokens: int = Field(
        default=16_384,
        ge=1,
        title="Computed at once",
        description="Lower it if memory runs out; the result stays the same.",
        json_schema_extra={"advanced": True, "unit": "tokens"},
    )
    save_minutes: float = Field(
        default=10.0, ge=0, title="Minutes between saved states", json_schema_extra={"advanced": True}
    )
    attention: bool = Field(default=True, title="Adapt attention", json_schema_extra={"advanced": True})
    experts: bool = Field(default=True, title="Adapt experts", json_schema_extra={"advanced": True})
    seed: int = Field(default=0, title="Seed", json_schema_extra={"advanced": True})
    override_reason: str = Field(
        default="",
        title="Reason to train on benchmark items",
        description="Empty refuses them. It is written into the adapter and onto every chart.",
        json_schema_extra={"advanced": True},
    )


def run(spec: TrainSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Train, or go on where the attempt before was interrupted."""
    from audioreason.engines.adapters import read_record
    from audioreason.train.distributed import train_on

    out = workspace.adapters / (spec.name or progress.job_id)
    if progress.attempt > 1:
        check_resume(spec, workspace, progress.job_id)
    if _owner(out) == progress.job_id:
        record = read_record(out)
        if record is not None and record.finished:  # the attempt before died after its last step
            return {"adapter": out.name, "step": record.step, "held_out_loss": record.loss}
    data, model = data_file(workspace, spec.data), model_folder(spec.model)
    if not out.exists():
        write_mark(out, _begun(workspace, data, model, progress.job_id))
    arguments = (workspace, model, data, out, recipe(spec))
    reason, ours = spec.override_reason.strip() or None, _owner(out) == progress.job_id
    try:
        result = train_on(spec.gpus, *arguments, resume=ours, override_reason=reason, progress=progress)
    except ItemError as error:
        if progress.should_stop():  # before the first step
            raise StoppedEarly(str(error)) from error
        raise
    finally:
        remove_if_nothing_began(out)
    if not result.finished:
        raise StoppedEarly(f"{counted(result.steps, 'step')} made; it can be resumed.")
    if result.too_long:
        log.warning("%d examples were longer than %d tokens and left out", result.too_long, spec.longest)
    return {
        "adapter": out.name,
        "folder": str(out),
        "step": result.step,
        "steps": result.steps,
        "loss": result.loss,
        "held_out_loss": result.held_out_loss,
        "stopped_early": result.stopped_early,
        "left_out": result.too_long,
        "leaks": result.leaks,
    }


def check_resume(spec: TrainSpec, workspace: Workspace, job_id: str) -> None:
    """A training goes on in its own folder, on the data and the model that it began with.

    Raises:
        LabError: if one of them is gone or another than when it began, or the folder is not this job's.
    """
    out = workspace.adapters / (spec.name or job_id)
    data, model = data_file(workspace, spec.data), model_folder(spec.model)
    now = fingerprint(model)
    if not out.exists():
        return  # it had made nothing yet, and begins with what is there
    begun = read_mark(out)
    if begun is None or begun.job != job_id:
        whose = f"belongs to the job {begun.job}" if begun else "was not made by this job"
        raise JobError(
            f"The folder adapters/{out.name} {whose}, so this job cannot go on in it.",
            "Duplicate this job with another name for its adapter; a training of the command line goes on"
            " with audioreason train --resume.",
        )
    changed = ""
    if not is_as(data, begun.data):
        changed = f"The training file {data.name}"
    elif now != begun.model:
        changed = f"The model {model.name}"
    elif _hashes(workspace, begun.datasets) != begun.datasets and _clips(workspace, data) != begun.clips:
        changed = f"A clip that {data.name} names"
    if changed:
        raise JobError(
            f"{changed} has changed since this training began, so its steps would not belong together.",
            "Bring it back as it was, or duplicate the job with another name for its adapter.",
        )


def _owner(out: Path) -> str:
    """The job whose folder it is; "" if none said so."""
    begun = read_mark(out)
    return begun.job if begun is not None else ""


def _begun(workspace: Workspace, data: Path, model: Path, job_id: str) -> Begun:
    from audioreason.train.data import read_examples

    names = sorted({example.dataset for example in read_examples(data)})
    return Begun(
        job=job_id,
        data=see(data),
        model=fingerprint(model),
        datasets=_hashes(workspace, names),
        clips=_clips(workspace, data),
    )


def _hashes(workspace: Workspace, names: Iterable[str]) -> dict[str, str]:
    from audioreason.items import load_dataset

    return {name: load_dataset(workspace, name).info.hash for name in names}


def _clips(workspace: Workspace, data: Path) -> str:
    """What stands for the clips of the items that a training file names; one without a clip counts too."""
    from audioreason.items import load_dataset
    from audioreason.items.hashes import clip_hashes
    from audioreason.train.data import read_examples

    wanted = sorted({(example.dataset, example.item_id) for example in read_examples(data)})
    datasets = {name: load_dataset(workspace, name) for name in sorted({name for name, _ in wanted})}
    found = [
        (name, item_id, datasets[name].clip(datasets[name][item_id]) if item_id in datasets[name] else None)
        for name, item_id in wanted
    ]
    paths = [path for _, _, path in found if path is not None]
    known = dict(zip(paths, clip_hashes(paths, workspace.cache), strict=True))
    rows = [f"{name}\t{item_id}\t{known[path] if path else ''}\n" for name, item_id, path in found]
    return hashlib.sha256("".join(rows).encode()).hexdigest()[:16]


def recipe(spec: TrainSpec) -> Recipe:
    """The recipe's form of the settings."""
    from audioreason.train.recipe import Recipe

    values = spec.model_dump(exclude={"data", "model", "name", "gpus", "override_reason", "quantize"})
    return Recipe(
        **values,
        quantize="nf4" if spec.quantize == "nf4" else None,
        device="cuda" if spec.gpus else "cpu",
        checkpointing=bool(
            spec.gpus
        ),  # small models on a CPU have the memory, and it costs a third more time
    )


def model_folder(model: str) -> Path:
    """The model's folder; the Pocket Listener's if it is empty."""
    return Path(model).expanduser().resolve() if model else shipped("pocket-listener")


def data_file(workspace: Workspace, data: str) -> Path:
    """A training file by its path, or by its name in the workspace's `training/`.

    Raises:
        JobError: if there is none.
    """
    named = workspace.root / "training" / f"{data.removesuffix('.jsonl')}.jsonl"
    path = Path(data).expanduser()
    if path.is_file():
        return path.resolve()
    if Path(data).name == data and named.is_file():
        return named
    raise JobError(f"There is no training file {data}.", "Give the path of a JSONL file of examples.")


def plan(spec: TrainSpec, workspace: Workspace) -> Plan:
    """Steps, time, memory and disk; nothing is loaded."""
    from audioreason.train.plans import look_ahead

    name = spec.name and workspace.adapters / spec.name
    if name and name.exists():
        raise JobError(f"There is an adapter {spec.name} already.", "Choose another name.")
    found = look_ahead(workspace, model_folder(spec.model), data_file(workspace, spec.data), recipe(spec))
    checks = tuple(
        Check(title, "ok" if well else "fail", sentence)
        for title, (well, sentence) in found.sentences().items()
    )
    notes = ("Benchmark items will be trained on: " + spec.override_reason,) if spec.override_reason else ()
    return Plan(
        items=found.examples,
        seconds=found.estimate.seconds,
        basis="Scaled from an H100." if found.device == "cuda" else "Scaled from two CPU cores.",
        notes=notes,
        checks=checks,
    )


def needs(spec: TrainSpec) -> Needs:
    """Its GPUs, or a CPU slot."""
    return Needs(gpus=spec.gpus, cpus=0 if spec.gpus else 1)


def label(spec: TrainSpec) -> str:
    """Such as "pocket-listener learns from answers.jsonl"."""
    return f"{Path(spec.model).name if spec.model else 'pocket-listener'} learns from {Path(spec.data).name}"


KIND = Kind(
    name="train",
    title="Train",
    about="Fine-tune a model with LoRA on answers worth learning.",
    spec=TrainSpec,
    run=run,
    plan=plan,
    needs=needs,
    label=label,
    check_resume=check_resume,
    grace=180.0,
    presets={
        "Pocket Listener on this machine": {
            "data": "answers", "rank": 16, "alpha": 32.0, "learning_rate": 5e-4
        },
        "paper: 30B-A3B on one GPU, r=64": {
            "data": "answers",
            "model": "Qwen3-Omni-30B-A3B-Thinking",
            "quantize": "nf4",
            "gpus": 1,
        },
    },
)  # fmt: skip
