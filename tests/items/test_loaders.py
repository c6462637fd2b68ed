"""Imports: what people have becomes items, and what cannot is said row by row."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import orjson
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audioreason.errors import ItemError
from audioreason.items import (
    ImportReport,
    Item,
    import_folder,
    import_mmar,
    load_dataset,
    load_splits,
    wav_bytes,
)
from audioreason.items.rows import item_of_row, items_of_rows, read_table
from audioreason.workspace import Workspace


def codes(report: ImportReport) -> dict[str, list[str]]:
    """Item ids by finding code, without what is said about languages."""
    found: dict[str, list[str]] = {}
    for finding in report.findings:
        if "language" not in finding.code:
            found.setdefault(finding.code, []).append(finding.item_id)
    return found


def test_mmar_is_imported_whole(workspace: Workspace, mmar_meta: Path) -> None:
    report = import_mmar(workspace, mmar_meta)
    info = report.dataset.info
    assert (info.name, info.kind, info.cue_kind, info.item_count) == ("mmar", "benchmark", "words", 1000)
    published = [Item.model_validate_json(line) for line in mmar_meta.read_bytes().splitlines()]
    assert list(load_dataset(workspace, "mmar").items) == published
    assert codes(report)["no-clips-here"] == [""]
    assert not [finding for finding in report.findings if finding.severity == "error"]


def test_mmar_as_json_is_the_same_dataset(workspace: Workspace, mmar_meta: Path, tmp_path: Path) -> None:
    rows = [orjson.loads(line) for line in mmar_meta.read_bytes().splitlines()]
    (tmp_path / "MMAR-meta.json").write_bytes(orjson.dumps(rows[::-1], option=orjson.OPT_INDENT_2))
    as_json = import_mmar(workspace, tmp_path / "MMAR-meta.json", name="as-json").dataset.info.hash
    assert as_json == import_mmar(workspace, mmar_meta).dataset.info.hash


def test_mmar_clips_can_come_later_and_the_split_stays(workspace: Workspace, tmp_path: Path) -> None:
    rows = [mmar_row(f"aaaaaaaaaa{n}_00-00-0{n}_00-00-09") for n in range(4)]
    meta = write_jsonl(tmp_path / "meta.jsonl", rows)
    before = import_mmar(workspace, meta).dataset
    halves = load_splits(before)
    audio = tmp_path / "audio"
    audio.mkdir()
    for row in rows[:3]:
        (audio / Path(row["audio_path"]).name).write_bytes(wav_bytes(sound(1)))
    report = import_mmar(workspace, meta, audio=audio)
    assert codes(report)["missing-clip"] == [rows[3]["id"]]
    assert report.dataset.info.clip_count == 3
    assert report.dataset.info.hash != before.info.hash
    assert report.dataset.info.items_hash == before.info.items_hash
    assert load_splits(report.dataset) == halves
    assert report.dataset.items[0].audio_path == rows[0]["audio_path"]


def test_an_older_copy_of_mmar_is_another_dataset_and_its_lost_golds_are_named(
    workspace: Workspace, tmp_path: Path
) -> None:
    rows = [mmar_row(f"aaaaaaaaaa{n}_00-00-0{n}_00-00-09") for n in range(3)]
    current = import_mmar(workspace, write_jsonl(tmp_path / "new.jsonl", rows)).dataset.info.hash
    rows[1]["answer"] = "something else"
    report = import_mmar(workspace, write_jsonl(tmp_path / "old.jsonl", rows), name="mmar-old")
    assert codes(report)["gold-missing"] == [rows[1]["id"]]
    assert report.dataset.info.hash != current


def test_rows_that_are_no_items_are_left_out_and_reported(workspace: Workspace, tmp_path: Path) -> None:
    good = mmar_row("aaaaaaaaaa1_00-00-01_00-00-09")
    rows = [
        good,
        {"id": "b", "question": "no choices"},
        good,
        good | {"question": "Another?"},
        {"id": "c", "choices": ["x"]},
    ]
    report = import_mmar(workspace, write_jsonl(tmp_path / "meta.jsonl", rows))
    assert [item.id for item in report.dataset.items] == [good["id"]]
    assert codes(report)["not-an-item"] == ["b", "c"]
    messages = [finding.message for finding in report.findings if finding.code == "duplicate-id"]
    assert "repeats the first" in messages[0]
    assert "differs from the first" in messages[1]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.jsonl", '{"id": "a"}\n{"id": ', "line 2, is not JSON"),
        ("m.json", "[1, 2]", "row 1, is not an object"),
        ("m.jsonl", "", "No row of"),
        ("m.jsonl", '{"id": "a", "question": "q"}', "No row of .*no choices"),
        ("m.csv", 'id,question\n"a,b', "is not a table"),
    ],
)
def test_a_file_that_is_not_a_dataset_gets_one_sentence(
    workspace: Workspace, tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ItemError, match=words):
        import_mmar(workspace, tmp_path / name)
    assert not (workspace.datasets / "mmar" / "dataset.json").exists()


def test_text_that_is_not_utf8_is_named_by_its_line(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"id,question\na,b\nc,\xff\n")
    with pytest.raises(ItemError, match="line 3, is not UTF-8"):
        import_folder(workspace, tmp_path, "mine")


def test_a_folder_of_ones_own_becomes_a_dataset(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "audio" / "deep").mkdir(parents=True)
    for name, path in (("wav", "dog.wav"), ("flac", "audio/cat.flac"), ("mp3", "audio/deep/bird.mp3")):
        soundfile.write(folder / path, sound(len(name)), 16_000)
    (folder / "items.csv").write_text(
        "\ufeffID,Question,Choice A,Choice B,Choice C,Answer,Audio,Language,Mood\n"
        'one,"Who, then?",dog,cat,,B,dog.wav,en,calm\n'
        "two,Who?,dog,cat,bird,bird,cat.flac,,\n"
        "three,Who?,dog,cat,bird,(a),deep/bird.mp3,en,\n"
        "four,Who?,dog,cat,bird,cow,gone.wav,en,\n"
    )
    report = import_folder(workspace, folder, "mine")
    data = load_dataset(workspace, "mine")
    assert data.info.kind == "own"
    assert [(item.id, item.choices, item.answer) for item in data.items] == [
        ("one", ("dog", "cat"), "cat"),
        ("two", ("dog", "cat", "bird"), "bird"),
        ("three", ("dog", "cat", "bird"), "dog"),
        ("four", ("dog", "cat", "bird"), "cow"),
    ]
    assert data.items[0].question == "Who, then?"
    assert data.items[0].model_extra == {"Mood": "calm"}
    assert [item.audio_path for item in data.items[:3]] == [
        "audio/dog.wav",
        "audio/cat.flac",
        "audio/deep/bird.mp3",
    ]
    assert all(data.clip(item) for item in data.items[:3])
    assert codes(report) == {"gold-missing": ["four"], "missing-clip": ["four"]}


@pytest.mark.parametrize(
    ("row", "choices", "answer"),
    [
        ({"choices": ["a", "b"], "answer": "b"}, ("a", "b"), "b"),
        ({"choices": "red|green|blue", "answer": "c"}, ("red", "green", "blue"), "blue"),
        ({"options": "red;green", "label": "A."}, ("red", "green"), "red"),
        ({"options": '["x, y", "z"]', "gold": "z"}, ("x, y", "z"), "z"),
        ({"choices": "['it\\'s', 'no']", "answer": "it's"}, ("it's", "no"), "it's"),
        ({"choices": {"text": ["u", "v"], "label": ["A", "B"]}, "answer": "B"}, ("u", "v"), "v"),
        ({"choices": {"A": "u", "B": "v"}, "answer": "A"}, ("u", "v"), "u"),
        ({"option1": "u", "option2": "v", "option10": "w", "answer": "w"}, ("u", "v", "w"), "w"),
        ({"A": "u", "B": "v", "answer": "B"}, ("u", "v"), "v"),
        ({"choices": ["u", "v"], "answer_index": 1}, ("u", "v"), "v"),
        ({"choices": [1, 2, 3], "answer": 3}, ("1", "2", "3"), "3"),
        ({"choices": ["B", "A"], "answer": "A"}, ("B", "A"), "A"),
        ({"choices": ["[loud] yes", "no"], "answer": "no"}, ("[loud] yes", "no"), "no"),
        ({"choices": ["yes ", "no"], "answer": "yes"}, ("yes ", "no"), "yes"),
    ],
)
def test_choices_and_answers_are_read_as_people_write_them(
    row: dict[str, object], choices: tuple[str, ...], answer: str
) -> None:
    item = item_of_row({"question": "q", **row}, "n")
    assert (item.choices, item.answer) == (choices, answer)
    assert item.gold is not None


def test_a_column_of_ours_that_holds_something_else_is_kept_aside() -> None:
    item = item_of_row(
        {"question": "q", "choices": "a|b", "answer": "a", "difficulty": "hard", "cue": "bark"}, "n"
    )
    assert item.difficulty is None
    assert item.cue == ("bark",)
    assert item.model_extra == {"given_difficulty": "hard"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    ["id", "question", "choices", "answer", "audio", "cue", "rubric", "seed", "A", "B", "url", "gold"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(names | st.text(max_size=6), json_values, max_size=8), max_size=4))
def test_every_row_becomes_an_item_or_a_finding(rows: list[dict[str, object]]) -> None:
    items, findings = items_of_rows(rows, "x")
    assert len(items) + len(findings) == len(rows)
    assert all(Item.model_validate(item.to_json()) == item for item in items)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["a.csv", "a.tsv", "a.json", "a.jsonl"]),
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
)
def test_no_table_breaks_the_reader(name: str, raw: bytes) -> None:
    try:
        items_of_rows(read_table(name, raw), "x")
    except ItemError as error:
        assert error.hint


def test_clips_outside_the_folder_are_never_brought_in(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(wav_bytes(sound(1)))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    paths = ["../secret.wav", str(tmp_path / "secret.wav"), "link.wav"]
    rows = [
        {"id": f"r{n}", "question": "q", "choices": "a|b", "answer": "a", "audio": p}
        for n, p in enumerate(paths)
    ]
    write_jsonl(folder / "items.jsonl", rows)
    report = import_folder(workspace, folder, "mine")
    found = codes(report)
    assert report.dataset.info.clip_count == 0
    assert found["refused-clip"] == ["r0", "r1"]
    assert not list(report.dataset.root.glob("**/*.wav"))


def test_clips_of_one_name_in_two_folders_stay_two(workspace: Workspace, tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.wav").write_bytes(wav_bytes(sound(number)))
    rows = [
        {"question": "q", "choices": "x|y", "answer": "x", "audio": "a/1.wav"},
        {"question": "q", "choices": "x|y", "answer": "y", "audio": str(tmp_path / "b" / "1")},
    ]
    write_jsonl(tmp_path / "items.jsonl", rows)
    data = import_folder(workspace, tmp_path, "two").dataset
    assert [item.audio_path for item in data.items] == ["audio/a/1.wav", "audio/b/1.wav"]
    assert data.clip_hash(data.items[0]) != data.clip_hash(data.items[1])
    assert [item.id for item in data.items] == ["two-00001", "two-00002"]


def test_a_linked_download_cache_is_followed(workspace: Workspace, tmp_path: Path) -> None:
    row = mmar_row("aaaaaaaaaa1_00-00-01_00-00-09")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "audio").mkdir()
    (tmp_path / "blobs" / "0f").write_bytes(wav_bytes(sound(1)))
    (tmp_path / "audio" / Path(row["audio_path"]).name).symlink_to(tmp_path / "blobs" / "0f")
    data = import_mmar(workspace, write_jsonl(tmp_path / "m.jsonl", [row]), audio=tmp_path / "audio").dataset
    clip = data.clip(data.items[0])
    assert clip is not None
    assert not clip.is_symlink()


def test_an_import_never_replaces_another_dataset(workspace: Workspace, tmp_path: Path, tiny_dataset) -> None:
    before = tiny_dataset("mine")
    write_jsonl(tmp_path / "items.jsonl", [{"question": "q", "choices": "x|y", "answer": "x"}])
    with pytest.raises(ItemError, match="There is another dataset mine"):
        import_folder(workspace, tmp_path, "mine")
    assert load_dataset(workspace, "mine").info == before.info


def test_a_folder_must_say_which_table(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="found: none"):
        import_folder(workspace, tmp_path, "mine")
    rows = [{"question": "q", "choices": "x|y", "answer": "x"}]
    write_jsonl(tmp_path / "first.jsonl", rows)
    write_jsonl(tmp_path / "second.jsonl", rows * 2)
    with pytest.raises(ItemError, match=r"first\.jsonl, second\.jsonl"):
        import_folder(workspace, tmp_path, "mine")
    assert import_folder(workspace, tmp_path / "first.jsonl", "mine").dataset.info.item_count == 1


def mmar_row(name: str) -> dict[str, object]:
    return {
        "id": name,
        "audio_path": f"./audio/{name}.wav",
        "question": f"What is in {name}?",
        "choices": ["one", "two"],
        "answer": "one",
        "language": None,
        "category": "Signal Layer",
        "sub-category": "Counting",
    }


def write_jsonl(path: Path, rows: list) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def sound(seed: int) -> np.ndarray:
    """A second of noise that differs by seed, float32 (samples,)."""
    return np.random.default_rng(seed).normal(0, 0.1, 16_000).astype(np.float32)


def test_the_only_clip_of_a_table_needs_no_known_column(workspace: Workspace, tmp_path: Path) -> None:
    sound = {"bytes": base64.b64encode(b"RIFF of a kind").decode(), "path": "x.wav"}
    row = {"id": "a", "question": "Which?", "choices": ["x", "y"], "answer": "x", "context": sound}
    (tmp_path / "items.jsonl").write_text(json.dumps(row))
    (item,) = import_folder(workspace, tmp_path, "own").dataset.items
    assert item.audio_path is not None and item.audio_path.startswith("audio/x-")


def test_a_link_to_nothing_is_named_and_the_rest_is_imported(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to(".git/annex/objects/a.wav")
    row = {"id": "a", "question": "Which?", "choices": ["x", "y"], "answer": "x", "audio": "a.wav"}
    (tmp_path / "items.jsonl").write_text(json.dumps(row))
    report = import_folder(workspace, tmp_path, "own")
    assert [one.message for one in report.findings if one.code == "linked-clip"] == [
        "a.wav is a link to a file that is not there. Fetch it (git annex get, dvc pull)."
    ]
