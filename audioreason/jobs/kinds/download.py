"""The kind `download`: MMAR or any mapped hub dataset, as a dataset of the workspace.

Knows nothing about hubs and recordings: that is the room `acquire`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audioreason.errors import ItemError
from audioreason.jobs.kinds import Check, Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.workspace import Workspace

_PATIENCE = 4.0  # seconds that a plan waits for the hub


class DownloadSpec(BaseModel):
    """What is brought in, and under which name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["mmar", "mapping"] = Field(
        default="mmar", title="What", description="MMAR, or a dataset of the hub by a mapping file."
    )
    mapping: str = Field(default="", title="Mapping file", description="Its path; see the README.")
    name: str = Field(
        default="mmar", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", title="Name of the dataset"
    )
    recordings: bool = Field(
        default=True,
        title="Cut missing clips from the recordings",
        description="What the hub lacks is fetched from the addresses that the items name, one a second.",
    )

    @model_validator(mode="after")
    def _has_mapping(self) -> DownloadSpec:
        if self.what == "mapping" and not self.mapping:
            raise ValueError("a mapping file is needed")
        return self


def run(spec: DownloadSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Download and import; an attempt after another goes on where that one was."""
    from audioreason.acquire import fetch_mapped, fetch_mmar, read_mapping

    try:
        if spec.what == "mapping":
            mapping = read_mapping(Path(spec.mapping).expanduser())
            return fetch_mapped(workspace, mapping, spec.name, progress).to_dict()
        report = fetch_mmar(workspace, name=spec.name, recordings=spec.recordings, progress=progress)
    except ItemError as error:
        if progress.should_stop():
            raise StoppedEarly(str(error)) from error
        raise
    return report.to_dict()


def plan(spec: DownloadSpec, workspace: Workspace) -> Plan:
    """What the hub has, its size, and whether the disk has room.

    Raises:
        ItemError: if the mapping is wrong or the hub cannot be asked.
    """
    import shutil

    from audioreason.acquire import look, read_mapping
    from audioreason.acquire.mmar import FILES, REPO

    if spec.what == "mapping":
        mapping = read_mapping(Path(spec.mapping).expanduser())
        found = look(mapping.repo, (*mapping.files, mapping.table), mapping.revision, _PATIENCE)
    else:
        found = look(REPO, FILES, patience=_PATIENCE)
    free = shutil.disk_usage(workspace.root).free
    room = "ok" if found.size * 2 < free else "fail"  # an archive and what is in it
    return Plan(
        basis="As the hub says.",
        notes=(f"{len(found.files)} files of {found.repo} at {found.revision[:12]}.",),
        checks=(
            Check(
                "disk",
                room,
                f"{found.size / 1e9:,.2f} GB to fetch, as much unpacked; {free / 1e9:,.0f} GB are free.",
            ),
        ),
    )


def label(spec: DownloadSpec) -> str:
    """Such as "MMAR as mmar"."""
    return f"{'MMAR' if spec.what == 'mmar' else Path(spec.mapping).stem} as {spec.name}"


KIND = Kind(
    name="download",
    title="Download a dataset",
    about="MMAR with its clips, or any dataset of the hub by a mapping file; stopped, it goes on.",
    spec=DownloadSpec,
    run=run,
    plan=plan,
    label=label,
    grace=60.0,
    presets={"MMAR with its clips": {}},
)
