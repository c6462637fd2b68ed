"""Splits: nobody moves, recordings stay whole, and every group is shared out."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.errors import ItemError
from audioreason.items import (
    Dataset,
    DatasetInfo,
    Item,
    cluster_of,
    load_splits,
    save_dataset,
    split_items,
    split_names,
    split_of,
    splits,
)
from audioreason.items.schema import Kind


def item(number: int, video: int | None = None, subcategory: str = "s") -> Item:
    url = None if video is None else f"https://youtu.be/{video:011d}?t={number}"
    return Item(
        id=f"i{number:04d}",
        question="q",
        choices=("a", "b"),
        answer="a",
        url=url,
        layer="L",
        subcategory=subcategory,
    )


def dataset(root: Path, items: list[Item], kind: Kind = "benchmark", name: str = "d") -> Dataset:
    return save_dataset(root, DatasetInfo(name=name, kind=kind), items)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=1, max_size=120),
    st.sampled_from(["benchmark", "own", "training"]),
)
def test_every_item_is_in_one_split_and_no_recording_in_two(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], kind: Kind
) -> None:
    items = [item(number, video, subcategory) for number, (video, subcategory) in enumerate(rows)]
    data = dataset(tmp_path_factory.mktemp("d"), items, kind)
    parts = load_splits(data)
    assert tuple(parts) == split_names(kind)
    assert sorted(item_id for ids in parts.values() for item_id in ids) == [item.id for item in items]
    homes: dict[str, set[str]] = {}
    where = split_of(data)
    for one in items:
        homes.setdefault(cluster_of(one), set()).add(where[one.id])
    assert all(len(names) == 1 for names in homes.values())


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    items = [item(number, number // 2, "abc"[number % 3]) for number in range(60)]
    shuffled = random.Random(0).sample(items, len(items))
    first, second = split_of(dataset(tmp_path / "a", items)), split_of(dataset(tmp_path / "b", shuffled))
    assert first == second


def test_a_copy_under_another_name_has_the_same_halves(tmp_path: Path) -> None:
    items = [item(number) for number in range(40)]
    assert split_of(dataset(tmp_path / "a", items)) == split_of(dataset(tmp_path / "b", items, name="other"))


def test_what_is_stored_never_moves_when_items_come_and_go(tmp_path: Path) -> None:
    grown = [item(number, number * 7 % 30) for number in range(90)]
    before = split_of(dataset(tmp_path, grown[:40]))
    assert split_of(dataset(tmp_path, grown[:40:3])).items() <= before.items()
    after = split_of(dataset(tmp_path, grown))
    assert before.items() <= after.items()  # those that had gone came back to their place
    homes = {cluster_of(one): after[one.id] for one in grown[:40]}
    assert all(after[one.id] == homes[cluster_of(one)] for one in grown if cluster_of(one) in homes)
    assert abs(list(after.values()).count("explore") - 45) <= 3


def test_a_stored_split_is_obeyed(tmp_path: Path) -> None:
    data = dataset(tmp_path, [item(0), item(1), item(2)])
    (tmp_path / "splits.json").write_bytes(
        orjson.dumps({"explore": ["i0000", "i0001", "i0002"], "sealed": []})
    )
    assert load_splits(data) == {"explore": ["i0000", "i0001", "i0002"], "sealed": []}


def test_the_split_is_stored_on_first_use(tmp_path: Path) -> None:
    data = dataset(tmp_path, [item(number) for number in range(10)])
    made = load_splits(data)
    assert orjson.loads((tmp_path / "splits.json").read_bytes()) == made
    written = (tmp_path / "splits.json").stat().st_mtime_ns
    assert load_splits(data) == made
    assert (tmp_path / "splits.json").stat().st_mtime_ns == written


def test_a_shipped_dataset_is_split_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "shipped", lambda *parts: tmp_path.joinpath(*parts))
    data = dataset(tmp_path / "soundcheck", [item(number) for number in range(10)])
    assert load_splits(data) == load_splits(data)
    assert not (data.root / "splits.json").exists()


def test_a_dataset_that_becomes_a_benchmark_is_dealt_anew(tmp_path: Path) -> None:
    items = [item(number) for number in range(10)]
    assert set(load_splits(dataset(tmp_path, items, "own"))) == {"train", "dev", "test"}
    assert {name: len(ids) for name, ids in load_splits(dataset(tmp_path, items)).items()} == {
        "explore": 5,
        "sealed": 5,
    }


def test_a_broken_split_file_is_not_dealt_over(tmp_path: Path) -> None:
    data = dataset(tmp_path, [item(0)])
    for text in ("{", "[1]", '{"explore": 3}'):
        (tmp_path / "splits.json").write_text(text)
        with pytest.raises(ItemError, match="cannot be understood"):
            load_splits(data)


def test_items_of_a_split_keep_the_datasets_order(tmp_path: Path) -> None:
    items = [item(number) for number in random.Random(1).sample(range(40), 40)]
    data = dataset(tmp_path, items)
    explore = split_items(data, "explore")
    assert list(explore) == [one for one in items if one in explore]
    assert split_items(data, None) == split_items(data, "full") == data.items
    with pytest.raises(ItemError, match=r"no split 'train'.*explore, sealed or full"):
        split_items(data, "train")


def test_mmar_halves_are_alike_in_every_group(mmar_meta: Path, tmp_path: Path) -> None:
    items = [Item.model_validate_json(line) for line in mmar_meta.read_bytes().splitlines()]
    data = dataset(tmp_path, items, name="mmar")
    assert {name: len(ids) for name, ids in load_splits(data).items()} == {"explore": 500, "sealed": 500}
    where = split_of(data)
    for group in ("layer", "subcategory", "modality"):
        counts = Counter((getattr(one, group), where[one.id]) for one in items)
        for value in {getattr(one, group) for one in items}:
            assert abs(counts[value, "explore"] - counts[value, "sealed"]) <= 3, value


def test_other_datasets_are_shared_seventy_ten_twenty(mmar_meta: Path, tmp_path: Path) -> None:
    items = [Item.model_validate_json(line) for line in mmar_meta.read_bytes().splitlines()]
    where = split_of(dataset(tmp_path, items, "own"))
    for share, name in ((0.7, "train"), (0.1, "dev"), (0.2, "test")):
        assert list(where.values()).count(name) == pytest.approx(1000 * share, abs=2)
        for subcategory in {one.subcategory for one in items}:
            group = [one for one in items if one.subcategory == subcategory]
            assert sum(where[one.id] == name for one in group) == pytest.approx(share * len(group), abs=3)
