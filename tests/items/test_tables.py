"""Tables as other tools write them: layouts of JSON, CSV from spreadsheets, Parquet, and values in cells."""

from __future__ import annotations

import base64
import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audioreason.errors import ItemError
from audioreason.items import ImportReport, Item, import_folder, wav_bytes
from audioreason.items.facts import column_of, problems
from audioreason.items.rows import item_of_row, items_of_rows, read_table
from audioreason.items.validate import EXPLANATIONS, import_findings, validate
from audioreason.workspace import Workspace

ROWS: list[dict[str, Any]] = [
    {"id": "q1", "question": "Which?", "choices": ["bell", "drum"], "answer": "bell"},
    {"id": "q2", "question": "Who?", "choices": ["man", "woman"], "answer": "woman"},
]
COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        COLUMNS,
        {key: {str(place): value for place, value in enumerate(column)} for key, column in COLUMNS.items()},
        {"data": ROWS},
        {"version": "1.0", "licence": "CC", "questions": ROWS},
        {"features": [{"name": "id"}], "rows": [{"row_idx": 0, "row": row} for row in ROWS]},
        {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(row.values()) for row in ROWS]},
        {row["id"]: {key: row[key] for key in ("question", "choices", "answer")} for row in ROWS},
    ],
)
def test_a_json_table_is_read_in_each_layout(value: object, indent: int | None) -> None:
    assert read_table("t.json", json.dumps(value, indent=indent).encode()) == ROWS


def test_a_single_row_is_a_row_whatever_its_columns_hold() -> None:
    row = {**ROWS[0], "events": [{"label": "bell", "start": 0, "end": 1}], "turns": [{"who": "a"}]}
    assert read_table("t.jsonl", json.dumps(row).encode()) == [row]


def test_several_lists_of_rows_are_named() -> None:
    with pytest.raises(ItemError, match=r"several tables: train, valid"):
        read_table("t.json", json.dumps({"train": ROWS, "valid": ROWS[:1]}).encode())


