"""The researcher's own questions: a recording or an upload with choices, kept as the dataset `own`.

Never sent anywhere by itself, and deleted with everything that the cache made from it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from audioreason.errors import ItemError, WorkspaceError
from audioreason.items.clips import clip_info, prepare_clip
from audioreason.items.dataset import read_dataset, save_dataset
from audioreason.items.schema import DatasetInfo, Item
from audioreason.workspace import FileLock, Workspace, write_atomic

OWN = "own"
_LOCK_SECONDS = 5.0


def add_own_item(
    workspace: Workspace,
    sound: bytes,
    file_name: str,
    question: str,
    choices: Sequence[str],
    answer: str | None = None,
) -> Item:
    """Keep a clip with its question in the dataset `own`, made with the first one.

    Args:
        workspace: where it is kept.
        sound: the file's bytes, in any form that the lab decodes.
        file_name: what the file was called; only its ending is used.
        question: what is asked.
        choices: at least two different ones.
        answer: the gold choice's text; None if it is not known.

    Raises:
        ItemError: if the question is empty, the choices do not fit, or the sound cannot be decoded.
        WorkspaceError: if the disk is full.
    """
    texts = tuple(choice.strip() for choice in choices if choice.strip())
    if not question.strip():
        raise ItemError("The question is empty.", "Write what is to be asked about the clip.")
    if len(texts) < 2 or len(set(texts)) < len(texts):
        raise ItemError("A question needs at least two choices, all different.", "Write one choice a line.")
    if answer is not None and answer not in texts:
        raise ItemError("The right answer is not among the choices.", "Choose one of them.")
    root = workspace.datasets / OWN
    item_id = f"{OWN}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    suffix = Path(file_name).suffix.lower()
    clip = f"audio/{item_id}{suffix if re.fullmatch(r'[.][a-z0-9]{1,5}', suffix) else '.wav'}"
    write_atomic(root / clip, sound)
    try:
        clip_info(root / clip)
    except ItemError:
        (root / clip).unlink()
        raise
    item = Item(id=item_id, question=question.strip(), choices=texts, answer=answer or "", audio_path=clip)
    with _locked(workspace):
        save_dataset(root, _info(), [*_items(root), item], workspace.cache)
    return item


def delete_own_item(workspace: Workspace, item_id: str) -> bool:
    """Delete an own item, its clip, and what the cache made from it; False if there is none of that id.

    What models said about it is the business of `runs.delete_generations`.
    """
    root = workspace.datasets / OWN
    with _locked(workspace):
        items = _items(root)
        found = next((item for item in items if item.id == item_id), None)
        if found is None:
            return False
        clip = root / str(found.audio_path)
        if clip.is_file():
            _forget_cached(clip, workspace.cache)
            clip.unlink()
        save_dataset(root, _info(), [item for item in items if item.id != item_id], workspace.cache)
    return True


def _forget_cached(clip: Path, cache: Path) -> None:
    prepared = prepare_clip(clip, cache)
    prepared.unlink(missing_ok=True)
    for picture in (cache / "pictures").glob(f"{prepared.stem}.*"):
        picture.unlink(missing_ok=True)


def _info() -> DatasetInfo:
    return DatasetInfo(
        name=OWN, title="My own questions", kind="own", source="recorded or uploaded in the lab"
    )


def _items(root: Path) -> tuple[Item, ...]:
    return read_dataset(root).items if (root / "dataset.json").is_file() else ()


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    lock = FileLock(workspace.datasets / f".{OWN}.lock")
    give_up = time.monotonic() + _LOCK_SECONDS
    while not lock.acquire():
        if time.monotonic() > give_up:
            raise WorkspaceError("Another process is writing the dataset `own`.", "Try again in a moment.")
        time.sleep(0.01)
    try:
        yield
    finally:
        lock.release()
