"""The kind `merge`: model and adapter become one model folder that vLLM serves.

Knows nothing about tensors: that is the room `train`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from audioreason.errors import JobError
from audioreason.jobs.begun import fingerprint
from audioreason.jobs.kinds import Check, Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.workspace import Workspace, shipped

_BYTES_A_SECOND = 150e6  # measured: reading, adding and writing a shard on one busy core


class MergeSpec(BaseModel):
    """Which adapter, into which model, under which name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str = Field(
        default="",
        title="Adapter",
        description="Its name in adapters/, or its folder.",
        json_schema_extra={"widget": "adapter"},
    )
    model: str = Field(
        default="",
        title="Model",
        description="The folder that it was trained on; empty takes the embedded Pocket Listener.",
    )
    name: str = Field(
        default="merged",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        title="Name of the merged model",
        description="A new folder in models/.",
    )


def run(spec: MergeSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Merge; an attempt that was cut short goes on with the next shard."""
    from audioreason.train.merge import MERGED, Stopped, merge, proof_of

    out = models_folder(workspace) / spec.name
    if progress.attempt > 1:
        check_resume(spec, workspace, progress.job_id)
    if not (progress.attempt > 1 and (out / MERGED).is_file()):  # else the attempt before was through
        try:
            merge(adapter_folder(workspace, spec.adapter), model_folder(spec.model), out, progress)
        except Stopped as stopped:
            raise StoppedEarly(str(stopped)) from stopped
    return {"model": spec.name, "folder": str(out), "proof": proof_of(out)}


def check_resume(spec: MergeSpec, workspace: Workspace, job_id: str) -> None:
    """A merge goes on with the adapter and the model that it began with.

    Raises:
        LabError: if one of them is gone or another than when it began, or the folder is of another merge.
    """
    from audioreason.engines.adapters import check_base, read_adapter
    from audioreason.train.merge import MERGED, is_of, origin_of, unfinished

    model = model_folder(spec.model)
    adapter = read_adapter(adapter_folder(workspace, spec.adapter))
    found = fingerprint(model)
    if adapter.record is not None and adapter.record.fingerprint != found:
        check_base(adapter, model)
    origin = origin_of(adapter, model, found)
    out = models_folder(workspace) / spec.name
    if out.exists() and not is_of(out / MERGED, origin):
        raise JobError(
            f"The folder models/{out.name} holds another model than this merge makes.",
            "Duplicate this job with another name.",
        )
    part = unfinished(out)
    if not out.exists() and (part / MERGED).exists() and not is_of(part / MERGED, origin):
        raise JobError(
            f"The adapter {adapter.folder.name} or the model {model.name} has changed since models/{out.name}"
            " was begun, so its shards would not belong together.",
            "Bring it back as it was, or retry: that merges from the beginning what is there now.",
        )


def models_folder(workspace: Workspace) -> Path:
    """Where merged models are: `models/NAME/` of the workspace."""
    return workspace.root / "models"


def model_folder(model: str) -> Path:
    """The model's folder; the Pocket Listener's if it is empty."""
    return Path(model).expanduser().resolve() if model else shipped("pocket-listener")


def adapter_folder(workspace: Workspace, adapter: str) -> Path:
    """An adapter by its name in the workspace, else by its path.

    Raises:
        JobError: if there is none.
    """
    if not adapter:
        raise JobError("No adapter is named.", "Give its name in adapters/, or its folder.")
    for folder in (workspace.adapters / adapter, Path(adapter).expanduser().resolve()):
        if (folder / "adapter_config.json").is_file():
            return folder
    raise JobError(f"There is no adapter {adapter}.", "Give its name in adapters/, or its folder.")


def plan(spec: MergeSpec, workspace: Workspace) -> Plan:
    """Size and time; sees that the adapter belongs to the model."""
    from audioreason.engines.adapters import check_base, read_adapter
    from audioreason.engines.deltas import AdapterDeltas
    from audioreason.engines.weights import Shards
    from audioreason.train.merge import room

    if (models_folder(workspace) / spec.name).exists():
        raise JobError(f"There is a model {spec.name} already.", "Choose another name.")
    model = model_folder(spec.model)
    adapter = read_adapter(adapter_folder(workspace, spec.adapter))
    check_base(adapter, model)
    shards = Shards(model)
    changed = len(AdapterDeltas(adapter.folder, shards.shapes()).names)
    size = shards.size()
    free = shutil.disk_usage(workspace.root).free
    return Plan(
        seconds=max(1.0, size / _BYTES_A_SECOND),
        basis="At 150 MB a second.",
        checks=(
            Check("adapter", "ok", f"{adapter.folder.name} changes {changed:,} tensors of {model.name}."),
            Check(
                "disk",
                "ok" if free >= room(size) else "fail",
                f"Merging needs {room(size) / 1e9:.2f} GB with some to spare; {free / 1e9:.2f} GB are free.",
            ),
        ),
    )


def label(spec: MergeSpec) -> str:
    """Such as "first-adapter into pocket-listener, as merged"."""
    model = Path(spec.model).name if spec.model else "pocket-listener"
    return f"{Path(spec.adapter).name} into {model}, as {spec.name}"


KIND = Kind(
    name="merge",
    title="Merge",
    about="Merge an adapter into its model, for vLLM to serve.",
    spec=MergeSpec,
    run=run,
    plan=plan,
    label=label,
    check_resume=check_resume,
    grace=120.0,
)
