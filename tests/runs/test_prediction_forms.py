"""Predictions under the names and in the forms that other people's scripts write them."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from audioreason.errors import RunError
from audioreason.items import DatasetInfo, Item, save_dataset
from audioreason.runs import export_run, import_predictions, load_record, score_report
from audioreason.runs.derive import scored
from audioreason.runs.record import run_folder
from audioreason.workspace import Workspace

LOGS = Path(__file__).parent / "logs"


@pytest.fixture
def lab(workspace: Workspace) -> Workspace:
    """A workspace whose dataset has number ids 1 to 3, each with the gold answer "drum"."""
    choices = ("bell", "drum", "horn")
    items = [Item(id=str(n), question=f"Question {n}?", choices=choices, answer="drum") for n in (1, 2, 3)]
    save_dataset(workspace.datasets / "d", DatasetInfo(name="d"), items)
    return workspace


def right(lab: Workspace, path: Path, text: str | bytes, run: str = "r") -> tuple[int, int]:
    """Import a file; how many predictions it had, and how many items are right."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    outcome = import_predictions(lab, path, "d", run)
    return outcome.imported, int(score_report(lab, run)["strict"]["correct"])


@pytest.mark.parametrize(
    "key",
    [
        "answer_prediction",
        "model_prediction",
        "model_output",
        "prediction",
        "response",
        "Prediction",
        "output",
    ],
)
def test_an_answer_is_found_under_the_names_that_people_give_it(
    lab: Workspace, tmp_path: Path, key: str
) -> None:
    rows = [{"id": n, "question": "q", "answer": "bell", key: "drum"} for n in (1, 2, 3)]
    assert right(lab, tmp_path / "a.json", json.dumps(rows, indent=2)) == (3, 3)
    assert right(lab, tmp_path / "a.jsonl", "\ufeff" + "\r\n".join(map(json.dumps, rows)), "lines") == (3, 3)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("map.json", json.dumps({"1": "drum", "2": "bell", "3": None}, indent=1), (3, 1)),
        ("rows.json", json.dumps({"1": {"prediction": "drum"}, "2": {"prediction": "B"}}), (2, 2)),
        ("wrapped.json", json.dumps({"model": "m", "results": [{"id": 1, "output": "drum"}]}), (1, 1)),
        ("nan.json", '[{"id": 1.0, "score": NaN, "model_output": "drum"}]', (1, 1)),
        ("c.csv", '\ufeffid;prediction\r\n1;drum\r\n2;"It is\nB"\r\n', (2, 2)),
        ("c.tsv", "question_id\tresponse\n1\tdrum\n", (1, 1)),
        ("t.txt", '{"id": "1", "response": "drum"}\n', (1, 1)),
        ("z.jsonl.gz", gzip.compress(b'{"id": "1", "response": "drum"}\n'), (1, 1)),
        ("u.jsonl", json.dumps({"id": "1", "response": "drum\u2028"}, ensure_ascii=False), (1, 1)),
    ],
)
def test_other_layouts_are_read(
    lab: Workspace, tmp_path: Path, name: str, text: str | bytes, found: tuple[int, int]
) -> None:
    assert right(lab, tmp_path / name, text) == found


