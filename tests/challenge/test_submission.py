"""MMAR's submission: what is refused, what is only said, and that a written file is read back the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import orjson
import pytest

from audioreason.challenge import check_submission, handed_in, make_submission, write_submission
from audioreason.errors import RunError
from audioreason.items import Dataset
from audioreason.runs import Prediction
from audioreason.workspace import Workspace
from tests.challenge.helpers import answered_run
from tests.conftest import TinyDataset


def row(item_id: str, answer: str = "one", thinking: str = "I heard it.") -> dict[str, str]:
    return {"id": item_id, "thinking_prediction": thinking, "answer_prediction": answer}


def file_of(path: Path, rows: list[object]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    return path


@pytest.fixture
def dataset(tiny_dataset: TinyDataset) -> Dataset:
    return tiny_dataset(n=4, clips=False)


def test_a_whole_submission_is_valid_and_scored(dataset: Dataset, tmp_path: Path) -> None:
    rows: list[object] = [row(item.id, item.answer) for item in dataset.items[:3]]
    rows.append(row(dataset.items[3].id, "one"))  # gold is "four"
    checked = check_submission(file_of(tmp_path / "s.jsonl", rows), dataset)
    assert checked.valid and checked.problems == ()
    assert (checked.lines, checked.official, checked.strict) == (4, 0.75, 0.75)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows[:-1], "1 ids have no prediction: tiny-003."),
        (lambda rows: [*rows, rows[0]], "1 ids are answered more than once: tiny-000."),
        (lambda rows: [*rows, row("stranger")], "1 ids are no items of tiny: stranger."),
        (lambda rows: [*rows[:-1], {"id": "tiny-003"}], "It has no thinking_prediction."),
        (
            lambda rows: [*rows[:-1], row("tiny-003") | {"answer_prediction": 3}],
            "answer_prediction is not text",
        ),
        (lambda rows: [*rows, ["a list"]], "It is not an object"),
    ],
)
def test_what_would_be_refused_is_an_error_with_its_place(
    dataset: Dataset, tmp_path: Path, change: object, sentence: str
) -> None:
    rows = [row(item.id, item.answer) for item in dataset.items]
    checked = check_submission(file_of(tmp_path / "s.jsonl", change(rows)), dataset)  # type: ignore[operator]
    assert not checked.valid
    assert any(sentence in problem.sentence for problem in checked.problems if problem.level == "error")


def test_what_only_costs_points_is_a_warning(dataset: Dataset, tmp_path: Path) -> None:
    rows: list[object] = [row(item.id, item.answer) for item in dataset.items]
    rows[0] = row("tiny-000", "one or two, who knows", thinking=" ") | {"note": "x"}
    checked = check_submission(file_of(tmp_path / "s.jsonl", rows), dataset)
    assert checked.valid
    said = " ".join(problem.sentence for problem in checked.problems)
    assert "no choice, or more than one" in said and "no reasoning" in said and "further fields: note" in said


def test_a_damaged_or_crowded_zip_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(RunError, match="cannot be unpacked"):
        check_submission(broken, dataset)
    crowded = tmp_path / "crowded.zip"
    with zipfile.ZipFile(crowded, "w") as archive:
        archive.writestr("a.jsonl", b"")
        archive.writestr("b.jsonl", b"")
    with pytest.raises(RunError, match="holds 2 files"):
        check_submission(crowded, dataset)


def test_a_written_run_is_valid_answers_with_choices_and_the_same_bytes_each_time(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    replies = [
        f"<think>Listening.</think>\nHEARD: a\nANSWER: ({'ABCD'[i]}) {item.answer}"
        for i, item in enumerate(dataset.items)
    ]
    run = answered_run(workspace, dataset, replies)
    path, again = tmp_path / "s.zip", tmp_path / "again.zip"
    checked = write_submission(workspace, run, dataset, path)
    write_submission(workspace, run, dataset, again)
    assert path.read_bytes() == again.read_bytes()
    assert checked.valid and checked.official == 1.0
    assert check_submission(path, dataset) == checked
    with zipfile.ZipFile(path) as archive:
        first = orjson.loads(archive.read("result.jsonl").split(b"\n")[0])
    assert first["answer_prediction"] == "one" and "Listening." in first["thinking_prediction"]


def test_a_run_with_a_server_error_is_refused_and_nothing_is_written(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    failed = Prediction(dataset.items[3].id, error="The server failed.", error_kind="server")
    run = answered_run(workspace, dataset, ["ANSWER: one"] * 3, failed)
    with pytest.raises(RunError, match="1 ids have no prediction") as caught:
        write_submission(workspace, run, dataset, tmp_path / "s.jsonl")
    assert "--resume" in caught.value.hint and not (tmp_path / "s.jsonl").exists()


def test_reasoning_without_sections_is_handed_in_and_a_bare_answer_is_none(
    workspace: Workspace, dataset: Dataset
) -> None:
    reasoned = f"0.3-2.0s a bell rings twice; then a dog barks once.\n{dataset.items[0].answer}"
    run = answered_run(workspace, dataset, [reasoned, "The answer is (A) one", "(A) one", "one"])
    found = {item.id: (thinking, answer) for item, thinking, answer in handed_in(workspace, run)}
    assert found["tiny-000"] == (reasoned, dataset.items[0].answer.strip())
    assert [found[f"tiny-00{n}"] for n in (1, 2, 3)] == [("", "one")] * 3


def test_reasoning_of_10_000_characters_is_refused_and_shortened_only_on_request(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    thoughts = [f"start {'x' * 9_990} end", "y" * 10_000, "z" * 9_999, "short"]
    replies = [f"<think>{text}</think>ANSWER: one" for text in thoughts]
    run, path = answered_run(workspace, dataset, replies), tmp_path / "s.jsonl"
    with pytest.raises(RunError, match="2 predictions have reasoning of 10,000 characters or more") as caught:
        write_submission(workspace, run, dataset, path)
    assert "--shorten" in caught.value.hint and not path.exists()
    checked = write_submission(workspace, run, dataset, path, shorten=True)
    assert "reasoning of 2 predictions was shortened (tiny-000, tiny-001)" in checked.problems[-1].sentence
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [len(row["thinking_prediction"]) for row in rows] == [9_999, 9_999, 9_999, 5]
    assert [row["answer_prediction"] for row in rows] == ["one"] * 4
    first = rows[0]["thinking_prediction"]
    assert first.startswith("start x") and first.endswith("x end") and first.count("[...]") == 1
    assert check_submission(path, dataset).valid


def test_a_run_of_several_samples_is_submitted_by_the_sample_that_was_chosen(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    second = [Prediction(item.id, sample=1, content="ANSWER: two") for item in dataset.items]
    run, path = (
        answered_run(workspace, dataset, ["ANSWER: one"] * 4, *second, samples=2),
        tmp_path / "s.jsonl",
    )
    with pytest.raises(RunError, match="has 2 samples of each item, and a submission holds one") as caught:
        write_submission(workspace, run, dataset, path)
    assert "--sample" in caught.value.hint and not path.exists()
    for sample, answer in ((0, "one"), (1, "two")):
        write_submission(workspace, run, dataset, path, sample)
        assert {orjson.loads(row)["answer_prediction"] for row in path.read_bytes().splitlines()} == {answer}
    with pytest.raises(RunError, match="has no sample 2"):
        make_submission(workspace, run, dataset, 2)


@pytest.mark.parametrize("name", ["result.jsonl", "prediction.jsonl"])
def test_both_file_names_in_use_are_written_and_read(
    workspace: Workspace, dataset: Dataset, tmp_path: Path, name: str
) -> None:
    run, path = answered_run(workspace, dataset, ["ANSWER: one"] * 4), tmp_path / "s.zip"
    checked = write_submission(workspace, run, dataset, path, name=name)
    with zipfile.ZipFile(path, "a") as archive:
        assert archive.namelist() == [name]
        archive.writestr(f"__MACOSX/._{name}", b"\x00\x05")  # as macOS packs it
        archive.writestr("outputs/candidates.jsonl", b"{}")
    assert check_submission(path, dataset) == checked