def test_nan_and_infinity_are_empty_values_outside_of_texts() -> None:
    (row,) = read_table("t.jsonl", b'{"id": "a", "x": NaN, "y": [-Infinity, 1], "z": "NaN \\" Infinity"}')
    assert row == {"id": "a", "x": None, "y": [None, 1], "z": 'NaN " Infinity'}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_spreadsheets_csv_is_read(encoding: str, mark: str) -> None:
    text = mark.join(("id", '"the, question"', "choice_a")) + "\r\n" + mark.join(("1", '"Où?\n(now)"', "à"))
    assert read_table("t.csv", text.encode(encoding)) == [
        {"id": "1", "the, question": "Où?\n(now)", "choice_a": "à"}
    ]
    assert read_table("t.csv.gz", gzip.compress(text.encode(encoding)))[0]["choice_a"] == "à"


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("t.csv", "é".encode("cp1252"), "line 1, is not UTF-8"),
        ("t.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        ("t.json", b"\n<!DOCTYPE html><html></html>", "web page"),
        ("t.jsonl.gz", b"\x1f\x8bnothing", "cannot be unpacked"),
        ("t.jsonl", b'{"a": ' * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_table_is_named(name: str, raw: bytes, words: str) -> None:
    with pytest.raises(ItemError, match=words):
        read_table(name, raw)


@pytest.mark.parametrize(
    ("row", "choices", "answer"),
    [
        ({"choices": "['a bell' 'a drum'\n 'a horn']", "answer": "a drum"}, "a bell|a drum|a horn", "a drum"),
        ({"choices": """["it's" 'no']""", "answer": "no"}, "it's|no", "no"),
        ({"choices": "array(['x', 'y'], dtype=object)", "answer": "B"}, "x|y", "y"),
        ({"choices": "[1 2 3]", "answer": 2.0}, "1|2|3", "2"),
        ({"options": {"B": "drum", "A": "bell", "C": "horn"}, "answer": "A"}, "bell|drum|horn", "bell"),
        ({"options": '{"2": "drum", "1": "bell"}', "answer": "2"}, "bell|drum", "drum"),
        ({"choices": [{"label": "1", "text": "x"}, {"label": "2", "text": "y"}], "answer": 2}, "x|y", "y"),
        ({"choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"}, "x|y", "y"),
        ({"choices": [{"A": "x"}, {"B": "y"}], "answer": "b"}, "x|y", "y"),
        ({"choices": ["x", "y"], "answer_index": 1.0}, "x|y", "y"),
        ({"choices": ["x", "y"], "Correct Idx": "0"}, "x|y", "x"),
        ({"choices": ["x", "y"], "answer": "(B) y"}, "x|y", "y"),
        ({"choices": ["x", "y"], "answer": "B. y."}, "x|y", "y"),
        ({"choices": ["x", "y"], "answer": ["y"]}, "x|y", "y"),
        ({"choices": ["x", "y"], "answer": "['y']"}, "x|y", "y"),
        ({"choices": ["['x' 'y']", "['y' 'x']"], "answer": "['y' 'x']"}, "['x' 'y']|['y' 'x']", "['y' 'x']"),
        ({"choices": ["x", None, "y"], "answer": "C"}, "x|y", "y"),
        ({"choices": ["x", float("nan"), "y"], "answer": "x"}, "x|y", "x"),
        ({"option_a": "x", "option_b": "", "option_c": "z", "answer": "C"}, "x|z", "z"),
        ({"choice1": "x", "choice2": "y", "ground_truth": "2"}, "x|y", "y"),
        ({"choices": ["(B) slow", "(A) fast"], "answer": "A"}, "(B) slow|(A) fast", "(A) fast"),
        ({"choices": ["a) slow", "b) fast"], "answer": "fast"}, "a) slow|b) fast", "b) fast"),
        ({"choices": ["3", "4"], "answer": "3.0"}, "3|4", "3"),
        ({"question": "How?\n(A) slow\n(B) fast", "answer": "(B) fast"}, "slow|fast", "fast"),
        ({"question": "How?\n\nChoices:\n- slow\n- fast", "answer": "fast"}, "slow|fast", "fast"),
    ],
)
def test_choices_and_gold_in_other_tools_forms(row: dict[str, Any], choices: str, answer: str) -> None:
    item = item_of_row({"question": "q", **row}, "n")
    assert (item.choices, item.answer) == (tuple(choices.split("|")), answer)
    assert item.gold is not None and "None" not in item.choices


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"choices": ["x", "y"], "answer": 1}, "number 1, which is none of the choices.*answer_index"),
        ({"choices": ["x", "y"], "answer": "1"}, "answer_index"),
        ({"choices": ["x", "y"], "answer_index": 2}, "answer_index is 2, and there are 2 choices"),
        ({"choices": ["x", "y"], "answer_index": 0.5}, "answer_index is 0.5.*whole number"),
        ({"choices": ["x", "y"], "answer": ["x", "y"]}, "2 answers"),
        ({"choices": ["x", "y"], "answer": "x", "audio": ["a.wav", "b.wav"]}, r"2 clips \(a.wav, b.wav\)"),
        ({"audio": "a.wav", "answer": "x"}, "no choices"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_with_what_to_write(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ItemError, match=words):
        item_of_row({"question": "q", **row}, "n")


def test_letter_and_text_that_name_two_choices_are_left_to_the_check() -> None:
    item = item_of_row({"question": "q", "choices": ["x", "y"], "answer": "(B) x"}, "n")
    assert item.gold is None and item.answer == "(B) x"


@pytest.mark.parametrize("column", ["heard", "ablation", "gold_note", "layer_height", "ablate"])
def test_a_column_of_any_name_is_kept(column: str) -> None:
    item = item_of_row({**ROWS[0], column: "yes", "difficulty": "hard"}, "n")
    assert column_of(item, column) == "yes" and column_of(item, "difficulty") == "hard"
    assert Item.model_validate(item.to_json()) == item


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "<audio>Who?"}], "audios": ["a.wav"]},
        {"conversations": [{"from": "human", "value": "<sound>Who?"}], "sound": "a.wav"},
        {"wav": "a.wav", "caption": "a dog"},
    ],
)
def test_a_table_without_items_names_its_columns(
    workspace: Workspace, tmp_path: Path, row: dict[str, Any]
) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ItemError, match=f"Its columns: {', '.join(row)}") as refused:
        import_folder(workspace, tmp_path, "mine")
    assert ("chat rows" in str(refused.value)) == ("caption" not in row)
    assert not (workspace.datasets / "mine").exists()


