"""A dataset: a folder of items with a content hash, found in the workspace or shipped with the lab.

    NAME/dataset.json    what it is, and the hash of what it holds
    NAME/items.jsonl     one item a line, MMAR's keys
    NAME/splits.json     made on first use
    NAME/audio/          the clips

Knows nothing about decoding sound, splits or where items came from.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pydantic import ValidationError

from audioreason.errors import ItemError
from audioreason.items.hashes import clip_hashes
from audioreason.items.schema import DatasetInfo, Item
from audioreason.workspace import Workspace, shipped, write_atomic

_BOM = b"\xef\xbb\xbf"  # what some editors put before UTF-8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Dataset:
    """Items in the order of their file, and the folder that holds their clips."""

    root: Path
    info: DatasetInfo
    items: tuple[Item, ...]
    cache: Path | None = None  # the workspace's cache folder; without it clip hashes are not remembered

    def __getitem__(self, item_id: str) -> Item:
        """The item with this id.

        Raises:
            ItemError: if there is none.
        """
        try:
            return self._by_id[item_id]
        except KeyError:
            raise ItemError(
                f"The dataset {self.info.name} has no item {item_id!r}.",
                "Check the id, or list the items with `audioreason data check`.",
            ) from None

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._by_id

    @functools.cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}

    def clip(self, item: Item) -> Path | None:
        """Path of an item's clip; None if it has none or the file is missing.

        Raises:
            ItemError: if the path leaves the dataset's folder (absolute, `..` or through a link).
        """
        return None if item.audio_path is None else clip_path(self.root, item.audio_path)

    def clip_hash(self, item: Item) -> str | None:
        """SHA-256 of the clip's bytes, 64 hex digits; None where `clip` gives None.

        Raises:
            ItemError: if the path leaves the dataset's folder or the file cannot be read.
        """
        path = self.clip(item)
        if path is None:
            return None
        return clip_hashes([path], self.cache)[0]


@dataclass(frozen=True)
class DatasetSummary:
    """One line of a list of datasets; `problem` says in a sentence why one cannot be used."""

    name: str
    title: str
    kind: str
    cue_kind: str
    items: int
    clips: int
    hash: str
    shipped: bool
    problem: str = ""

    def to_dict(self) -> dict[str, str | int | bool]:
        """The fields as plain data, for `--json`."""
        return asdict(self)


def check_name(name: str, of: str = "a dataset") -> str:
    """`name` again, if it can be a dataset's folder, or that of something else in the workspace.

    Raises:
        ItemError: if it has characters other than letters, digits, `.`, `_`, `-`, or starts with a dot.
    """
    if not _NAME.fullmatch(name):
        raise ItemError(
            f"{name!r} cannot be the name of {of}.",
            "Use up to 100 letters, digits, dots, dashes and underscores, starting with a letter or digit.",
        )
    return name


def find_dataset(workspace: Workspace, name: str) -> Path:
    """The folder of a dataset: the workspace's own, else the one shipped with the lab.

    Raises:
        ItemError: if there is none.
    """
    for folder in (workspace.datasets / check_name(name), shipped(name)):
        if (folder / "dataset.json").is_file():
            return folder
    known = ", ".join(folder.name for folder in _folders(workspace)) or "none yet"
    raise ItemError(f"There is no dataset {name!r}.", f"Import it first; datasets here: {known}.")


def load_dataset(workspace: Workspace, name: str) -> Dataset:
    """Read a dataset; `info.hash` is computed from what is there now, not believed from the file.

    Raises:
        ItemError: if it is missing, a line is not an item, or two items share an id.
    """
    return read_dataset(find_dataset(workspace, name), workspace.cache)


def read_dataset(root: Path, cache: Path | None = None) -> Dataset:
    """Read the dataset in a folder, wherever it is; see `load_dataset`."""
    info = read_info(root).model_copy(update={"name": root.name})  # a copied folder is a dataset of its own
    file = root / "items.jsonl"
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ItemError(
            f"{file} cannot be read ({error.strerror or error}).", "Import the dataset again."
        ) from error
    items = _parse(file, raw)
    known = info.items_hash if _sha256(raw) == info.items_file else ""
    return Dataset(root, _measured(root, info, raw, items, cache, known), items, cache)


def save_dataset(root: Path, info: DatasetInfo, items: Iterable[Item], cache: Path | None = None) -> Dataset:
    """Write `items.jsonl` and `dataset.json`, each whole or not at all; clips must be in place already.

    Returns:
        The dataset, with hash and counts filled in.

    Raises:
        ItemError: if two items share an id or a clip's path leaves the folder.
        WorkspaceError: if the disk is full or the folder is not writable.
    """
    kept = tuple(items)
    raw = b"".join(orjson.dumps(item.to_json()) + b"\n" for item in kept)
    _refuse_duplicates(root / "items.jsonl", kept)
    measured = _measured(root, info, raw, kept, cache, "")
    write_atomic(root / "items.jsonl", raw)
    write_atomic(root / "dataset.json", measured.model_dump_json(indent=2) + "\n")
    return Dataset(root, measured, kept, cache)


def list_datasets(workspace: Workspace) -> list[DatasetSummary]:
    """The workspace's datasets and the shipped ones it does not replace, by name."""
    return sorted((_summary(workspace, folder) for folder in _folders(workspace)), key=lambda row: row.name)


