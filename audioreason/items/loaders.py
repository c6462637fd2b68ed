"""Bring a dataset into the workspace: MMAR as published, or a folder of one's own questions and clips.

An import reads everything, leaves out only what cannot be an item, and reports the rest item by item.
Knows nothing about column names (`rows`) and needs no network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from audioreason.errors import ItemError
from audioreason.items.dataset import Dataset, check_name, read_info, save_dataset
from audioreason.items.rows import items_of_rows, read_table
from audioreason.items.schema import DatasetInfo, Item, Kind
from audioreason.items.validate import Finding, validate
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace, shipped

_TABLES = (".jsonl", ".json", ".csv", ".tsv")
_PREFERRED = ("items", "metadata", "questions", "data")
_MAX_TABLE = 1 << 30  # bytes
_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus", ".webm", ".aac", ".aiff")
# a path as the table gives it -> the name below `audio/` ("": leave the path alone), and the file if here
FindClip = Callable[[str], tuple[str, Path | None]]
_OTHER_NAME = "Choose another name, or delete the old dataset first."


@dataclass(frozen=True)
class ImportReport:
    """The dataset as it now is, and everything the import has to say about it."""

    dataset: Dataset
    findings: list[Finding]


def import_mmar(
    workspace: Workspace,
    meta: Path,
    audio: Path | None = None,
    name: str = "mmar",
    progress: Progress | None = None,
) -> ImportReport:
    """MMAR's metadata (`.json` or `.jsonl`), with its clips if there is a folder of them.

    Importing again with `audio` adds the clips; a stored split stays as it is.

    Raises:
        ItemError: if the file is not MMAR's metadata, or `name` belongs to another dataset.
    """
    info = DatasetInfo(
        name=name,
        title="MMAR: audio deep reasoning (Ma et al., NeurIPS 2025, arXiv 2505.13032)",
        kind="benchmark",
        cue_kind="words",
        licence="as published by its authors (Hugging Face: BoJack/MMAR)",
        source="mmar",
    )

    def find_clip(audio_path: str) -> tuple[str, Path | None]:
        base = PurePosixPath(audio_path).name
        places = (audio / base, audio / "audio" / base) if audio else ()
        return base, next((path for path in places if path.is_file()), None)

    if audio is not None and not audio.is_dir():
        raise ItemError(f"There is no folder {audio}.", "Give the folder that holds MMAR's wav files.")
    return _import(workspace, info, meta, find_clip, progress or Quiet())


def import_folder(
    workspace: Workspace, path: Path, name: str, kind: Kind = "own", progress: Progress | None = None
) -> ImportReport:
    """A folder with a table of questions (CSV, TSV, JSON or JSONL) and the clips it names.

    The table is `items.*`, `metadata.*`, `questions.*` or `data.*`, else the folder's only one; `path`
    may also be the table itself. Clip paths are relative to the folder and never lead out of it.

    Raises:
        ItemError: if there is no table, it cannot be read, or `name` belongs to another dataset.
    """
    table = _find_table(path)
    folder = table.parent.resolve()

    def find_clip(audio_path: str) -> tuple[str, Path | None]:
        places = [
            folder / f"{start}{audio_path}{suffix}" for start in ("", "audio/") for suffix in ("", *_SUFFIXES)
        ]
        for place in places if "\0" not in audio_path else ():
            relative = os.path.relpath(place, folder)
            if not relative.startswith("..") and place.is_file() and place.resolve().is_relative_to(folder):
                return relative.removeprefix("audio/"), place
        return "", None

    info = DatasetInfo(name=name, title=folder.name, kind=kind, source=f"folder:{folder}")
    return _import(workspace, info, table, find_clip, progress or Quiet())


def _import(
    workspace: Workspace,
    info: DatasetInfo,
    table: Path,
    find_clip: FindClip,
    progress: Progress,
) -> ImportReport:
    root = workspace.datasets / check_name(info.name)
    _refuse_other(root, info)
    progress.phase("items", None)
    items, findings = items_of_rows(read_table(table.name, _read(table)), info.name)
    if not items:
        first = f" The first: {findings[0].message}" if findings else ""
        raise ItemError(
            f"No row of {table} is an item.{first}",
            "Name the columns question, choices (A|B|C) and answer; audio and id are welcome.",
        )
    items = [_with_clip(item, root, find_clip) for item in items]
    progress.done(len(items))
    info = info.model_copy(update={"created": datetime.now(UTC).isoformat(timespec="seconds")})
    dataset = save_dataset(root, info, items, workspace.cache)
    return ImportReport(dataset, [*findings, *validate(dataset, progress)])


def _with_clip(item: Item, root: Path, find_clip: FindClip) -> Item:
    """The item with its clip brought into `root/audio`, and a path that leads there."""
    if item.audio_path is None:
        return item
    name, source = find_clip(item.audio_path.replace("\\", "/"))
    if source is not None:
        _bring(source, root / "audio" / name)
    if not name or os.path.normpath(item.audio_path) == f"audio/{name}":  # `./audio/x.wav` stays as published
        return item
    return item.model_copy(update={"audio_path": f"audio/{name}"})


def _bring(source: Path, target: Path) -> None:
    """Link a clip into the dataset without using disk twice, or copy it where links cannot be made."""
    real = source.resolve()  # a download cache may hold links; the dataset holds the file itself
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if target.samefile(real):
            return
        target.unlink()
    try:
        target.hardlink_to(real)
    except OSError:  # another disk, or a file that is not ours to link
        try:
            shutil.copyfile(real, target)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise ItemError(
                f"The clip {source} cannot be copied into {target.parent} ({error.strerror or error}).",
                "Check the file's permissions and the free space, then import again.",
            ) from error


def _refuse_other(root: Path, info: DatasetInfo) -> None:
    if (shipped(info.name) / "dataset.json").is_file():
        raise ItemError(f"The dataset {info.name} came with the lab and cannot be replaced.", _OTHER_NAME)
    if not (root / "dataset.json").is_file():
        return
    old = read_info(root)
    if (old.source, old.kind) != (info.source, info.kind):
        raise ItemError(f"There is another dataset {info.name} ({old.title or old.source}).", _OTHER_NAME)


def _find_table(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ItemError(
            f"There is no folder {path}.", "Give a folder with items.csv or items.jsonl, and its clips."
        )
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in _TABLES and file.is_file())
    for stem in _PREFERRED:
        for suffix in _TABLES:
            for file in tables:
                if file.name.lower() == f"{stem}{suffix}":
                    return file
    if len(tables) == 1:
        return tables[0]
    found = ", ".join(file.name for file in tables) or "none"
    raise ItemError(
        f"{path} needs one table of questions; found: {found}.",
        "Name it items.csv or items.jsonl, or give the table's own path.",
    )


def _read(table: Path) -> bytes:
    try:
        if table.stat().st_size > _MAX_TABLE:
            raise ItemError(
                f"{table} is larger than 1 GB.", "Is it a table of questions? Clips go beside it."
            )
        return table.read_bytes()
    except OSError as error:
        raise ItemError(f"{table} cannot be read ({error.strerror or error}).", "Check the path.") from error