def test_ids_are_text_whatever_the_table_has() -> None:
    rows = [{**ROWS[0], "id": 7}, {**ROWS[0], "id": 8.0}, {**ROWS[0], "id": "9"}]
    assert [item.id for item in items_of_rows(rows, "x")[0]] == ["7", "8", "9"]


def sound(seed: int) -> bytes:
    return wav_bytes(np.random.default_rng(seed).normal(0, 0.1, 4_000).astype(np.float32))


def imported(workspace: Workspace, folder: Path, rows: list[dict[str, Any]]) -> ImportReport:
    folder.mkdir(exist_ok=True)
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return import_folder(workspace, folder, "mine")


def test_clips_are_found_by_what_their_names_mean(workspace: Workspace, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    (folder / "data").mkdir(parents=True)
    elsewhere.mkdir()
    nfd, nfc = (unicodedata.normalize(form, "für-élise.wav") for form in ("NFD", "NFC"))
    (folder / "data" / nfd).write_bytes(sound(1))
    (folder / "CLIP2.WAV").write_bytes(sound(2))
    (folder / "data" / "only.flac.wav").write_bytes(sound(3))
    (elsewhere / "far.wav").write_bytes(sound(4))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "data" / "loop").symlink_to(folder)
    paths = {
        f"data/{nfc}": None,
        "clip2.wav": None,
        "clip2": None,
        "wrong/only.flac.wav": "clip-elsewhere",
        "linked/far.wav": None,
        str(elsewhere / "far.wav"): "refused-clip",
        "C:\\clips\\far.wav": "refused-clip",
        "https://example.org/far2.wav": "missing-clip",
    }
    rows = [{**ROWS[0], "id": str(n), "audio": path} for n, path in enumerate(paths)]
    report = imported(workspace, folder, rows)
    said = {
        finding.item_id: finding
        for finding in report.findings
        if "clip" in finding.code and finding.code in paths.values()
    }
    assert {n: said[n].code if n in said else None for n in map(str, range(len(paths)))} == {
        str(n): code for n, code in enumerate(paths.values())
    }
    assert "is absolute" in said["5"].message and "audio/far.wav" in said["5"].message
    assert "Download" in said["7"].message
    assert [report.dataset.clip(item) is not None for item in report.dataset.items[:5]] == [True] * 5


