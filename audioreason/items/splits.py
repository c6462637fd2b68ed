"""Splits: which half or part of a dataset an item belongs to, decided once and stored in `splits.json`.

Benchmarks have `explore` and `sealed`, half each; other datasets `train`, `dev` and `test` (70, 10, 20%).
Items of one source recording stay together; layers, subcategories and modalities are spread evenly.
Knows nothing about who looks at which part.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from audioreason.errors import ItemError
from audioreason.items.dataset import Dataset
from audioreason.items.schema import Item, Kind
from audioreason.items.sources import cluster_of
from audioreason.workspace import shipped, write_atomic

FULL = "full"
_BENCHMARK = {"explore": 0.5, "sealed": 0.5}
_OTHER = {"train": 0.7, "dev": 0.1, "test": 0.2}


def split_names(kind: Kind) -> tuple[str, ...]:
    """The names of the splits of a dataset of this kind."""
    return tuple(_shares(kind))


def load_splits(dataset: Dataset) -> dict[str, list[str]]:
    """Item ids by split, each in the dataset's order; made and stored on first use.

    What is stored never moves: items that have come since are added, those that have gone are left out. A
    dataset that came with the lab, or whose folder cannot be written, gets the same split each time anew.

    Raises:
        ItemError: if `splits.json` cannot be understood.
        WorkspaceError: if the disk is full.
    """
    file, names = dataset.root / "splits.json", split_names(dataset.info.kind)
    stored = _read(file, names)
    chosen = _assign(dataset, stored)
    fixed = dataset.root.is_relative_to(shipped()) or not os.access(dataset.root, os.W_OK)
    if chosen.keys() - stored.keys() and not fixed:
        # items that have gone stay in the file: one that comes back finds its place
        write_atomic(file, orjson.dumps(_by_name(names, chosen | stored), option=orjson.OPT_INDENT_2) + b"\n")
    return _by_name(names, chosen)


def split_of(dataset: Dataset) -> dict[str, str]:
    """The split's name by item id."""
    return {item_id: name for name, ids in load_splits(dataset).items() for item_id in ids}


def split_items(dataset: Dataset, split: str | None) -> tuple[Item, ...]:
    """The items of a split in the dataset's order; None or "full" gives all.

    Raises:
        ItemError: if the dataset has no such split.
    """
    if split is None or split == FULL:
        return dataset.items
    splits = load_splits(dataset)
    if split not in splits:
        raise ItemError(
            f"The dataset {dataset.info.name} has no split {split!r}.",
            f"Choose one of {', '.join(splits)} or {FULL}.",
        )
    wanted = set(splits[split])
    return tuple(item for item in dataset.items if item.id in wanted)


def _shares(kind: Kind) -> Mapping[str, float]:
    return _BENCHMARK if kind == "benchmark" else _OTHER


def _by_name(names: Iterable[str], chosen: Mapping[str, str]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {name: [] for name in names}
    for item_id, name in chosen.items():
        splits[name].append(item_id)
    return splits


def _read(file: Path, names: Iterable[str]) -> dict[str, str]:
    """The stored split's name by item id; empty if there is none, or one for another kind of dataset."""
    if not file.is_file():
        return {}
    try:
        splits = orjson.loads(file.read_bytes())
        stored = {str(item_id): str(name) for name, ids in splits.items() for item_id in ids}
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise ItemError(
            f"{file} cannot be understood ({error}).",
            "Restore it from a copy; without it the items would be dealt anew.",
        ) from error
    return stored if set(splits) == set(names) else {}


def _assign(dataset: Dataset, stored: Mapping[str, str]) -> dict[str, str]:
    """The split's name by item id: what is stored, then each cluster to where it is lacked most.

    Clusters are dealt one by one, largest first, in an order shuffled by a hash. Every group of items (all,
    each layer, subcategory and modality) owes each split its share of what has been dealt so far, and a
    cluster goes to the split that is owed most over the groups of its items. So every group, and the whole,
    is shared out as nearly as whole clusters allow.
    """
    shares = _shares(dataset.info.kind)
    chosen = {item.id: stored[item.id] for item in dataset.items if item.id in stored}
    if len(chosen) == len(dataset.items):
        return chosen
    clusters: dict[str, list[Item]] = {}
    owed: dict[tuple[str, str | None], dict[str, float]] = {}
    for item in dataset.items:
        clusters.setdefault(cluster_of(item), []).append(item)
        for group in _groups(item):
            owed.setdefault(group, dict.fromkeys(shares, 0.0))
            if item.id in chosen:
                _deal(owed[group], shares, chosen[item.id])
    # the ids alone are the seed, not the name: a copy under another name gets the same halves
    seed = hashlib.sha256("\n".join(sorted(item.id for item in dataset.items)).encode()).digest()
    for cluster in sorted(clusters, key=lambda cluster: _place(seed, cluster, clusters[cluster])):
        members = clusters[cluster]
        new = [item for item in members if item.id not in chosen]
        settled = Counter(chosen[item.id] for item in members if item.id in chosen)
        if settled:  # a cluster with a place keeps it: one recording never stands on both sides
            name = settled.most_common(1)[0][0]
        else:
            debts = [owed[group] for item in new for group in _groups(item)]
            name = max(shares, key=lambda name: sum(debt[name] + shares[name] for debt in debts))
        for item in new:
            chosen[item.id] = name
            for group in _groups(item):
                _deal(owed[group], shares, name)
    return {item.id: chosen[item.id] for item in dataset.items}


def _deal(owed: dict[str, float], shares: Mapping[str, float], name: str) -> None:
    """One more item of a group is dealt, to the split `name`."""
    for other, share in shares.items():
        owed[other] += share - (other == name)


def _groups(item: Item) -> tuple[tuple[str, str | None], ...]:
    """The groups whose shares an item counts towards."""
    return (
        ("all", None),
        ("layer", item.layer),
        ("subcategory", item.subcategory),
        ("modality", item.modality),
    )


def _place(seed: bytes, cluster: str, members: list[Item]) -> tuple[int, str, bytes]:
    """When a cluster is dealt: large ones first, then by subcategory, shuffled by a hash of its name."""
    subcategories = Counter(item.subcategory or "" for item in members)
    commonest = min(subcategories, key=lambda name: (-subcategories[name], name))
    return -len(members), commonest, hashlib.sha256(seed + cluster.encode()).digest()
