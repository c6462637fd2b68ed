"""Items asked otherwise than published: their choices in another order, or with another item's clip.

What is asked of a run's items is fixed by the item and a number, so that a run can be repeated. Knows nothing
about prompts or answers; silence and noise are in `controls`.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Literal, get_args

from audioreason.errors import ItemError
from audioreason.items.schema import Item
from audioreason.items.sources import cluster_of

Ablation = Literal["silence", "noise", "swap", "text"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
_HEARD = "heard"  # an item's extra field: whose clip is heard instead of its own


def reordered(item: Item, order: int) -> Item:
    """The item with its choices in another order; 0 is the published one.

    The first orders move every choice by one place each, so that over as many orders as there are choices
    each stands in each place once. Later ones are shuffles fixed by the item's id; no order repeats before
    all have been used.
    """
    places = _order(item.id, len(item.choices), order)
    return item.model_copy(update={"choices": tuple(item.choices[place] for place in places)})


def _order(item_id: str, count: int, order: int) -> tuple[int, ...]:
    known = [tuple((place + shift) % count for place in range(count)) for shift in range(count)]
    wanted = order % math.factorial(count)
    source = random.Random(hashlib.sha256(item_id.encode()).digest())
    while len(known) <= wanted:
        shuffled = tuple(source.sample(range(count), count))
        if shuffled not in known:
            known.append(shuffled)
    return known[wanted]


def swapped(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items, each to be asked with the clip of another one from another recording (`heard`).

    Items without a clip stay as they are. Whose clip it is follows from the ids of these items alone.

    Raises:
        ItemError: if all clips are of one recording.
    """
    with_clip = sorted(
        (item for item in items if item.audio_path is not None),
        key=lambda item: hashlib.sha256(item.id.encode()).digest(),
    )
    clusters = [cluster_of(item) for item in with_clip]
    if with_clip and len(set(clusters)) < 2:
        raise ItemError(
            "Clips cannot be swapped: all of these items come from one recording.",
            "Take more items, or silence instead of swap.",
        )
    heard = {}
    for place, item in enumerate(with_clip):
        other = place + 1
        while clusters[other % len(with_clip)] == clusters[place]:
            other += 1
        heard[item.id] = with_clip[other % len(with_clip)].audio_path
    return tuple(
        item.model_copy(update={_HEARD: heard[item.id]}) if item.id in heard else item for item in items
    )


def heard(item: Item) -> Item:
    """The item with the clip that is heard as its own: another item's after `swapped`."""
    path = (item.model_extra or {}).get(_HEARD)
    return item if path is None else item.model_copy(update={"audio_path": str(path)})
