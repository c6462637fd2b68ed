"""A dataset by its mapping file: fetched, unpacked, its rows made items, its clips laid beside them.

A row with a question, choices and an answer becomes an item. A row without choices is kept as it is in
`free.jsonl`, material for choices to be made of. Knows nothing about models.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from audioreason.acquire.archives import is_archive, unpack
from audioreason.acquire.conversations import COLUMNS as CONVERSATION
from audioreason.acquire.conversations import row_of_conversation
from audioreason.acquire.hub import Snapshot, fetch_snapshot, look
from audioreason.acquire.links import link
from audioreason.acquire.mapping import FREE, Mapping
from audioreason.acquire.records import fetch_record, look_record
from audioreason.errors import ItemError
from audioreason.items import Dataset, DatasetInfo, Item, save_dataset
from audioreason.items.dataset import check_name, read_info
from audioreason.items.loaders import SOUND, store_clip
from audioreason.items.rows import item_of_row
from audioreason.items.tables import SUFFIXES, Row, read_files
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace, write_atomic


@dataclass(frozen=True)
class Mapped:
    """What came of a download: items, free-form rows, rows that are neither (and why the first is), clips."""

    dataset: Dataset | None
    folder: Path
    items: int
    free: int
    unusable: int
    without_clip: int
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return {
            "name": self.folder.name,
            "items": self.items,
            "free_form": self.free,
            "unusable": self.unusable,
            "without_clip": self.without_clip,
            **({"first_unusable": self.problem} if self.problem else {}),
        }


def look_mapped(mapping: Mapping, patience: float = 30.0) -> list[Snapshot]:
    """What a mapping would fetch, from one place or two; nothing is downloaded. `patience` in seconds.

    Raises:
        ItemError: if a place has nothing of it or cannot be asked.
    """
    if mapping.repo is not None:
        found = [look(mapping.repo, mapping.wanted, mapping.revision, patience)]
    else:
        found = [look_record(mapping.record or 0, mapping.wanted, patience)]
    if mapping.clips is not None:
        found.append(look(mapping.clips.repo, mapping.clips.files, mapping.clips.revision, patience))
    return found


def fetch_mapped(
    workspace: Workspace,
    mapping: Mapping,
    name: str,
    progress: Progress | None = None,
    audio: Path | None = None,
) -> Mapped:
    """Download a dataset and bring it in by its mapping. Called again, it goes on where it was.

    `audio` is a folder with clips that you have, looked into first. Phases of `progress`: download (bytes),
    unpack (files), items.

    Raises:
        ItemError: if it cannot be had, the table is not there, a column is not in it, there is another
            dataset of that name, or it was stopped; what is here stays.
        WorkspaceError: if the disk has no room.
    """
    progress = progress or Quiet()
    root = workspace.datasets / check_name(name)
    _refuse_another(root, mapping)
    if audio is not None and not audio.is_dir():
        raise ItemError(f"There is no folder {audio}.", "Name the folder with the clips, or none.")
    snapshots = _fetch(workspace, mapping, progress)
    folder = snapshots[0].folder or workspace.cache
    tables = _tables(folder, snapshots[0], mapping)
    clips = _Clips([path for one in snapshots for path in _unpacked(one, progress)], audio, root)
    kept = None if mapping.only is None else _column(folder, snapshots[0], mapping)
    count, rows = read_files(tables)
    progress.phase("items", count)
    made = _Made(name, clips)
    for number, row in enumerate(_checked(rows, mapping, tables[0].name), 1):
        if kept is None or str(row.get(mapping.only.column if mapping.only else "")) in kept:
            made.add(number, row, mapping)
        progress.done(number)
        if progress.should_stop():
            raise ItemError("The import was stopped.", "The same command begins it again.")
    if not made.items and not made.free:
        raise ItemError(
            f"No row of {tables[0].name} has a question and an answer"
            f"{f' ({made.problem})' if made.problem else ''}.",
            "Name their columns in the mapping.",
        )
    info = DatasetInfo(
        name=name,
        title=mapping.title or mapping.place,
        kind=mapping.kind,
        licence=mapping.licence,
        source=f"{mapping.place}@{snapshots[0].revision}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    dataset = save_dataset(root, info, made.items, workspace.cache) if made.items else None
    if made.free:
        write_atomic(root / FREE, b"".join(orjson.dumps(row) + b"\n" for row in made.free))
    return Mapped(dataset, root, len(made.items), len(made.free), made.unusable, clips.missing, made.problem)


class _Made:
    """Items and free-form rows as they come; ids that a table repeats get the row's number."""

    def __init__(self, name: str, clips: _Clips) -> None:
        self.items: list[Item] = []
        self.free: list[dict[str, Any]] = []
        self.unusable = 0
        self.problem = ""
        self._name, self._clips = name, clips
        self._ids: set[str] = set()

    def add(self, number: int, row: Row, mapping: Mapping) -> None:
        """One row of the table, counted from 1."""
        try:
            read = row_of_conversation(row) if mapping.form == "conversations" else row
        except ItemError as error:
            self._leave(number, error)
            return
        fields = mapping.apply(read)
        fields["audio_path"] = self._clips.lay(fields.get("audio_path"))
        fields["id"] = self._id(number, fields.get("id"))
        fields = {key: value for key, value in fields.items() if not _is_sound(value)}
        try:
            self.items.append(item_of_row(fields, fields["id"]))
        except ItemError as error:
            if "choices" not in read and fields.get("question") and fields.get("answer"):
                self.free.append(_plain(fields))
            else:
                self._leave(number, error)

    def _leave(self, number: int, error: ItemError) -> None:
        self.unusable += 1
        self.problem = self.problem or f"row {number}: {error.message}"

    def _id(self, number: int, given: Any) -> str:
        name = str(given) if given not in (None, "") else f"{self._name}-{number:06d}"
        name = name if name not in self._ids else f"{name}-{number:06d}"
        self._ids.add(name)
        return name


