"""Handles that live as long as the lab's process: workspace, datasets, clips, catalog, generation hub.

Pages and routes ask here instead of opening things themselves. Knows nothing about how a page looks.
"""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import streamlit as st

from audioreason.errors import ItemError, LabError
from audioreason.inference.hub import GenerationHub, get_hub
from audioreason.items import Dataset, Item, load_dataset, prepare_clip
from audioreason.items.picture import Picture, picture
from audioreason.prompts import Prompt, list_prompts
from audioreason.runs import Catalog
from audioreason.workspace import FULL, Workspace, disk_error, shipped


@functools.cache
def workspace() -> Workspace:
    """The workspace this lab was started on."""
    return Workspace.open()


@functools.cache
def catalog() -> Catalog:
    """The catalog of all runs; what nobody has scored yet is scored a little at each query."""
    return Catalog(workspace(), scoring_budget=0.1)


def runs() -> pd.DataFrame:
    """The leaderboard as `Catalog.runs` gives it, at most a second old: one page asks several times."""
    return _runs(int(time.monotonic()))


def runs_with(wanted: Iterable[str]) -> pd.DataFrame:
    """`runs`, read anew where it lacks one of `wanted`: a link may lead to a run of this very second."""
    table = runs()
    if set(wanted) <= set(table["run_id"]):
        return table
    runs_changed()
    return runs()


def runs_changed() -> None:
    """Have `runs` read anew: somebody here has changed them."""
    _runs.cache_clear()


@functools.lru_cache(maxsize=1)
def _runs(second: int) -> pd.DataFrame:
    return catalog().runs()


def prompts() -> dict[str, Prompt]:
    """Every readable prompt by name, read again when a file has changed."""
    folders = (workspace().prompts, shipped("prompts"))
    stamps = []
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                stamps += [(entry.path, entry.stat().st_mtime_ns) for entry in entries]
    return _prompts(tuple(sorted(stamps)))


@functools.lru_cache(maxsize=1)
def _prompts(stamps: tuple[tuple[str, int], ...]) -> dict[str, Prompt]:
    return {prompt.name: prompt for prompt in list_prompts([workspace().prompts])}


def hub() -> GenerationHub:
    """The process's hub, which generations belong to."""
    return get_hub()


def dataset(name: str) -> Dataset:
    """A dataset by name, read again only when its files change.

    Raises:
        ItemError: if there is no such dataset or it is broken.
    """
    stamps = []
    for folder in (workspace().datasets / name, shipped(name)):
        for file in ("items.jsonl", "dataset.json"):
            path = folder / file
            stamps.append(path.stat().st_mtime_ns if path.is_file() else 0)
    return _dataset(name, tuple(stamps))


@functools.lru_cache(maxsize=16)
def _dataset(name: str, stamps: tuple[int, ...]) -> Dataset:
    return load_dataset(workspace(), name)


def free_form(name: str) -> Dataset:
    """The free-form questions of a dataset, as items without choices; read again when their file changes.

    Raises:
        ItemError: if there are none.
    """
    file = workspace().datasets / name / "free.jsonl"
    return _free_form(name, file.stat().st_mtime_ns if file.is_file() else 0)


@functools.lru_cache(maxsize=4)
def _free_form(name: str, stamp: int) -> Dataset:
    from audioreason.acquire.free import free_dataset

    return free_dataset(workspace(), name)


def with_clip(name: str, item_id: str) -> tuple[Dataset, Item]:
    """An item of a dataset, or a free-form question of one.

    Raises:
        ItemError: if there is no such dataset or item.
    """
    problem = None
    for read in (dataset, free_form):
        try:
            data = read(name)
            return data, data[item_id]
        except ItemError as error:
            problem = problem or error
    raise problem or ItemError(f"There is no dataset {name}.", "")


@dataclass(frozen=True)
class ClipView:
    """Everything a player needs to know about one item's clip; `problem` says why it cannot be heard."""

    id: str
    url: str | None = None
    model_url: str | None = None
    spectrogram_url: str | None = None
    seconds: float = 0.0
    peak: float = 0.0
    peaks: bytes = b""
    problem: str = ""


def clip_view(data: Dataset, item: Item) -> ClipView:
    """The clip of an item as the browser may ask for it, by dataset and item id.

    A missing or broken clip gives a view with a `problem` in one sentence, never an exception.
    """
    name = f"{data.info.name}/{item.id}"
    try:
        source = data.clip(item)
        if source is None:
            sentence = (
                "This item has no clip." if item.audio_path is None else "The clip of this item is missing."
            )
            return ClipView(name, problem=sentence)
        clip = prepared(source)
        shape = _picture(clip)
    except ItemError as error:
        return ClipView(name, problem=str(error))
    path = f"{quote(data.info.name, safe='')}/{quote(item.id, safe='')}"
    version = clip.stem[:16]
    return ClipView(
        name,
        f"/api/audio/{path}?v={version}",
        f"/api/audio/{path}?v={version}&form=model",
        f"/api/spectrogram/{path}.png?v={version}",
        shape.seconds,
        shape.peak,
        shape.peaks,
    )


def prepared(source: Path) -> Path:
    """The 16 kHz mono form of a clip that models are sent; made once.

    Raises:
        ItemError: if the clip cannot be decoded.
    """
    stamp = source.stat().st_mtime_ns
    path = _prepared(source, stamp)
    if not path.is_file():  # the cache may be emptied at any time
        _prepared.cache_clear()
        path = _prepared(source, stamp)
    return path


@functools.lru_cache(maxsize=4096)
def _prepared(source: Path, stamp: int) -> Path:
    return prepare_clip(source, workspace().cache)


@functools.lru_cache(maxsize=1024)
def _picture(prepared: Path) -> Picture:
    return picture(prepared, workspace().cache)


def show_script_error(error: Exception) -> bool:
    """Show a LabError as its sentence and hint; everything else keeps Streamlit's own display."""
    if isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS):
        error = disk_error(Path(error.filename or workspace().root), error)
    if not isinstance(error, LabError):
        return False
    st.error(f"{plain(error.message)}\n\n{plain(error.hint)}".strip(), icon=":material/error:")
    return True


_UNSHOWN = dict.fromkeys((0, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "�")


def plain(text: str) -> str:
    """Text that Markdown shows as it is: every character that means something to it is escaped.

    Characters that turn the direction of all that follows are shown as �: the sentence around a text stays.
    """
    special = "\\`*_{}[]()#+-.!|<>~$:^&="
    return "".join(f"\\{c}" if c in special else c for c in text.translate(_UNSHOWN))
