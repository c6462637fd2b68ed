"""Training and merging as jobs and as commands, with the pocket-sized model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audioreason.cli import app
from audioreason.engines.adapters import read_adapter
from audioreason.engines.pocket import load_model
from audioreason.engines.tokens import ChatTokenizer
from audioreason.errors import EngineError, GuardError, ItemError, JobError
from audioreason.items import load_dataset
from audioreason.jobs.kinds import Check, find_kind
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.train.data import Example, read_examples, write_examples
from audioreason.train.plans import _lengths
from audioreason.workspace import Workspace

Begin = Callable[..., JobProgress]


@pytest.fixture
def progress() -> Iterator[Begin]:
    """`progress(folder, attempt)`: what a worker hands to a kind; closed after the test."""
    begun: list[JobProgress] = []

    def begin(folder: Path, attempt: int = 1) -> JobProgress:
        folder.mkdir(parents=True, exist_ok=True)
        made = JobProgress(folder, "token", attempt)
        made.open()
        begun.append(made)
        return made

    yield begin
    for made in begun:
        made.close("finished")


def settings(kind: str, **values: Any) -> Any:
    return find_kind(kind).settings(values)


def spec_of(tiny: Path, training_file: Path, **values: Any) -> Any:
    base = {"data": str(training_file), "model": str(tiny), "rank": 4, "batch": 4, "steps": 5}
    return settings("train", **{**base, "learning_rate": 0.01, "held_out": 0.2, **values})


def test_the_forms_are_complete() -> None:
    for name in ("train", "merge"):
        kind = find_kind(name)
        for field in kind.spec.model_json_schema()["properties"].values():
            assert field["title"]
            assert "default" in field
        for preset in kind.presets.values():
            kind.settings(preset)


def test_a_job_trains_and_another_merges_what_it_made(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path, progress: Begin
) -> None:
    spec = spec_of(tiny, training_file, name="job-adapter")
    plan = find_kind("train").plan(spec, lab)
    assert {check.name: check.state for check in plan.checks} == {
        "examples": "ok", "memory": "ok", "disk": "ok"
    }  # fmt: skip
    assert plan.seconds
    folder = tmp_path / "job"
    result = find_kind("train").run(spec, lab, progress(folder))
    assert result["adapter"] == "job-adapter"
    assert result["steps"] == 5
    assert not result["leaks"]
    values = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "grad_norm", "lr", "tokens_per_second", "memory_gib"} <= set(values[0])
    with pytest.raises(JobError, match="is an adapter job-adapter already"):
        find_kind("train").plan(spec, lab)

    merged = settings("merge", adapter="job-adapter", model=str(tiny), name="job-merged")
    assert find_kind("merge").plan(merged, lab).seconds
    made = find_kind("merge").run(merged, lab, progress(tmp_path / "merge"))
    load_model(Path(made["folder"]))
    again = find_kind("merge").run(merged, lab, progress(tmp_path / "merge", attempt=2))
    assert again == made


def test_a_stopped_job_resumes_in_its_second_attempt(
    lab: Workspace, tiny: Path, training_file: Path, tmp_path: Path, progress: Begin
) -> None:
    spec = spec_of(tiny, training_file, name="stopped-adapter", save_minutes=0)
    first = progress(tmp_path / "job")
    first.request_stop()  # heard before the first step, while items are compared or after
    with pytest.raises(StoppedEarly):
        find_kind("train").run(spec, lab, first)
    result = find_kind("train").run(spec, lab, progress(tmp_path / "job", attempt=2))
    assert result["steps"] == 5
    finished = find_kind("train").run(spec, lab, progress(tmp_path / "job", attempt=3))
    assert finished["adapter"] == "stopped-adapter"


def test_an_override_is_written_into_the_adapter(
    lab: Workspace, tiny: Path, tmp_path: Path, progress: Begin
) -> None:
    item = load_dataset(lab, "soundcheck").items[0]
    data = tmp_path / "leak.jsonl"
    write_examples(data, [Example(dataset="soundcheck", item_id=item.id, user="one", answer="two")])
    spec = spec_of(tiny, data, name="leaky", held_out=0.0, steps=1)
    with pytest.raises(GuardError, match="belong to a benchmark"):
        find_kind("train").run(spec, lab, progress(tmp_path / "a"))
    assert not (lab.adapters / "leaky").exists()
    allowed = spec.model_copy(update={"override_reason": "a test of the override"})
    assert find_kind("train").run(allowed, lab, progress(tmp_path / "b"))["leaks"]
    record = read_adapter(lab.adapters / "leaky").record
    assert record is not None
    assert record.leaks
    assert record.guard[0]["override"] == "a test of the override"


def test_a_gpu_that_is_not_there_or_too_small_is_one_sentence(
    lab: Workspace, tiny: Path, training_file: Path, monkeypatch: pytest.MonkeyPatch, progress: Begin
) -> None:
    with pytest.raises(EngineError, match="no GPU"):
        find_kind("train").plan(spec_of(tiny, training_file, gpus=1), lab)

    from audioreason.train import distributed, plans, preflight
    from audioreason.train.loop import train

    # in this process, where the memory can be replaced
    monkeypatch.setattr(distributed, "train_on", lambda count, *given, **more: train(*given, **more))
    monkeypatch.setattr(preflight, "memory", lambda device: (1e6, "A small GPU"))
    monkeypatch.setattr(plans, "memory", lambda device: (1e6, "A small GPU"))
    plan = find_kind("train").plan(spec_of(tiny, training_file), lab)
    assert [check.state for check in plan.checks if check.name == "memory"] == ["fail"]
    with pytest.raises(EngineError, match=r"A small GPU has 0\.0 GiB") as error:
        find_kind("train").run(spec_of(tiny, training_file, name="small"), lab, progress(lab.jobs / "s"))
    assert error.value.hint
    assert not (lab.adapters / "small").exists()


def test_a_plan_says_what_would_be_left_out_as_too_long(
    lab: Workspace, tiny: Path, training_file: Path
) -> None:
    def examples(longest: int) -> Check:
        plan = find_kind("train").plan(spec_of(tiny, training_file, longest=longest), lab)
        return next(check for check in plan.checks if check.name == "examples")

    lengths = _lengths(lab, ChatTokenizer.load(tiny), read_examples(training_file))
    some, none = examples(sorted(lengths)[5]), examples(min(lengths) - 1)
    left = sum(length > sorted(lengths)[5] for length in lengths)
    assert 0 < left < 12 and some.state == "ok"
    assert f"Of 12 looked at, {left} have more than" in some.sentence
    assert none.state == "fail" and none.sentence.startswith("All 12 examples have more than")
    assert "nothing would be left to train on: raise `longest`" in none.sentence


def test_commands_train_plan_and_merge(
    lab: Workspace, tiny: Path, training_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(lab.root))
    run = CliRunner().invoke
    base = ["train", str(training_file), "--model", str(tiny), "--name", "by-command", "--rank", "4"]
    base += ["--steps", "3", "--batch", "4"]
    planned = run(app, [*base, "--plan", "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["items"] == 12
    trained = run(app, [*base, "--json"])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["steps"] == 3
    merged = run(
        app, ["merge", "by-command", "--model", str(tiny), "--out", str(tmp_path / "made"), "--json"]
    )
    assert merged.exit_code == 0, merged.output
    assert (tmp_path / "made" / "config.json").is_file()


def test_teach_writes_gold_answers_and_never_over_a_file(
    lab: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(lab.root))
    made = CliRunner().invoke(app, ["teach", "tones", "--prompt", "structured-reasoning"])
    assert made.exit_code == 0, made.output
    written = read_examples(lab.root / "training" / "tones.jsonl")
    assert [example.item_id for example in written] == [f"tones-{index}" for index in range(12)]
    assert {example.answer for example in written} == {"ANSWER: one"}
    assert "How many tones" in written[0].user + written[0].system
    again = CliRunner().invoke(app, ["teach", "tones"])
    assert isinstance(again.exception, ItemError)


def test_benchmark_items_are_not_taught(lab: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(lab.root))
    made = CliRunner().invoke(app, ["teach", "soundcheck", "--split", "explore"])
    assert isinstance(made.exception, ItemError)
    assert "a benchmark has all" in str(made.exception)
    assert not (lab.root / "training" / "soundcheck.jsonl").exists()


def test_a_merge_of_an_adapter_of_another_model_is_refused_in_the_plan(
    lab: Workspace,
    tiny: Path,
    training_file: Path,
    make_model: Callable[..., Path],
    tmp_path: Path,
    progress: Begin,
) -> None:
    find_kind("train").run(
        spec_of(tiny, training_file, name="foreign", steps=1), lab, progress(tmp_path / "job")
    )
    spec = settings("merge", adapter="foreign", model=str(make_model(seed=11)), name="never")
    with pytest.raises(EngineError, match="another model"):
        find_kind("merge").plan(spec, lab)
