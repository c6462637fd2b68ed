"""Datasets on disk: what is read is what is there, and nothing outside the folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.errors import ItemError
from audioreason.items import (
    DatasetInfo,
    Item,
    dataset_hash,
    items_hash,
    list_datasets,
    load_dataset,
    read_dataset,
    save_dataset,
)
from audioreason.items.dataset import clip_path
from audioreason.items.hashes import clip_hashes
from audioreason.items.memory import Memory, memory
from audioreason.workspace import Workspace

text = st.text(max_size=20)
any_item = st.builds(
    Item,
    id=st.text(min_size=1, max_size=12),
    question=text,
    choices=st.lists(text, max_size=5).map(tuple),
    answer=text,
    language=st.none() | text,
    difficulty=st.none() | st.integers(0, 9),
    cue=st.lists(text, max_size=3).map(tuple),
)
any_items = st.lists(any_item, max_size=8, unique_by=lambda item: item.id)


def test_a_saved_dataset_is_read_back_whole(workspace: Workspace, tiny_dataset) -> None:
    saved = tiny_dataset("tiny", n=6)
    loaded = load_dataset(workspace, "tiny")
    assert loaded.items == saved.items
    assert loaded.info == saved.info
    assert (loaded.info.item_count, loaded.info.clip_count) == (6, 6)
    item = loaded["tiny-003"]
    clip = loaded.clip(item)
    assert clip is not None
    assert clip.is_file()
    assert len(loaded.clip_hash(item) or "") == 64


@settings(max_examples=60, deadline=None)
@given(any_items)
def test_any_items_survive_the_disk(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> None:
    root = tmp_path_factory.mktemp("set")
    save_dataset(root, DatasetInfo(name="set"), items)
    assert list(read_dataset(root).items) == items


@settings(max_examples=60, deadline=None)
@given(any_items, st.randoms())
def test_hash_is_the_same_in_any_order(items: list[Item], random) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    clips = {item.id: "ab" * 32 for item in items}
    assert dataset_hash(items, clips) == dataset_hash(shuffled, dict(reversed(clips.items())))


def test_hash_is_fixed_across_machines_and_versions() -> None:
    item = Item(id="a", question="What?", choices=("x", "y"), answer="x", url="http://e", note="kept")
    assert items_hash([item]) == "55a456f75461"
    assert dataset_hash([item], {"a": "00" * 32}) == "e4345104499b"


def test_hash_sees_items_and_clips_changed_by_hand(workspace: Workspace, tiny_dataset) -> None:
    before = tiny_dataset("tiny")
    clip = before.clip(before.items[0])
    assert clip is not None
    clip.write_bytes(clip.read_bytes()[:-2])
    with_other_clip = load_dataset(workspace, "tiny")
    assert with_other_clip.info.hash != before.info.hash
    assert with_other_clip.info.items_hash == before.info.items_hash
    file = before.root / "items.jsonl"
    file.write_bytes(file.read_bytes().replace(b"How many", b"How few", 1))
    after = load_dataset(workspace, "tiny").info
    assert after.items_hash != before.info.items_hash
    assert after.hash not in (before.info.hash, with_other_clip.info.hash)


def test_hash_does_not_depend_on_where_the_dataset_is(
    workspace: Workspace, tiny_dataset, tmp_path: Path
) -> None:
    here = tiny_dataset("tiny")
    lines = (here.root / "items.jsonl").read_bytes().splitlines(keepends=True)
    copy = tmp_path / "elsewhere"
    shutil.copytree(here.root, copy)
    (copy / "items.jsonl").write_bytes(b"".join(reversed(lines)))
    assert read_dataset(copy).info.hash == here.info.hash


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../other/audio.wav", "audio/../../x.wav", "..", "a\\..\\..\\x", "\0"]
)
def test_a_path_that_leaves_the_folder_is_refused(workspace: Workspace, tiny_dataset, path: str) -> None:
    data = tiny_dataset("tiny", n=1)
    with pytest.raises(ItemError, match="outside the dataset"):
        data.clip(data.items[0].model_copy(update={"audio_path": path}))


def test_links_that_leave_the_folder_are_refused(workspace: Workspace, tiny_dataset, tmp_path: Path) -> None:
    data = tiny_dataset("tiny", n=2)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.wav").write_bytes(b"secret")
    (data.root / "link.wav").symlink_to(secret / "x.wav")
    (data.root / "folder").symlink_to(secret)
    (data.root / "inside.wav").symlink_to(data.root / "audio" / "000.wav")
    for path in ("link.wav", "folder/x.wav"):
        with pytest.raises(ItemError, match="outside the dataset"):
            clip_path(data.root, path)
        item = data.items[0].model_copy(update={"audio_path": path})
        save_dataset(data.root, data.info, [item])
        assert load_dataset(workspace, "tiny").info.clip_count == 0
    assert clip_path(data.root, "inside.wav") == data.root / "inside.wav"


def test_a_missing_clip_is_none_and_not_an_error(tiny_dataset) -> None:
    data = tiny_dataset("tiny", n=2)
    clip = data.clip(data.items[0])
    assert clip is not None
    clip.unlink()
    assert data.clip(data.items[0]) is None
    assert data.clip_hash(data.items[0]) is None


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "a b", "x" * 101])
def test_a_name_that_cannot_be_a_folder_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(ItemError, match="cannot be the name"):
        load_dataset(workspace, name)


def test_an_unknown_dataset_names_the_known_ones(workspace: Workspace, tiny_dataset) -> None:
    tiny_dataset("mine")
    with pytest.raises(ItemError, match=r"There is no dataset 'other'.*mine"):
        load_dataset(workspace, "other")


def test_a_broken_line_is_named_by_its_number(workspace: Workspace, tiny_dataset) -> None:
    data = tiny_dataset("tiny")
    file = data.root / "items.jsonl"
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*lines[:2], b'{"id": "x"}', *lines[3:]]))
    with pytest.raises(ItemError, match="line 3, is not an item: question"):
        load_dataset(workspace, "tiny")
    file.write_bytes(b"\n".join([*lines, lines[0]]))
    with pytest.raises(ItemError, match="two items with the id 'tiny-000'"):
        load_dataset(workspace, "tiny")


def test_the_list_survives_a_broken_dataset(workspace: Workspace, tiny_dataset) -> None:
    tiny_dataset("good", n=3, kind="benchmark")
    (workspace.datasets / "bad").mkdir()
    (workspace.datasets / "bad" / "dataset.json").write_text("{")
    rows = {row.name: row for row in list_datasets(workspace)}
    assert (rows["good"].items, rows["good"].clips, rows["good"].kind) == (3, 3, "benchmark")
    assert "dataset.json is not a dataset" in rows["bad"].problem
    assert rows["bad"].to_dict()["items"] == 0


def test_a_dataset_written_by_hand_is_counted(workspace: Workspace) -> None:
    root = workspace.datasets / "hand"
    root.mkdir(parents=True)
    (root / "dataset.json").write_text('{"name": "hand"}')
    (root / "items.jsonl").write_bytes(
        orjson.dumps({"id": "a", "question": "q", "choices": ["x", "y"], "answer": "x"}) + b"\n"
    )
    row = next(row for row in list_datasets(workspace) if row.name == "hand")
    assert (row.items, row.clips) == (1, 0)
    assert row.hash == load_dataset(workspace, "hand").info.hash


def test_two_questions_may_share_a_clip(workspace: Workspace, tiny_dataset) -> None:
    data = tiny_dataset("tiny", n=2)
    shared = [item.model_copy(update={"audio_path": "audio/000.wav"}) for item in data.items]
    save_dataset(data.root, data.info, shared, workspace.cache)
    loaded = load_dataset(workspace, "tiny")
    assert loaded.info.clip_count == 2
    assert loaded.clip_hash(loaded.items[0]) == loaded.clip_hash(loaded.items[1])


def test_a_copied_folder_is_a_dataset_of_its_own(workspace: Workspace, tiny_dataset) -> None:
    first = tiny_dataset("first")
    shutil.copytree(first.root, workspace.datasets / "second")
    second = load_dataset(workspace, "second").info
    assert second == first.info.model_copy(update={"name": "second"})


def test_a_clip_is_hashed_once_until_it_changes(tmp_path: Path) -> None:
    clip, cache = tmp_path / "a.wav", tmp_path / "cache"
    clip.write_bytes(b"one")
    first = clip_hashes([clip], cache)
    memory.cache_clear()  # as another process would open it
    status = clip.stat()
    clip.write_bytes(b"two")
    os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert clip_hashes([clip], cache) == first  # same path, time and size: not read again
    clip.write_bytes(b"other")
    assert clip_hashes([clip], cache) != first


def test_a_torn_line_in_the_memory_is_only_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "memory.jsonl"
    Memory(file).put({"a": 1, "b": [2]})
    file.write_bytes(file.read_bytes()[:-3])
    again = Memory(file)
    assert (again.get("a"), again.get("b")) == (1, None)
    again.put({"b": [2]})
    assert Memory(file).get("b") == [2]


def test_a_hundred_thousand_items_load(tmp_path: Path) -> None:
    items = [
        Item(
            id=f"i{n}",
            question=f"Question {n}?",
            choices=("a", "b", "c", "d"),
            answer="b",
            audio_path=f"a/{n}.wav",
        )
        for n in range(100_000)
    ]
    save_dataset(tmp_path, DatasetInfo(name="big"), items)
    data = read_dataset(tmp_path)  # a quadratic step would run into the test's time limit
    assert data.info.item_count == 100_000
    assert data["i99999"].question == "Question 99999?"
