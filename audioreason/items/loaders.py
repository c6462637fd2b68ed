"""Bring a dataset into the workspace: MMAR as published, or a folder of one's own questions and clips.

An import reads everything, leaves out only what cannot be an item, and reports the rest item by item.
Knows nothing about column names (`rows`) or table formats (`tables`) and needs no network.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from audioreason.errors import ItemError
from audioreason.items.dataset import Dataset, check_name, read_info, save_dataset
from audioreason.items.rows import described, items_of_rows, names_clip
from audioreason.items.schema import DatasetInfo, Item, Kind
from audioreason.items.tables import SUFFIXES, Row, is_table, read_files, shards
from audioreason.items.validate import IMPORTED, Finding, validate
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace, shipped, write_atomic

_PREFERRED = ("items", "metadata", "questions", "data")
SOUND = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus", ".webm", ".aac", ".aiff")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_MOST_FILES = 2_000_000  # of a folder that clips are looked for in
_OTHER_NAME = "Choose another name, or delete the old dataset first."


@dataclass(frozen=True)
class FoundClip:
    """Where a table's clip is: its name below `audio/` ("": leave the path alone), the file if there is one,
    and (code, severity, message) of a finding if there is something to say about it."""

    name: str = ""
    path: Path | None = None
    remark: tuple[str, str, str] | None = None


FindClip = Callable[[str], FoundClip]


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

    if audio is not None and not audio.is_dir():
        raise ItemError(f"There is no folder {audio}.", "Give the folder that holds MMAR's wav files.")
    clips = _ClipFolder([audio], follow=True) if audio else None

    def find_clip(audio_path: str) -> FoundClip:
        base = PurePosixPath(audio_path).name
        return FoundClip(base, clips.find(base).path if clips else None)

    return _import(workspace, info, [meta], find_clip, progress or Quiet())


def import_folder(
    workspace: Workspace, path: Path, name: str, kind: Kind = "own", progress: Progress | None = None
) -> ImportReport:
    """A folder with a table of questions (CSV, TSV, JSON, JSONL or Parquet) and the clips it names or holds.

    The table is `items.*`, `metadata.*`, `questions.*` or `data.*`, else the only one of the folder or of
    those inside it; `path` may also be the table itself. Clip paths are relative to the folder and never lead
    out of it; case, Unicode form and the suffix of a clip's name may differ where that leaves one file.

    Raises:
        ItemError: if there is no table, it cannot be read, or `name` belongs to another dataset.
    """
    table = _find_table(path)
    folder = (path if path.is_dir() else table[0].parent).resolve()
    clips = _ClipFolder(list(dict.fromkeys((table[0].parent.resolve(), folder))))
    info = DatasetInfo(name=name, title=folder.name, kind=kind, source=f"folder:{folder}")
    return _import(workspace, info, table, clips.find, progress or Quiet())


def store_clip(root: Path, sound: bytes, name: str) -> str:
    """Write a clip that a table holds itself to `root/audio`, named `name` and the start of its checksum.

    Returns:
        Its path relative to `root`.
    """
    stem, suffix = PurePosixPath(name).stem[:80], PurePosixPath(name).suffix.lower()
    mark = hashlib.sha256(sound).hexdigest()[:16]
    place = Path("audio") / f"{stem}-{mark}{suffix if suffix in SOUND else '.wav'}".removeprefix("-")
    if not (root / place).is_file():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / place, sound)
    return str(place)


def _import(
    workspace: Workspace,
    info: DatasetInfo,
    table: Sequence[Path],
    find_clip: FindClip,
    progress: Progress,
) -> ImportReport:
    root = workspace.datasets / check_name(info.name)
    _refuse_other(root, info)
    new = not root.exists()
    try:
        count, rows = read_files(table)
        progress.phase("items", count or None)
        first: list[Row] = []
        stored: set[str] = set()  # clips that the table itself holds
        items, findings = items_of_rows(_stored(rows, root, first, stored), info.name)
        if not items:
            said = findings[0].message if findings else ""
            about = "" if not first or said.endswith(described(first[0])) else f" {described(first[0])}"
            raise ItemError(
                f"No row of {table[0]} is an item.{' The first: ' * bool(said)}{said}{about}",
                "Name the columns question, choices (A|B|C) and answer; audio and id are welcome.",
            )
        placed = [
            (item, None) if item.audio_path in stored else _with_clip(item, root, find_clip) for item in items
        ]
    except BaseException:
        if new:
            shutil.rmtree(root, ignore_errors=True)
        raise
    progress.done(len(items))
    findings += [Finding(item.id, *remark) for item, remark in placed if remark is not None]  # type: ignore[arg-type]
    info = info.model_copy(update={"created": datetime.now(UTC).isoformat(timespec="seconds")})
    root.mkdir(parents=True, exist_ok=True)
    # kept beside the items: what was left out is to be seen later too
    write_atomic(root / IMPORTED, b"".join(orjson.dumps(one.to_dict()) + b"\n" for one in findings))
    dataset = save_dataset(root, info, [item for item, _ in placed], workspace.cache)
    return ImportReport(dataset, validate(dataset, progress))


def _stored(rows: Iterator[Row], root: Path, first: list[Row], stored: set[str]) -> Iterator[Row]:
    """The rows, each clip that a row holds written to `root` and named by its path, which `stored` gets.

    `first` gets the first row.
    """
    for row in rows:
        made: dict[str, Any] = dict(row)
        held: list[str] = []
        for key, value in row.items():
            sound = _sound(value)
            if sound is not None:
                name = value.get("path") if isinstance(value, Mapping) else ""
                made[key] = store_clip(root, sound, str(name or ""))
                stored.add(made[key])
                held.append(key)
        if len(held) == 1 and not names_clip(made):  # a column of another name, such as `context`
            made["audio_path"] = made.pop(held[0])
        if not first:
            first.append(row)
        yield made


def _sound(value: Any) -> bytes | None:
    """The clip in a cell: bytes, or an object with `bytes` (in JSON as base64); None if there is none."""
    inner = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(inner, str) and isinstance(value, Mapping):
        try:
            inner = base64.b64decode(inner, validate=True)
        except (binascii.Error, ValueError):
            return None
    return inner if isinstance(inner, bytes) and inner else None


class _ClipFolder:
    """The clips of a folder, found by the paths that a table gives; the folder is only listed where needed.

    A file that is a link out of the folder is not taken, unless `follow`: download caches hold such links.
    """

    def __init__(self, roots: Sequence[Path], follow: bool = False) -> None:
        self._roots = roots
        self._follow = follow
        self._paths: dict[str, list[tuple[str, Path]]] | None = None  # by path, folded
        self._names: dict[str, list[tuple[str, Path]]] = defaultdict(list)  # by file name, folded

    def find(self, audio_path: str) -> FoundClip:
        """The clip of a path relative to the folder: as given, else with another case, Unicode form or
        suffix, else the only file of that name."""
        if "\0" in audio_path:
            return FoundClip()
        given = [f"{start}{audio_path}{suffix}" for start in ("", "audio/") for suffix in ("", *SOUND)]
        for root in self._roots:
            for place in given:
                relative = os.path.relpath(root / place, root)
                if not relative.startswith("..") and (root / relative).is_file():
                    return self._found(relative, root / relative)
        plain = os.path.normpath(audio_path)
        if re.match(r"/|\.\.|[A-Za-z]:/", plain) or "://" in audio_path:
            return FoundClip()
        return self._search(plain, [os.path.normpath(place) for place in given])

    def _search(self, plain: str, given: Sequence[str]) -> FoundClip:
        if self._paths is None:
            self._list()
        assert self._paths is not None
        for place in given:
            if len(near := self._paths.get(_folded(place), [])) == 1:
                return self._found(*near[0])
        base = PurePosixPath(plain)
        names = [f"{base.name}{suffix}" for suffix in ("", *SOUND)]
        if base.suffix.lower() in SOUND:
            names += [f"{base.stem}{suffix}" for suffix in SOUND]
        for name in names:
            if len(near := self._names.get(_folded(name), [])) == 1:
                found = self._found(*near[0])
                said = f"There is no file {plain}; {near[0][0]} was taken."
                return (
                    found
                    if found.path is None
                    else FoundClip(found.name, found.path, ("clip-elsewhere", "info", said))
                )
        return FoundClip()

    def _found(self, relative: str, path: Path) -> FoundClip:
        if path.is_symlink() and not self._follow and not self._inside(path.resolve()):
            said = f"{relative} is a link to a file outside the folder. Copy the file into the folder."
            return FoundClip(remark=("linked-clip", "error", said))
        if not path.is_file():
            said = f"{relative} is a link to a file that is not there. Fetch it (git annex get, dvc pull)."
            return FoundClip(remark=("linked-clip", "error", said))
        return FoundClip(unicodedata.normalize("NFC", relative).removeprefix("audio/"), path)

    def _inside(self, real: Path) -> bool:
        """Whether a file is of the folder, or of the hub's cache that the folder is a snapshot of."""
        caches = [root.parent.parent / "blobs" for root in self._roots if root.parent.name == "snapshots"]
        return any(real.is_relative_to(root) for root in (*self._roots, *caches))

    def _list(self) -> None:
        self._paths = defaultdict(list)
        count, seen = 0, set()
        for root in self._roots:
            for folder, folders, files in os.walk(root, followlinks=True):
                real = os.path.realpath(folder)
                if real in seen:  # a link back up, or the second root inside the first
                    folders.clear()
                    continue
                seen.add(real)
                for name in files:
                    relative = os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118
                    path = root / relative
                    self._paths[_folded(relative)].append((relative, path))
                    self._names[_folded(name)].append((relative, path))
                count += len(files)
                if count > _MOST_FILES:
                    return


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _with_clip(item: Item, root: Path, find_clip: FindClip) -> tuple[Item, tuple[str, str, str] | None]:
    """The item with its clip brought into `root/audio` and a path that leads there, and what to say of it."""
    if item.audio_path is None:
        return item, None
    found = find_clip(item.audio_path.replace("\\", "/"))
    if found.path is not None:
        _bring(found.path, root / "audio" / found.name)
    if (
        not found.name or os.path.normpath(item.audio_path) == f"audio/{found.name}"
    ):  # `./audio/x.wav` stays as published
        return item, found.remark
    return item.model_copy(update={"audio_path": f"audio/{found.name}"}), found.remark


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