CANDIDATES = [
    {
        "raw_output": f"<think>Hm.</think>\nANSWER: {choice}",
        "thinking_prediction": "Hm.",
        "answer_prediction": choice,
    }
    for choice in ("drum", "bell", "drum", "drum")
]


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "1", "ground_truth": "drum", "candidates": CANDIDATES, "num_candidates": 4}],
        [{"id": "1", "candidates": [one["raw_output"] for one in CANDIDATES]}],
        [{"id": "1", "prediction": [one["answer_prediction"] for one in CANDIDATES]}],
        [
            {"id": "1", "epoch": n, "prediction": one["answer_prediction"]}
            for n, one in enumerate(CANDIDATES, 1)
        ],
        [{"id": "1", "sample": n, **one} for n, one in enumerate(CANDIDATES)],
    ],
)
def test_several_candidates_of_an_item_become_samples(
    lab: Workspace, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_predictions(lab, tmp_path / "g.jsonl", "d", "g")
    assert load_record(lab, "g").samples == 4
    assert [row.strict for row in scored(lab, "g")] == [True, False, True, True]


RESULT = {"summary": {"accuracy": 0.5}, "results": [{"id": "1", "predicted_letter": "A"}]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            [{"id": 1, "answer": "drum"}],
            "no answer_prediction. It has id, answer. Its `answer` is taken for the right",
        ),
        ([{"id": 1, "guess": "drum"}], "no answer_prediction. It has id, guess"),
        ([{"name": "1", "output": "drum"}], "no id. It has name, output"),
        (
            {"baseline": RESULT, "finetuned": RESULT},
            "evaluation results of 2 models: baseline .1 answers., finetuned",
        ),
        (
            [{"id": "x", "sound": "x.wav", "question": "q", "answer": "a"}],
            "is a training set .1 example with id, sound",
        ),
        ([{"id": "x", "messages": [{"role": "user"}], "audios": ["x.wav"]}], "is a training set"),
    ],
)
def test_a_file_that_holds_something_else_is_said_to(
    lab: Workspace, tmp_path: Path, value: object, words: str
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(value, indent=2))
    with pytest.raises(RunError, match=words):
        import_predictions(lab, tmp_path / "x.json", "d", "x")
    assert not run_folder(lab, "x").exists()


def test_long_lmms_eval_samples_are_known(lab: Workspace, tmp_path: Path) -> None:
    long = "The clip goes on. " * 700
    row = {
        "doc_id": 0,
        "input": "Question 1?\nA. bell\nB. drum\nC. horn",
        "resps": [[f"{long}\nThe answer is (B) drum."]],
        "filtered_resps": ["B"],
    }
    assert len(json.dumps(row)) > 10_000
    assert right(lab, tmp_path / "samples.jsonl", json.dumps(row) + "\n") == (1, 1)


@pytest.mark.parametrize("name", ["log.json", "log.eval"])
def test_an_inspect_log_with_nan_is_read(
    workspace: Workspace, tiny_dataset: Any, tmp_path: Path, name: str
) -> None:
    tiny_dataset(n=4, clips=False)
    log = (LOGS / "inspect.json").read_text()
    start = log.index("{") + 1
    log = f'{log[:start]}"unused": NaN, "other": -Infinity,{log[start:]}'
    if name.endswith(".json"):
        (tmp_path / name).write_text(log)
    else:
        value = json.loads(log)
        samples = value.pop("samples")
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("header.json", json.dumps(value))
            for number, sample in enumerate(samples):
                archive.writestr(f"samples/{number}.json", json.dumps({**sample, "x": float("nan")}))
    assert import_predictions(workspace, tmp_path / name, "tiny", "log").imported == 4


def test_more_choices_than_letters_are_exported(workspace: Workspace, tmp_path: Path) -> None:
    choices = tuple(f"choice {n}" for n in range(30))
    items = [Item(id=str(n), question="q", choices=choices, answer=choices[n]) for n in (3, 27)]
    save_dataset(workspace.datasets / "d", DatasetInfo(name="d"), items)
    text = "".join(json.dumps({"id": item.id, "answer_prediction": item.answer}) + "\n" for item in items)
    (tmp_path / "p.jsonl").write_text(text)
    import_predictions(workspace, tmp_path / "p.jsonl", "d", "r")
    assert export_run(workspace, "r", "inspect", tmp_path / "log.json") == 2
    samples = json.loads((tmp_path / "log.json").read_text())["samples"]
    assert [sample["target"] for sample in samples] == ["D", "2"], "Inspect's names beyond Z are 1, 2 ..."
    import_predictions(workspace, tmp_path / "log.json", "d", "again")
    assert list(scored(workspace, "r")) == list(scored(workspace, "again"))


def test_csv_for_excel_begins_with_a_mark(lab: Workspace, tmp_path: Path) -> None:
    right(lab, tmp_path / "p.jsonl", '{"id": 1, "prediction": "dr\u00fcm \u97f3"}\n')
    export_run(lab, "r", "csv", tmp_path / "plain.csv")
    export_run(lab, "r", "csv", tmp_path / "excel.csv", excel=True)
    assert (tmp_path / "excel.csv").read_bytes() == b"\xef\xbb\xbf" + (tmp_path / "plain.csv").read_bytes()