class _Clips:
    """Clips by the path that a table gives: your folder first, then what was fetched and unpacked."""

    def __init__(self, fetched: Iterable[Path], own: Path | None, root: Path) -> None:
        self.missing = 0
        self._root = root
        self._names: dict[str, list[Path]] = defaultdict(list)
        self._stems: dict[str, list[Path]] = defaultdict(list)
        mine = sorted(path for path in own.rglob("*") if path.is_file()) if own is not None else []
        had = {path.name for path in mine}
        for path in (*mine, *(path for path in fetched if path.name not in had)):
            self._names[path.name].append(path)
            if path.suffix.lower() in SOUND:
                self._stems[path.stem].append(path)

    def lay(self, given: Any) -> str | None:
        """Lay a row's clip into the dataset; its path there, or what was given where there is none."""
        if isinstance(given, AnyMapping):
            if isinstance(sound := given.get("bytes"), bytes):
                return store_clip(self._root, sound, str(given.get("path") or ""))
            given = given.get("path")
        text = str(given or "").replace("\\", "/")
        source = self._find(PurePosixPath(text))
        if source is None:
            self.missing += 1
            return f"audio/{PurePosixPath(text).name}" if PurePosixPath(text).name else None
        alone = len(self._names[source.name]) == 1
        place = Path("audio") / ("" if alone else source.parent.name) / source.name
        link(source, self._root / place)
        return str(place)

    def _find(self, given: PurePosixPath) -> Path | None:
        """The file of that name; of several the one whose folders fit too; else the only one of that stem."""
        named = self._names.get(given.name, [])
        if len(named) > 1:
            named = [path for path in named if path.parts[-len(given.parts) :] == given.parts]
        if not named and given.suffix.lower() in ("", *SOUND):
            named = self._stems.get(given.stem if given.suffix else given.name, [])
        return named[0] if len(named) == 1 else None


def _fetch(workspace: Workspace, mapping: Mapping, progress: Progress) -> list[Snapshot]:
    """The files of the dataset, and of where its clips are if that is elsewhere."""
    if mapping.repo is None:
        folder = workspace.cache / "zenodo" / str(mapping.record)
        found = [fetch_record(mapping.record or 0, folder, mapping.wanted, progress)]
    else:
        folder = _hub_folder(workspace, mapping.repo)
        found = [
            fetch_snapshot(mapping.repo, folder, mapping.wanted, revision=mapping.revision, progress=progress)
        ]
    if mapping.clips is not None:
        there = _hub_folder(workspace, mapping.clips.repo)
        found.append(
            fetch_snapshot(
                mapping.clips.repo,
                there,
                mapping.clips.files,
                revision=mapping.clips.revision,
                progress=progress,
            )
        )
    return found


