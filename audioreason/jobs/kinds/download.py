"""The kind `download`: MMAR, a dataset that the lab knows by name, or any mapped one, in the workspace.

Knows nothing about hubs and recordings: that is the room `acquire`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audioreason.errors import ItemError
from audioreason.jobs.kinds import Check, Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.acquire import Snapshot

_PATIENCE = 4.0  # seconds that a plan waits for the hub


class DownloadSpec(BaseModel):
    """What is brought in, and under which name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["mmar", "musicbench", "musicbench-qa", "tacos", "countingqa", "mapping"] = Field(
        default="mmar",
        title="What",
        description="A dataset that the lab knows, or any of the hub or of Zenodo by a mapping file.",
    )
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        title="Name of the dataset",
        description="Empty takes the name of what is downloaded.",
    )
    mapping: str = Field(
        default="",
        title="Mapping file",
        description="Its path; see the README.",
        json_schema_extra={"what": "mapping"},
    )
    recordings: bool = Field(
        default=True,
        title="Cut missing clips from the recordings",
        description="What the hub lacks is fetched from the addresses that the items name, one a second.",
        json_schema_extra={"what": "mmar"},
    )
    audio: str = Field(
        default="",
        title="Folder with clips that you have",
        description="CountingQA comes without clips: they are looked for here. Not for MMAR.",
    )

    @model_validator(mode="after")
    def _fits(self) -> DownloadSpec:
        if self.what == "mapping" and not self.mapping:
            raise ValueError("a mapping file is needed")
        if self.what == "mmar" and self.audio:
            raise ValueError("MMAR's clips of your own come with: audioreason data import mmar")
        return self


def run(spec: DownloadSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Download and import; an attempt after another goes on where that one was."""
    from audioreason.acquire import fetch_mapped, fetch_mmar, find_mapping

    try:
        if spec.what == "mmar":
            report = fetch_mmar(
                workspace, name=spec.name or "mmar", recordings=spec.recordings, progress=progress
            )
            return report.to_dict()
        name, mapping = find_mapping(_which(spec))
        audio = Path(spec.audio).expanduser() if spec.audio else None
        return fetch_mapped(workspace, mapping, spec.name or name, progress, audio).to_dict()
    except ItemError as error:
        if progress.should_stop():
            raise StoppedEarly(str(error)) from error
        raise


def plan(spec: DownloadSpec, workspace: Workspace) -> Plan:
    """What the hub has, its size, and whether the disk has room.

    Raises:
        ItemError: if the mapping is wrong, a folder is not there, or the hub cannot be asked.
    """
    import shutil

    from audioreason.acquire import find_mapping, look, look_mapped
    from audioreason.acquire.mmar import FILES, REPO

    notes: list[str] = []
    if spec.what == "mmar":
        found = [look(REPO, FILES, patience=_PATIENCE)]
    else:
        _, mapping = find_mapping(_which(spec))
        if spec.audio and not Path(spec.audio).expanduser().is_dir():
            raise ItemError(f"There is no folder {spec.audio}.", "Name the folder with the clips, or none.")
        found = look_mapped(mapping, _PATIENCE)
        notes += [text for text in (mapping.about, f"Licence: {mapping.licence}.") if text]
    size = sum(one.size for one in found)
    free = shutil.disk_usage(workspace.root).free
    room = "ok" if size * 2 < free else "fail"  # an archive and what is in it
    return Plan(
        basis="As the hub says.",
        notes=(
            *(_counted(one) for one in found),
            *notes,
        ),
        checks=(
            Check(
                "disk",
                room,
                f"{size / 1e9:,.2f} GB to fetch, as much unpacked; {free / 1e9:,.0f} GB are free.",
            ),
        ),
    )


def label(spec: DownloadSpec) -> str:
    """Such as "MMAR as mmar"."""
    what = "MMAR" if spec.what == "mmar" else Path(_which(spec)).stem
    name = spec.name or what.lower()
    return what if name == what else f"{what} as {name}"


def _counted(found: Snapshot) -> str:
    return f"{counted(len(found.files), 'file')} of {found.repo} at {found.revision[:12]}."


def _which(spec: DownloadSpec) -> str:
    """The name or the path that the room `acquire` finds a mapping by."""
    return spec.mapping if spec.what == "mapping" else spec.what


KIND = Kind(
    name="download",
    title="Download a dataset",
    about="MMAR, MusicBench, TACOS, CountingQA, or any dataset by a mapping file; stopped, it goes on.",
    spec=DownloadSpec,
    run=run,
    plan=plan,
    label=label,
    grace=60.0,
    presets={
        "MMAR with its clips": {},
        "MusicBench: descriptions": {"what": "musicbench"},
        "MusicBench: questions with choices": {"what": "musicbench-qa"},
        "TACOS: what is heard when": {"what": "tacos"},
        "CountingQA: with clips of your own": {"what": "countingqa"},
    },
)
