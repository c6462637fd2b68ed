"""Items asked otherwise than published: their choices in another order, or with another item's clip.

What is asked of a run's items is fixed by the item and a number, so that a run can be repeated. Knows nothing
about prompts or answers; silence and noise are in `controls`.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Sequence
from typing import Literal, get_args

from audioreason.errors import ItemError
from audioreason.items.schema import Item
from audioreason.items.sources import cluster_of

# a choice that names others by their letters, by numbers, or by where they stand
_LETTER = r"\(?[A-Z]\)?"
_JOINED = r"\s*(?:,|&|\+|/|\band\b|\bor\b|\bnor\b|、|和|与|與|或|及|と|und|oder|et|ou|y)\s*"
_NAMES_LETTERS = re.compile(
    rf"(?:(?:both|either|neither|only|all of|any of|none of|not)\s+)?"
    rf"(?:(?:choice|option|answer)s?\s+)?(?P<names>{_LETTER}(?:(?:{_JOINED})+(?:(?:choice|option|answer)\s+)?{_LETTER})+)"
    rf"(?:\s+(?:only|are|is|were|both|correct|true|right|apply|together)\b.*|都.*|均.*|皆.*)?[.。]?"
    r"|(?:only|just|same as|not)\s+(?:(?:choice|option|answer)\s+)?(?P<one>\(?[A-Z]\)?)[.。]?"
    r"|(?:both|either|neither|options?|choices?|answers?)\s+\(?\d\)?(?:(?:,|\s|and|or|nor|&)+\(?\d\)?)+.*"
    r"|(?:the\s+)?(?:first|last|previous|preceding|other)\s+(?:two|three|(?:two\s+|three\s+)?(?:choices?|options?))"
    r"|both\s+(?:of\s+)?(?:the\s+)?(?:above|below|previous|preceding)\b.*",
    re.DOTALL,
)
_NAMES_PLACE = re.compile(
    r"(?:all|none|neither|any|either|some|two|more than one)\s+"
    r"(?:(?:of|from|the|these|those|them|others?|given|listed|choices?|options?|answers?)\s*)*(?:above|below|mentioned|listed|these|those|them|others?|"
    r"choices?|options?|answers?)\b.*|.*\b(?:of the above|listed above|mentioned above)\b.*|以上.*|上述.*",
    re.DOTALL | re.IGNORECASE,
)

Ablation = Literal["silence", "noise", "swap", "text"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
_HEARD = "swapped_audio_path"  # an item's extra field: whose clip is heard instead of its own
_HEARD_ONCE = "heard"  # the same in runs of earlier versions; tables may have a column of that name


def reordered(item: Item, order: int) -> Item:
    """The item with its choices in another order; 0 is the published one.

    The first orders move every choice by one place each, so that over as many orders as there are choices
    each stands in each place once. Later ones are shuffles fixed by the item's id; no order repeats before
    all have been used. Choices that refer to others stay where they are (see `kept_places`), and the rest
    move among the places that are left.
    """
    kept = kept_places(item)
    free = [place for place in range(len(item.choices)) if place not in kept]
    places = list(range(len(item.choices)))
    for place, source in zip(free, _order(item.id, len(free), order), strict=True):
        places[place] = free[source]
    return item.model_copy(update={"choices": tuple(item.choices[place] for place in places)})


def kept_places(item: Item) -> frozenset[int]:
    """Places of the choices that no order moves.

    "None of the above" stays where it is. "Both A and B" names other choices by their letters, so all of its
    item's choices stay.
    """
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(item.choices)]
    fixed = set()
    for place, choice in enumerate(choice.strip() for choice in item.choices):
        match = _NAMES_LETTERS.fullmatch(choice[:1].lower() + choice[1:] if choice[1:2].islower() else choice)
        if match is not None:
            names = re.findall("[A-Z]", match.group("names") or match.group("one") or "")
            if all(name in letters for name in names):
                return frozenset(range(len(item.choices)))
        if _NAMES_PLACE.fullmatch(choice):
            fixed.add(place)
    return frozenset(fixed)


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
    """An item as `swapped` gave it, with the clip that is heard as its own."""
    extra = item.model_extra or {}
    path = extra.get(_HEARD, extra.get(_HEARD_ONCE))
    return item if path is None else item.model_copy(update={"audio_path": str(path)})