def _hub_folder(workspace: Workspace, repo: str) -> Path:
    return workspace.cache / "hub" / repo.replace("/", "--")


def _refuse_another(root: Path, mapping: Mapping) -> None:
    """Keep a dataset that came from elsewhere from being written over."""
    if not (root / "dataset.json").is_file():
        return
    source = read_info(root).source
    if not source.startswith(f"{mapping.place}@"):
        raise ItemError(
            f"There is a dataset {root.name} already, from {source or 'elsewhere'}.",
            "Choose another name, or remove it first.",
        )


def _unpacked(snapshot: Snapshot, progress: Progress) -> list[Path]:
    """Every file of a snapshot and of its archives, which are unpacked once for each revision."""
    folder = snapshot.folder or Path()
    places = [folder / file.path for file in snapshot.files]
    for archive in [
        path for path in places if path.suffix.lower() not in (*SUFFIXES, *SOUND) and is_archive(path)
    ]:
        target = folder / "unpacked" / f"{archive.name}-{snapshot.revision[:12]}"
        if not target.is_dir():
            unpack(archive, target, progress)
        places += [path for path in target.rglob("*") if path.is_file()]
    return places


def _tables(folder: Path, snapshot: Snapshot, mapping: Mapping) -> list[Path]:
    """The table, or the parts of it that a pattern means, in order.

    Raises:
        ItemError: if it is not there; the sentence names the tables that are.
    """
    found = sorted(file.path for file in snapshot.files if fnmatch(file.path, mapping.table))
    if found:
        return [folder / path for path in found]
    if mapping.repo is not None:
        there = look(mapping.repo, ("*",), mapping.revision).files
    else:
        there = look_record(mapping.record or 0).files
    tables = [file.path for file in there if file.path.endswith(SUFFIXES)]
    raise ItemError(
        f"{mapping.place} has no table {mapping.table}{mapping.doubt('table')};"
        f" it has: {', '.join(sorted(tables)[:40]) or 'none'}.",
        "Correct `table` in a copy of the mapping file.",
    )


def _checked(rows: Iterator[Row], mapping: Mapping, table: str) -> Iterator[Row]:
    """The rows again, when the columns of the first hundred are those that the mapping names."""
    first = list(itertools.islice(rows, 100))
    columns = {str(key) for row in first for key in row}
    if mapping.form == "conversations":
        missing = [column for column in CONVERSATION if column not in columns]
        if missing:
            raise ItemError(
                f"{table} has no column {missing[0]}, which AudioSkills' form has{mapping.doubt(missing[0])};"
                f" it has: {', '.join(sorted(columns)) or 'none'}.",
                "Correct `form` in a copy of the mapping file.",
            )
        columns |= {"question", "answer", "audio_path", "choices"}
    mapping.check_columns(table, columns)
    yield from first
    yield from rows


def _column(folder: Path, snapshot: Snapshot, mapping: Mapping) -> set[str]:
    """What stands in the column of the table that says which rows are taken."""
    only = mapping.only
    if only is None or only.table not in {file.path for file in snapshot.files}:
        raise ItemError(
            f"{mapping.place} has no table {only.table if only else ''}.", "Correct `only` in the mapping."
        )
    _, rows = read_files([folder / only.table])
    found = list(rows)
    columns = sorted({str(key) for row in found[:100] for key in row})
    if only.column not in columns:
        raise ItemError(
            f"{only.table} has no column {only.column} for only; it has: {', '.join(columns) or 'none'}.",
            "Correct a copy of the mapping file, and download by that.",
        )
    return {str(row.get(only.column)) for row in found}


def _is_sound(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, AnyMapping) and "bytes" in value)


def _plain(row: Row) -> dict[str, Any]:
    return {str(key): value for key, value in row.items() if isinstance(value, str | int | float | bool)}
