"""`items.parquet`: the items of a run as they were when it began; a dataset may change, a result may not.

Knows the columns that queries group and filter by; knows nothing about predictions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pyarrow as pa
from pydantic import ValidationError

from audioreason.errors import RunError
from audioreason.items import Item
from audioreason.items.sources import cluster_of
from audioreason.runs.storage import read_parquet, write_rows

ITEMS = pa.schema(
    [
        ("item_no", pa.int32()),
        ("item_id", pa.string()),
        ("part", pa.string()),  # explore, sealed, train, dev or test; null if the dataset has no splits
        ("cluster", pa.string()),  # source clip
        ("fingerprint", pa.string()),
        ("question", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("gold", pa.int32()),
        ("modality", pa.string()),
        ("layer", pa.string()),
        ("subcategory", pa.string()),
        ("language", pa.string()),
        ("source", pa.string()),
        ("family", pa.string()),
        ("difficulty", pa.int32()),
        ("audio_path", pa.string()),
        ("item", pa.string()),  # the whole item as JSON
    ]
)


def write_items(path: Path, items: Sequence[Item], parts: Mapping[str, str]) -> None:
    """Write the snapshot; `parts` gives each item's part of the dataset's split, by id.

    Raises:
        RunError: if there are no items or two share an id.
        WorkspaceError: if the disk is full.
    """
    if not items:
        raise RunError("A run needs at least one item.", "Check the dataset, the split and the limit.")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise RunError(f"Two items share the id {item.id!r}.", "Give each item its own id.")
        seen.add(item.id)
    write_rows(
        path,
        ITEMS,
        (
            {
                "item_no": number,
                "item_id": item.id,
                "part": parts.get(item.id),
                "cluster": cluster_of(item),
                "fingerprint": fingerprint(item),
                "question": item.question,
                "choices": list(item.choices),
                "answer": item.answer,
                "gold": item.gold,
                "modality": item.modality,
                "layer": item.layer,
                "subcategory": item.subcategory,
                "language": item.language,
                "source": item.source,
                "family": item.family,
                "difficulty": item.difficulty,
                "audio_path": item.audio_path,
                "item": orjson.dumps(item.to_json()).decode(),
            }
            for number, item in enumerate(items)
        ),
    )


def read_items(folder: Path) -> tuple[Item, ...]:
    """The items of a run, in order.

    Raises:
        RunError: if the snapshot is missing or not whole.
    """
    path = folder / "items.parquet"
    try:
        return tuple(Item.model_validate_json(row["item"]) for row in read_parquet(path, ("item",)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RunError(
            f"{path} holds something that is not an item: {first['msg']}.",
            "Restore the file from a copy, or delete the run's folder.",
        ) from error


def fingerprint(item: Item) -> str:
    """12 hex digits over the question, its choices in any order, and the gold answer.

    Two runs compare an item only if it asked the same thing in both.
    """
    content = orjson.dumps([item.question, sorted(item.choices), item.answer])
    return hashlib.sha256(content).hexdigest()[:12]
