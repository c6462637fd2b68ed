"""Soundcheck on disk: training sets on demand, the fixed evaluation set, and a page to hear every family.

A dataset appears under its name whole or not at all. Knows nothing about how a clip is made.
"""

from __future__ import annotations

import html
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from audioreason.errors import ItemError
from audioreason.items.dataset import read_dataset, save_dataset
from audioreason.items.schema import DatasetInfo, Item, Kind
from audioreason.progress import Progress, Quiet
from audioreason.soundcheck.registry import SUBCATEGORIES, families, make_item, sample_items
from audioreason.soundcheck.synth import SR, Samples

PER_SUBCATEGORY = 20
_REDRAWN = 10**12  # apart: a seed that takes another's place
_DRAWS = 50
Accept = Callable[[Item, Path], bool]  # whether an item with its clip's file may be kept
LICENCE = "CC0-1.0; made by audioreason, speech by eSpeak NG"


def generate_dataset(
    folder: Path,
    n: int,
    families: Sequence[str] | None = None,
    difficulty: int | None = None,
    seed: int = 0,
    kind: Kind = "training",
    namespace: str = "train",
    progress: Progress | None = None,
    accept: Accept | None = None,
) -> Path:
    """Write a dataset of `n` generated items to a new folder: dataset.json, items.jsonl, audio/*.flac.

    Held-out families come only when named. A stop leaves nothing behind. An item that `accept` refuses, as
    one that sounds like a benchmark's, is drawn again with another seed.

    Raises:
        ItemError: if the folder exists, a family or a number is impossible, or it was stopped.
    """
    if n < 1:
        raise ItemError(f"A dataset of {n} items cannot be generated.", "Ask for one item or more.")
    if namespace == "evaluation":
        raise ItemError(
            "Evaluation clips are not generated: they ship with the lab.", "Use the dataset soundcheck."
        )
    info = DatasetInfo(
        name=folder.name,
        title=f"Soundcheck, {n} items, seed {seed}",
        kind=kind,
        cue_kind="events",
        licence=LICENCE,
        source=f"audioreason.soundcheck {namespace}/{seed}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    items = sample_items(n, families, difficulty, seed, namespace)
    return _write(folder, info, items, n, "flac", progress or Quiet(), accept, namespace)


def generate_cells(
    folder: Path,
    cells: Sequence[tuple[str, int, int]],
    seed: int = 0,
    progress: Progress | None = None,
    accept: Accept | None = None,
) -> Path:
    """Write a training dataset of so many items of each kind, as `generate_dataset` does.

    `cells` are (family, difficulty, items), each family and difficulty once.

    The same cells and seed give the same items. Families come in turn, so that the first items are of many.

    Raises:
        ItemError: if the folder exists, there is nothing to make, a family or a number is impossible, or it
            was stopped.
    """
    total = sum(count for *_, count in cells)
    if total < 1 or min(count for *_, count in cells) < 0:
        raise ItemError(f"A dataset of {total} items cannot be generated.", "Ask for one item or more.")
    for name, *_ in cells:
        if (known := families().get(name)) is not None and known.held_out:
            raise ItemError(f"The family {name} is held out, so it is never trained on.")
    info = DatasetInfo(
        name=folder.name,
        title=f"Soundcheck, {total} items of {len(cells)} cells, seed {seed}",
        kind="training",
        cue_kind="events",
        licence=LICENCE,
        source=f"audioreason.soundcheck train/{seed}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    turns = sorted(
        ((turn + 0.5) / count, name, level, turn) for name, level, count in cells for turn in range(count)
    )
    items = (make_item(name, level, seed * 1_000_003 + turn) for _, name, level, turn in turns)
    return _write(folder, info, items, total, "flac", progress or Quiet(), accept)


def keep_items(source: Path, folder: Path, ids: Sequence[str]) -> Path:
    """Write a dataset of some items of another one to a new folder; clips are linked where they can be.

    Raises:
        ItemError: if the folder exists, or the source has no such item.
    """
    found = read_dataset(source)
    if folder.exists():
        raise ItemError(f"{folder} exists already.", "Choose another name, or remove it first.")
    half = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    (half / "audio").mkdir(parents=True)
    try:
        items = [found[item_id] for item_id in ids]
        for item in items:
            if item.audio_path is not None:
                try:
                    os.link(source / item.audio_path, half / item.audio_path)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(source / item.audio_path, half / item.audio_path)
        title = f"{len(items)} items of {found.info.title}"
        save_dataset(half, found.info.model_copy(update={"name": folder.name, "title": title}), items)
        half.rename(folder)
    except KeyError as error:
        shutil.rmtree(half, ignore_errors=True)
        raise ItemError(f"{source.name} has no item {error.args[0]}.") from error
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return folder


def evaluation_items() -> Iterable[tuple[Item, Samples]]:
    """The 320 items of the shipped set: 20 a subcategory, four of each difficulty, families in turn.

    Held-out families and voices are among them. Always the same items and clips.
    """
    for subcategory in SUBCATEGORIES:
        names = [name for name, family in families().items() if family.subcategory == subcategory]
        for index in range(PER_SUBCATEGORY):
            turn = index + (
                index // 5 if len(names) % 5 == 0 else 0
            )  # else five families keep one difficulty each
            yield make_item(names[turn % len(names)], 1 + index % 5, index, "evaluation")


def build_evaluation_set(folder: Path) -> Path:
    """Write the shipped evaluation set to a new folder, clips as Ogg Vorbis to keep the checkout small."""
    info = DatasetInfo(
        name="soundcheck",
        title="Soundcheck: 320 procedural items over MMAR's 16 subcategories",
        kind="benchmark",
        cue_kind="events",
        licence=LICENCE,
        source="audioreason.soundcheck evaluation",
        created="2026-11-23T00:00:00+00:00",
    )
    total = PER_SUBCATEGORY * len(SUBCATEGORIES)
    return _write(folder, info, evaluation_items(), total, "ogg", Quiet())


def write_gallery(dataset: Path, page: Path) -> None:
    """Write an HTML page with one player per family, its clips linked from a dataset beside it."""
    root = read_dataset(dataset)
    first: dict[str, Item] = {}
    for item in root.items:
        first.setdefault(item.family or "", item)
    parts = [_GALLERY_HEAD]
    for name, family in families().items():
        shown = first.get(name)
        if shown is None or shown.audio_path is None:
            continue
        source = Path(os.path.relpath((dataset / shown.audio_path).resolve(), page.parent.resolve()))
        choices = "".join(
            f"<li{' class=gold' if index == shown.gold else ''}>{html.escape(choice)}</li>"
            for index, choice in enumerate(shown.choices)
        )
        held = " · never trained on" if family.held_out else ""
        parts.append(
            f"<article><h2>{html.escape(name.replace('_', ' '))}</h2>"
            f"<p class=where>{html.escape(family.layer)} · {html.escape(family.subcategory)}{held}</p>"
            f"<p>{html.escape(family.about)}</p>"
            f'<audio controls preload=none src="{html.escape(source.as_posix())}"></audio>'
            f"<p><b>{html.escape(shown.question)}</b></p><ol type=A>{choices}</ol></article>"
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([*parts, "</main></html>\n"]), encoding="utf-8")


def _write(
    folder: Path,
    info: DatasetInfo,
    items: Iterable[tuple[Item, Samples]],
    n: int,
    form: str,
    progress: Progress,
    accept: Accept | None = None,
    namespace: str = "train",
) -> Path:

    if folder.exists():
        raise ItemError(f"{folder} exists already.", "Choose another name, or remove it first.")
    half = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    (half / "audio").mkdir(parents=True)
    progress.phase("generate", n)
    kept: list[Item] = []
    try:
        for item, samples in items:
            if progress.should_stop():
                raise ItemError(
                    f"Stopped after {len(kept)} of {n} items; nothing was kept.", "Start it again."
                )
            kept.append(_accepted(half, item, samples, form, accept, namespace))
            progress.done(len(kept))
        save_dataset(half, info, kept)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return folder


def _accepted(
    folder: Path, item: Item, samples: Samples, form: str, accept: Accept | None, namespace: str
) -> Item:
    """Write an item's clip, or one of the same family and difficulty that may be kept."""
    for draw in range(1, _DRAWS + 1):
        item = _save(folder, item, samples, form)
        path = folder / str(item.audio_path)
        if accept is None or accept(item, path):
            return item
        path.unlink()
        seed = (item.seed or 0) + draw * _REDRAWN
        item, samples = make_item(item.family or "", item.difficulty or 1, seed, namespace)
    raise ItemError(
        f"{_DRAWS} draws of {item.family} at difficulty {item.difficulty} sound like items of a benchmark.",
        "Look at the benchmarks of the workspace: one of them may hold silence or very short clips.",
    )


def _save(folder: Path, item: Item, samples: Samples, form: str) -> Item:
    """Write an item's clip; the item with its path."""
    import soundfile

    path = f"audio/{item.id}.{form}"
    level = {"compression_level": 0.35} if form == "ogg" else {}
    soundfile.write(folder / path, samples, SR, **level)
    return item.model_copy(update={"audio_path": path})


_GALLERY_HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>Soundcheck</title>
<style>
:root{color-scheme:light dark}
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1.25rem}
article{border-top:1px solid #8884;padding-top:.5rem}h2{font-size:1rem;margin:.2rem 0}
.where{color:#777;margin:0}audio{width:100%;height:36px}.gold{font-weight:600;color:#0e7c6b}ol{padding-left:1.4rem}
</style><h1>Soundcheck</h1>
<p>One clip of every task family, with its question; the right choice is marked.</p><main>"""
