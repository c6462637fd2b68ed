"""Free-form questions of a dataset folder, to be looked at: items without choices, which nobody is scored on.

Knows nothing about where they came from; choices for them are made in `choices.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from audioreason.acquire.mapping import FREE
from audioreason.errors import ItemError
from audioreason.items import Dataset, DatasetInfo, Item
from audioreason.items.dataset import check_name, items_hash
from audioreason.workspace import Workspace


def free_dataset(workspace: Workspace, name: str) -> Dataset:
    """The free-form questions of a dataset of the workspace, without choices; other lines are left out.

    Raises:
        ItemError: if there are none.
    """
    root = workspace.datasets / check_name(name)
    items = _items(root / FREE)
    if not items:
        raise ItemError(f"{name} has no free-form questions ({FREE}).", "Download it again.")
    info = DatasetInfo(name=name, kind="training", hash=items_hash(items), item_count=len(items))
    return Dataset(root, info, items, workspace.cache)


def _items(file: Path) -> tuple[Item, ...]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:  # none, or gone since it was listed
        return ()
    found: dict[str, Item] = {}
    for line in lines:
        item = _item(line)
        if item is not None:
            found.setdefault(item.id, item)
    return tuple(found.values())


def _item(line: bytes) -> Item | None:
    try:
        row: Any = orjson.loads(line)
        item = Item.model_validate({**row, "choices": ()})
    except (orjson.JSONDecodeError, ValidationError, TypeError):
        return None
    return item if item.question and item.answer and item.id else None
