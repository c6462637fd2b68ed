"""Any hub dataset by a mapping file: which repository, which files, and which column means what.

    repo: amaai-lab/MusicBench        # a dataset on the hub
    files: ["*.json", "*.tar.gz"]     # shell patterns; default: tables and archives
    table: MusicBench_train.json      # the table with a row a question; .csv, .tsv, .json, .jsonl, .parquet
    columns: {audio_path: location, answer: main_caption}
    values: {question: Which caption fits?, modality: music}   # the same for every row
    kind: training                    # or benchmark, own
    licence: CC-BY-SA 3.0

A row with a question, choices and an answer becomes an item. A row without choices is kept as it is in
`free.jsonl`, material for choices to be made of. Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioreason.acquire.archives import is_archive, unpack
from audioreason.acquire.hub import Snapshot, fetch_snapshot
from audioreason.acquire.links import link
from audioreason.errors import ItemError
from audioreason.items import Dataset, DatasetInfo, save_dataset
from audioreason.items.dataset import check_name
from audioreason.items.rows import COLUMNS, item_of_row, read_table
from audioreason.items.schema import Kind
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace, write_atomic

FREE = "free.jsonl"
_DEFAULT_FILES = ("*.json", "*.jsonl", "*.csv", "*.tsv", "*.parquet", "*.zip", "*.tar", "*.tar.gz", "*.tgz")
_FIELDS = frozenset(COLUMNS)


class Mapping(BaseModel):
    """A mapping file; see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    table: str = Field(min_length=1)
    files: tuple[str, ...] = _DEFAULT_FILES
    revision: str = "main"
    columns: dict[str, str] = {}
    values: dict[str, str] = {}
    kind: Kind = "training"
    licence: str = ""
    title: str = ""


@dataclass(frozen=True)
class Mapped:
    """What came of a download: the items, how many rows are free-form, and how many rows are neither."""

    dataset: Dataset | None
    folder: Path
    items: int
    free: int
    unusable: int
    without_clip: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return {
            "name": self.folder.name,
            "items": self.items,
            "free_form": self.free,
            "unusable": self.unusable,
            "without_clip": self.without_clip,
        }


def read_mapping(path: Path) -> Mapping:
    """A mapping file (YAML or JSON).

    Raises:
        ItemError: naming the first field that is wrong.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ItemError(
            f"{path} cannot be read as a mapping ({error}).", "See the README for its form."
        ) from error
    try:
        mapping = Mapping.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ItemError(f"{path}: {where}: {first['msg']}.", "See the README for its form.") from error
    if strange := sorted((set(mapping.columns) | set(mapping.values)) - _FIELDS):
        raise ItemError(
            f"{path} maps {strange[0]}, which no item has.", f"There are: {', '.join(sorted(_FIELDS))}."
        )
    return mapping


def fetch_mapped(
    workspace: Workspace, mapping: Mapping, name: str, progress: Progress | None = None
) -> Mapped:
    """Download a hub dataset and bring it in by its mapping. Called again, it goes on where it was.

    Raises:
        ItemError: if it cannot be had, the table is not there, or a column is not in it.
        WorkspaceError: if the disk has no room.
    """
    progress = progress or Quiet()
    folder = workspace.cache / "hub" / mapping.repo.replace("/", "--")
    snapshot = fetch_snapshot(
        mapping.repo, folder, (*mapping.files, mapping.table), revision=mapping.revision, progress=progress
    )
    clips = _clips(folder, snapshot, progress)
    rows = _rows(folder / mapping.table)
    columns = {str(key) for row in rows[:100] for key in row}
    for field, column in mapping.columns.items():
        if column not in columns:
            raise ItemError(
                f"{mapping.table} has no column {column} for {field}.",
                f"It has: {', '.join(sorted(columns))}.",
            )
    root = workspace.datasets / check_name(name)
    items, free, unusable, without = [], [], 0, 0
    progress.phase("items", len(rows))
    for number, row in enumerate(rows, 1):
        renamed = {
            **mapping.values,
            **row,
            **{field: row.get(column) for field, column in mapping.columns.items()},
        }
        place = clips.get(PurePosixPath(str(renamed.get("audio_path") or "")).name)
        if place is None:
            without += 1
        else:
            link(place, root / "audio" / place.name)
            renamed["audio_path"] = f"audio/{place.name}"
        try:
            items.append(item_of_row(renamed, f"{name}-{number:06d}"))
        except ItemError:
            if renamed.get("question") and renamed.get("answer"):
                free.append({"id": f"{name}-{number:06d}", **_plain(renamed)})
            else:
                unusable += 1
        progress.done(number)
    if not items and not free:
        raise ItemError(
            f"No row of {mapping.table} has a question and an answer.", "Name their columns in the mapping."
        )
    info = DatasetInfo(
        name=name,
        title=mapping.title or mapping.repo,
        kind=mapping.kind,
        licence=mapping.licence,
        source=f"hub:{mapping.repo}@{snapshot.revision}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    dataset = save_dataset(root, info, items, workspace.cache) if items else None
    if free:
        write_atomic(root / FREE, b"".join(orjson.dumps(row) + b"\n" for row in free))
    return Mapped(dataset, root, len(items), len(free), unusable, without)


def _clips(folder: Path, snapshot: Snapshot, progress: Progress) -> dict[str, Path]:
    """Every file that may be a clip by its name, archives unpacked once for each revision."""
    places = [folder / file.path for file in snapshot.files]
    for archive in [path for path in places if is_archive(path)]:
        target = folder / "unpacked" / f"{archive.name}-{snapshot.revision[:12]}"
        if not target.is_dir():
            unpack(archive, target, progress)
        places += [path for path in target.rglob("*") if path.is_file()]
    return {path.name: path for path in places}


def _rows(path: Path) -> list[AnyMapping[str, Any]]:
    if not path.is_file():
        raise ItemError(f"The repository has no table {path.name}.", "Correct `table` in the mapping.")
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return [dict(row) for row in pq.read_table(path).to_pylist()]
        except pa.ArrowException as error:
            raise ItemError(f"{path.name} cannot be read ({error}).", "Fetch it again.") from error
    return [dict(row) for row in read_table(path.name, path.read_bytes())]


def _plain(row: AnyMapping[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in row.items() if isinstance(value, str | int | float | bool)}