def items_hash(items: Iterable[Item]) -> str:
    """12 hex digits of SHA-256 over the items alone: what two copies share whether or not clips are there."""
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.id):
        digest.update(orjson.dumps(item.to_json(), option=orjson.OPT_SORT_KEYS) + b"\n")
    return digest.hexdigest()[:12]


def dataset_hash(items: Iterable[Item] | str, clips: Mapping[str, str]) -> str:
    """12 hex digits that name a dataset's content, the same on every machine and in any file order.

    Args:
        items: the items, or their `items_hash`.
        clips: content hash of the clip by item id, for items whose clip is there.
    """
    digest = hashlib.sha256((items if isinstance(items, str) else items_hash(items)).encode())
    for item_id in sorted(clips):
        digest.update(f"\n{item_id}\t{clips[item_id]}".encode())
    return digest.hexdigest()[:12]


def clip_path(root: Path, audio_path: str) -> Path | None:
    """Where `audio_path` leads inside `root`; None if no file is there.

    Raises:
        ItemError: if it leads out of `root` (absolute, `..` or through a link).
    """
    relative = os.path.normpath(audio_path.replace("\\", "/"))
    outside = relative.startswith(("/", "../")) or re.match("[A-Za-z]:/", relative)  # C:/ is Windows' root
    if "\0" in audio_path or outside or relative in ("..", "."):
        raise _escape(root, audio_path)
    path = root / relative
    try:
        real, home = os.path.realpath(path, strict=True), os.path.realpath(root)
    except FileNotFoundError:
        return None
    except OSError as error:  # a loop of links, a file where a folder should be, a name too long
        raise ItemError(
            f"The clip path {audio_path!r} in {root.name} cannot be followed ({error.strerror or error}).",
            "Correct audio_path in items.jsonl.",
        ) from error
    if not real.startswith(home + os.sep):
        raise _escape(root, audio_path)
    return path if Path(real).is_file() else None


def _escape(root: Path, audio_path: str) -> ItemError:
    plain = audio_path.replace("\\", "/")
    how = "is absolute and outside" if re.match("/|[A-Za-z]:/", plain) else "leads outside"
    return ItemError(
        f"The clip path {audio_path!r} {how} the dataset {root.name}.",
        "Put the clip into the dataset's folder and give its path relative to that folder, such as"
        f" audio/{os.path.basename(plain) or 'clip.wav'}.",  # noqa: PTH119
    )