def _find_table(path: Path) -> list[Path]:
    """The table of a folder, in its parts."""
    if path.is_file():
        return shards(path)
    if not path.is_dir():
        raise ItemError(
            f"There is no folder {path}.", "Give a folder with items.csv or items.jsonl, and its clips."
        )
    tables = _tables(path.iterdir())
    if not tables:
        tables = _tables(file for file in path.rglob("*") if ".cache" not in file.parts)
    if len(tables) == 1:
        return tables[0]
    for stem in _PREFERRED:
        named = [parts for parts in tables if parts[0].name.lower().partition(".")[0] == stem]
        if named:
            return named[0]
    names = [str(parts[0].relative_to(path)) for parts in tables]
    found = ", ".join(names[:20]) or _nothing(path)
    raise ItemError(
        f"{path} needs one table of questions; found: {found}.",
        "Name it items.csv, items.jsonl or items.parquet, or give the table's own path.",
    )


def _tables(files: Iterator[Path]) -> list[list[Path]]:
    """The tables among files, each in its parts, in the order of their forms and names."""
    wanted = [file for file in files if is_table(file) and not file.name.startswith(".") and file.is_file()]
    wanted.sort(key=lambda file: (_form(file), str(file)))
    return list({parts[0]: parts for parts in map(shards, wanted)}.values())


def _form(file: Path) -> int:
    name = file.name.lower().removesuffix(".gz")
    return next(number for number, suffix in enumerate(SUFFIXES) if name.endswith(suffix))


def _nothing(path: Path) -> str:
    packed = sorted(file.name for file in path.iterdir() if file.name.lower().endswith(_ARCHIVES))
    return f"none. Unpack {packed[0]} first" if packed else "none"