def test_two_clips_that_differ_by_case_are_not_taken_for_each_other(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.WAV").write_bytes(sound(1))
    (tmp_path / "mine" / "A.wav").write_bytes(sound(2))
    data = imported(
        workspace, tmp_path / "mine", [{**ROWS[0], "audio": "a.wav"}, {**ROWS[1], "audio": "A.wav"}]
    )
    assert [item.audio_path for item in data.dataset.items] == ["a.wav", "audio/A.wav"]


def parquet(path: Path, clips: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist(
            [{**ROWS[n % 2], "id": f"{path.stem}-{n}", "audio": clip} for n, clip in enumerate(clips)]
        ),
        path,
    )


@pytest.mark.parametrize("nested", ["", "data"])
def test_a_parquet_table_brings_its_clips(workspace: Workspace, tmp_path: Path, nested: str) -> None:
    folder = tmp_path / "hub"
    for part in range(2):
        clips = [{"bytes": sound(2 * part + n), "path": f"{n}.wav"} for n in range(2)]
        parquet(folder / nested / f"test-0000{part}-of-00002.parquet", clips)
    report = import_folder(workspace, folder, "mine")
    data = report.dataset
    assert (len(data.items), data.info.clip_count) == (4, 4)
    assert {data.clip_hash(item) for item in data.items} == {
        __import__("hashlib").sha256(sound(n)).hexdigest() for n in range(4)
    }
    again = import_folder(workspace, folder / nested / "test-00001-of-00002.parquet", "again")
    assert len(again.dataset.items) == 4, "a part stands for its whole table"


def test_clips_inside_json_are_base64(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        {**ROWS[0], "audio": {"bytes": base64.b64encode(sound(1)).decode(), "path": "a.wav"}},
        {**ROWS[1], "audio": {"bytes": None, "path": "b.wav"}},
    ]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b.wav").write_bytes(sound(2))
    assert imported(workspace, tmp_path / "mine", rows).dataset.info.clip_count == 2


def test_a_folder_with_several_tables_or_an_archive_says_so(workspace: Workspace, tmp_path: Path) -> None:
    parquet(tmp_path / "a" / "train.parquet", [None])
    parquet(tmp_path / "a" / "dev.parquet", [None])
    with pytest.raises(ItemError, match=r"found: dev.parquet, train.parquet"):
        import_folder(workspace, tmp_path / "a", "mine")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "clips.zip").write_bytes(b"PK")
    with pytest.raises(ItemError, match=r"Unpack clips\.zip first"):
        import_folder(workspace, tmp_path / "b", "mine")
    (tmp_path / "b" / "t.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ItemError, match="Git LFS pointer"):
        import_folder(workspace, tmp_path / "b", "mine")


def test_remarks_are_summed_by_kind_and_reason_and_kept_with_the_dataset(
    workspace: Workspace, tmp_path: Path
) -> None:
    rows = [{**ROWS[0], "id": f"good{n}"} for n in range(5)]
    rows += [{**ROWS[0], "id": f"number{n}", "answer": n} for n in range(4)]
    rows += [{"id": f"bare{n}", "question": "q", "answer": "x"} for n in range(3)] + [rows[0]]
    report = imported(workspace, tmp_path / "mine", rows)
    summed = {(one.code, one.items) for one in problems(report.findings) if one.severity == "error"}
    assert summed == {("not-an-item", 4), ("not-an-item", 3), ("duplicate-id", 1)}
    assert report.findings == validate(report.dataset) and len(import_findings(report.dataset)) == 8


def test_mmau_is_imported_whole(workspace: Workspace, tmp_path: Path) -> None:
    table = Path("../shared/mmau/mmau-test-mini.json")
    if not table.is_file():
        pytest.skip("MMAU's metadata are not beside the project (../shared/mmau)")
    rows = json.loads(table.read_bytes())
    (tmp_path / "mmau" / "test-mini-audios").mkdir(parents=True)
    clip = sound(1)
    for row in rows:
        (tmp_path / "mmau" / row["audio_id"]).write_bytes(clip)
    (tmp_path / "mmau" / "mmau-test-mini.json").write_text(json.dumps(rows))
    report = import_folder(workspace, tmp_path / "mmau", "mmau")
    items = report.dataset.items
    assert (len(items), report.dataset.info.clip_count) == (1000, 1000)
    assert [(item.id, item.answer, item.choices) for item in items] == [
        (row["id"], row["answer"], tuple(row["choices"])) for row in rows
    ]
    assert {finding.code for finding in report.findings} <= set(EXPLANATIONS)
    assert not [one for one in report.findings if one.code in ("not-an-item", "gold-missing", "missing-clip")]
    assert {column_of(item, "task") for item in items} == {"music", "sound", "speech"}
    assert len(problems(report.findings)) < 12


def test_bracketed_labels_of_choices_are_their_letters() -> None:
    row = {"question": "q", "options": {"(b)": "drum", "(a)": "bell"}, "answer": "a"}
    item = item_of_row(row, "n")
    assert (item.choices, item.answer) == (("bell", "drum"), "bell")