def _parse(file: Path, raw: bytes) -> tuple[Item, ...]:
    items = []
    for number, line in enumerate(raw.removeprefix(_BOM).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            items.append(Item.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise ItemError(
                f"{file}, line {number}, is not an item: {where}: {first['msg']}.",
                "Correct the line or import the dataset again.",
            ) from error
    _refuse_duplicates(file, items)
    return tuple(items)


def _refuse_duplicates(file: Path, items: Iterable[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise ItemError(
                f"{file} has two items with the id {item.id!r}.",
                "Give each item its own id, or import the data again: importing reports each duplicate.",
            )
        seen.add(item.id)


def _measured(
    root: Path, info: DatasetInfo, raw: bytes, items: tuple[Item, ...], cache: Path | None, known: str
) -> DatasetInfo:
    """`info` with hashes and counts of what is in the folder; `known` is the items' hash if it is trusted."""
    paths = _clips(root, items)
    hashes = clip_hashes(paths.values(), cache)
    of_items = known or items_hash(items)
    return info.model_copy(
        update={
            "hash": dataset_hash(of_items, dict(zip(paths, hashes, strict=True))),
            "items_hash": of_items,
            "items_file": _sha256(raw),
            "item_count": len(items),
            "clip_count": len(paths),
        }
    )


def _clips(root: Path, items: Iterable[Item]) -> dict[str, Path]:
    """Existing clips by item id. A path that leaves the folder counts as none here: `clip` refuses it."""
    home = os.path.realpath(root)
    inside: dict[str, bool] = {}  # folder -> whether it is truly inside; one answer for a thousand clips
    found = {}
    for item in items:
        if item.audio_path is None:
            continue
        relative = os.path.normpath(item.audio_path.replace("\\", "/"))
        path = os.path.join(root, relative)  # noqa: PTH118 - pathlib costs 10 x here
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in inside:
            inside[folder] = (os.path.realpath(folder) + os.sep).startswith(home + os.sep)
        plain = inside[folder] and not relative.startswith(("/", "..")) and "\0" not in relative
        if plain and os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
            found[item.id] = Path(path)
        elif plain and os.path.islink(path):  # noqa: PTH114
            real = os.path.realpath(path)
            if real.startswith(home + os.sep) and os.path.isfile(real):  # noqa: PTH113
                found[item.id] = Path(path)
    return found


def _folders(workspace: Workspace) -> list[Path]:
    """Folders with a `dataset.json`: the workspace's, then shipped ones of other names."""
    folders: dict[str, Path] = {}
    for parent in (workspace.datasets, shipped()):
        if parent.is_dir():
            for info in parent.glob("*/dataset.json"):
                folders.setdefault(info.parent.name, info.parent)
    return list(folders.values())


def _summary(workspace: Workspace, folder: Path) -> DatasetSummary:
    mine = folder.parent == workspace.datasets
    try:
        info = read_info(folder)
        if not info.items_file:  # written by hand: count and hash it
            info = read_dataset(folder, workspace.cache).info
    except ItemError as error:
        return DatasetSummary(folder.name, "", "own", "none", 0, 0, "", not mine, str(error))
    return DatasetSummary(
        folder.name,
        info.title,
        info.kind,
        info.cue_kind,
        info.item_count,
        info.clip_count,
        info.hash,
        not mine,
    )


def read_info(root: Path) -> DatasetInfo:
    """`dataset.json` of a folder, as it was written.

    Raises:
        ItemError: if it is missing or not a dataset's description.
    """
    file = root / "dataset.json"
    try:
        return DatasetInfo.model_validate_json(file.read_bytes().removeprefix(_BOM))
    except OSError as error:
        raise ItemError(
            f"{file} cannot be read ({error.strerror or error}).", "Import the dataset again."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ItemError(
            f"{file} is not a dataset's description: {where}: {first['msg']}.", "Correct it."
        ) from error


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
