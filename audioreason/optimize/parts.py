"""Train, dev and test: which items a search learns from, chooses by, and is measured on once.

Items of one source recording stay together; layers and subcategories are spread evenly. Of a benchmark the
search sees the explore half, and the test is sealed items; of other datasets the test is their test split.
Knows nothing about prompts or scores.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audioreason.errors import OptimizeError
from audioreason.items import Dataset, Item
from audioreason.items.sources import cluster_of
from audioreason.items.splits import split_items
from audioreason.optimize.config import OptimizeConfig

_PAPER = 100  # items each for train and dev, taken from the benchmark itself
_MOST_DEV = {"light": 100, "medium": 300, "heavy": 1000}  # MIPROv2's own validation sizes (dspy 3.4)


@dataclass(frozen=True)
class Parts:
    """Item ids in the dataset's order. `split` names the stored split that the test is taken from."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    split: str | None
    notes: tuple[str, ...] = ()

    @property
    def seen(self) -> frozenset[str]:
        """Items that the search looks at."""
        return frozenset((*self.train, *self.dev))

    def to_json(self) -> dict[str, list[str]]:
        """As `splits.json` holds it."""
        return {"train": list(self.train), "dev": list(self.dev), "test": list(self.test)}


def deal(dataset: Dataset, config: OptimizeConfig) -> Parts:
    """Choose the parts; the same dataset, sizes and seed give the same parts.

    Raises:
        OptimizeError: if there are too few items that have a gold choice and a clip.
    """
    if config.dealing == "paper":
        return _paper(dataset, config)
    benchmark = dataset.info.kind == "benchmark"
    test_split = "sealed" if benchmark else "test"
    pool_splits = ("explore",) if benchmark else ("train", "dev")
    pool = [item for name in pool_splits for item in split_items(dataset, name) if usable(item)]
    pool = _ordered(dataset, pool)
    held_out = [item for item in split_items(dataset, test_split) if usable(item)]
    wanted_dev = _dev_items(config)
    train, dev = _spread(pool, [config.train_items, wanted_dev], config.seed)
    (test,) = _spread(held_out, [config.test_items or len(held_out)], config.seed)
    notes = []
    if benchmark:
        notes.append("A benchmark: the search sees its explore half, the final figure is on sealed items.")
    if wanted_dev < config.dev_items:
        notes.append(f"MIPROv2 with {config.level} effort looks at {wanted_dev} dev items at most.")
    for name, found, wanted in (
        ("train", train, config.train_items),
        ("dev", dev, wanted_dev),
        ("test", test, config.test_items or len(held_out)),
    ):
        if len(found) < wanted:
            notes.append(f"There are {len(found)} items for {name}, not {wanted}.")
    return _checked(dataset, Parts(_ids(train), _ids(dev), _ids(test), test_split, tuple(notes)))


def usable(item: Item) -> bool:
    """Whether an item can be judged: one of its choices is the right one, and it has a clip."""
    return item.gold is not None and item.audio_path is not None


def _paper(dataset: Dataset, config: OptimizeConfig) -> Parts:
    items = [item for item in dataset.items if usable(item)]
    train, dev = _spread(items, [_PAPER, _PAPER], config.seed)
    note = (
        "The paper's split: train and dev are taken from the benchmark itself, and the final figure is on all"
        " of it. It is not a held-out figure; the difference on unseen items stands beside it."
    )
    return _checked(dataset, Parts(_ids(train), _ids(dev), _ids(items), None, (note,)))


def _checked(dataset: Dataset, parts: Parts) -> Parts:
    for name, found, least in (("train", parts.train, 2), ("dev", parts.dev, 1), ("test", parts.test, 1)):
        if len(found) < least:
            raise OptimizeError(
                f"The dataset {dataset.info.name} leaves {len(found)} items for {name}.",
                "Take a larger dataset, or fewer items for the other parts.",
            )
    return parts


def _dev_items(config: OptimizeConfig) -> int:
    if config.optimizer != "mipro" or config.level == "own":
        return config.dev_items
    return min(config.dev_items, _MOST_DEV[config.level])


def _ordered(dataset: Dataset, items: Iterable[Item]) -> list[Item]:
    place = {item.id: number for number, item in enumerate(dataset.items)}
    return sorted(items, key=lambda item: place[item.id])


def _ids(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.id for item in items)


def _spread(items: Sequence[Item], sizes: Sequence[int], seed: int) -> list[list[Item]]:
    """Parts of at most these sizes: whole clusters, each to the part that lacks its groups most.

    Clusters are dealt largest first, then in an order shuffled by a hash of the seed. A part's lack of a
    group (a layer, a subcategory) is its share of the group so far owed, less what it has of it. What no
    part has room for is left out.
    """
    total = max(1, len(items))
    shares = [min(1.0, size / total) for size in sizes]
    clusters: dict[str, list[Item]] = {}
    for item in items:
        clusters.setdefault(cluster_of(item), []).append(item)
    seen: Counter[tuple[str, str | None]] = Counter()
    has: list[Counter[tuple[str, str | None]]] = [Counter() for _ in sizes]
    parts: list[set[str]] = [set() for _ in sizes]
    left_over = max(0.0, 1.0 - sum(shares))
    out: Counter[tuple[str, str | None]] = Counter()

    def owed(
        share: float, have: Counter[tuple[str, str | None]], groups: list[tuple[str, str | None]]
    ) -> float:
        return sum(share * (seen[group] + 1) - have[group] for group in groups)

    # one subcategory after the other, so that each is shared out before the next begins
    def place(name: str) -> tuple[int, str, bytes]:
        members = clusters[name]
        first = members[0].subcategory or ""
        return -len(members), first, hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()

    waiting: list[list[Item]] = []
    for name in sorted(clusters, key=place):
        members = clusters[name]
        groups = [group for item in members for group in _groups(item)]
        room = [number for number, size in enumerate(sizes) if len(parts[number]) + len(members) <= size]
        best = max(room, key=lambda number: owed(shares[number], has[number], groups), default=None)
        if best is not None and owed(shares[best], has[best], groups) >= owed(left_over, out, groups):
            parts[best].update(item.id for item in members)
            has[best].update(groups)
        else:
            waiting.append(members)
            out.update(groups)
        seen.update(groups)
    for members in waiting:  # fill what rounding left open
        room = [number for number, size in enumerate(sizes) if len(parts[number]) + len(members) <= size]
        if room:
            parts[min(room, key=lambda number: len(parts[number]) / sizes[number])].update(_ids(members))
    return [[item for item in items if item.id in part] for part in parts]


def _groups(item: Item) -> tuple[tuple[str, str | None], ...]:
    return (("all", None), ("layer", item.layer), ("subcategory", item.subcategory))
