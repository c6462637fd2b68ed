"""MMAR, whole: metadata and clips from the hub, and what is missing there from the recordings themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioreason.acquire.archives import is_archive, unpack
from audioreason.acquire.hub import fetch_snapshot
from audioreason.acquire.media import ClipReport, fetch_clips
from audioreason.errors import ItemError
from audioreason.items import Dataset, import_mmar
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace

REPO = "BoJack/MMAR"
FILES = ("*.json", "*.jsonl", "*.tar.gz", "*.tar", "*.zip", "*.wav", "*.md")


@dataclass(frozen=True)
class MmarReport:
    """The dataset as it now is: clips that are here, and each that is not with the reason."""

    dataset: Dataset
    clips: int
    lost: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return {
            "name": self.dataset.info.name,
            "hash": self.dataset.info.hash,
            "items": len(self.dataset.items),
            "clips": self.clips,
            "lost": self.lost,
        }


def fetch_mmar(
    workspace: Workspace,
    *,
    name: str = "mmar",
    repo: str = REPO,
    recordings: bool = True,
    allow_private: bool = False,
    progress: Progress | None = None,
) -> MmarReport:
    """Download MMAR from the hub and import it. Called again, it goes on where it was.

    With `recordings`, clips that the hub lacks are cut from the recordings that the items name.

    Raises:
        ItemError: if the hub cannot be reached or has no metadata, or it was stopped; what is here stays.
        WorkspaceError: if the disk has no room.
    """
    progress = progress or Quiet()
    folder = workspace.cache / "hub" / repo.replace("/", "--")
    snapshot = fetch_snapshot(repo, folder, FILES, progress=progress)
    paths = [folder / file.path for file in snapshot.files]
    meta = _metadata(repo, paths)
    audio = _audio(folder, paths, snapshot.revision, progress)
    report = import_mmar(workspace, meta, audio, name, progress)
    lost: dict[str, str] = {}
    missing = [item for item in report.dataset.items if report.dataset.clip(item) is None]
    if missing and recordings:
        clips = fetch_clips(missing, report.dataset.root, allow_private=allow_private, progress=progress)
        lost = clips.lost
        if clips.fetched:  # the hash covers the clips
            report = import_mmar(workspace, meta, audio, name, progress)
        _refuse_stopped(clips)
    elif missing:
        lost = {item.id: "The hub does not have it." for item in missing}
    here = sum(report.dataset.clip(item) is not None for item in report.dataset.items)
    return MmarReport(report.dataset, here, lost)


def _metadata(repo: str, paths: Sequence[Path]) -> Path:
    tables = [path for path in paths if path.suffix in (".json", ".jsonl")]
    named = [path for path in tables if "meta" in path.name.lower()]
    if not (named or len(tables) == 1):
        raise ItemError(
            f"{repo} has no file of metadata.", "Name MMAR's file with: audioreason data import mmar"
        )
    return (named or tables)[0]


def _audio(folder: Path, paths: Sequence[Path], revision: str, progress: Progress) -> Path | None:
    """The folder of the clips, unpacked once for each revision."""
    archives = [path for path in paths if is_archive(path)]
    for archive in archives:
        target = folder / "unpacked" / f"{archive.name}-{revision[:12]}"
        if not target.is_dir():
            unpack(archive, target, progress)
    root = folder / "unpacked" if archives else folder
    folders = {path.parent for path in root.rglob("*.wav")}
    return max(folders, key=lambda one: sum(1 for _ in one.glob("*.wav")), default=None)


def _refuse_stopped(clips: ClipReport) -> None:
    if clips.stopped:
        raise ItemError(
            f"The download was stopped; {len(clips.fetched)} more clips are here.",
            "The same command goes on.",
        )
