"""Self-training on one GPU with vLLM, by a stand-in that holds GPU memory, takes its time and dies."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from audioreason.engines.gpus import wait_for_memory
from audioreason.errors import EngineError, JobError, LabError
from audioreason.jobs import actions
from audioreason.jobs import rows as table
from audioreason.jobs.serving import serving
from audioreason.progress import Quiet
from audioreason.rest import training
from audioreason.rest.config import RestConfig
from audioreason.rest.loop import run as run_loop
from audioreason.rest.record import read_experiment
from audioreason.runs import run_folder, run_status
from audioreason.runs.storage import merged_predictions
from audioreason.train.distributed import train_on
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace
from tests.jobs.helpers import gone, until, until_state
from tests.rest.rest_lab import build_items, build_tiny, lines, settings


class Told(Quiet):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[str] = []
        self.notes: list[str] = []

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append(name)

    def done(self, count: int, note: str = "") -> None:
        self.notes.append(note)


def starts(home: Path) -> list[list[str]]:
    found = home / "starts"
    return [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []


def config(**changes: object) -> RestConfig:
    return RestConfig.model_validate(
        {"name": "e", "engine": "vllm", "gpus": 1, "gpu_wait_seconds": 1} | changes
    )


@pytest.fixture
def other(fake_gpu: Path) -> int:
    """A process (this one) that holds 40 GiB of the GPU."""
    (fake_gpu / "memory.json").write_text(json.dumps({"total": 81_920, "others": {os.getpid(): 40_960}}))
    return os.getpid()


def test_loading_is_a_phase_with_the_servers_own_last_line(workspace: Workspace, fake_gpu: Path) -> None:
    (fake_gpu / "load_seconds").write_text("2")
    told = Told()
    made = config(
        max_num_seqs=64, gpu_memory_utilization=0.8, extra_args=["--enforce-eager"], max_length=4096
    )
    with serving(workspace, made, told)(fake_gpu, None, "m"):
        pass
    assert told.phases == ["loading model"]
    assert any("Loading safetensors checkpoint shards" in note for note in told.notes)
    (words,) = starts(fake_gpu)
    text = " ".join(words)
    assert "--max-model-len 4096 --gpu-memory-utilization 0.8" in text
    assert "--max-num-seqs 64" in text and text.endswith("--enforce-eager")


def test_the_cause_is_the_engines_first_exception_and_not_what_follows_from_it(
    workspace: Workspace, fake_gpu: Path
) -> None:
    (fake_gpu / "core").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")
    with (
        pytest.raises(JobError, match=r"before it could serve .*: torch\.OutOfMemoryError: CUDA out"),
        serving(workspace, config())(fake_gpu, None, "m"),
    ):
        pass
    assert len(starts(fake_gpu)) == 1, "what never served is not started again"


def test_memory_that_another_process_holds_is_waited_for_and_then_named(
    workspace: Workspace, fake_gpu: Path, other: int
) -> None:
    told = Told()
    with pytest.raises(EngineError) as caught, serving(workspace, config(), told)(fake_gpu, None, "m"):
        pass
    said = str(caught.value)
    assert "needs 72.0 GiB of memory on GPU 0, and 40.0 of 80.0 GiB are free after 1 s of waiting." in said
    assert f"In use by process {other} (" in said and "40.0 GiB" in said
    assert told.phases == ["waiting for GPU memory"] and not starts(fake_gpu)


def test_memory_that_becomes_free_is_used(workspace: Workspace, fake_gpu: Path, other: int) -> None:
    free = threading.Timer(1.0, (fake_gpu / "memory.json").write_text, ['{"total": 81920}'])
    free.start()
    with serving(workspace, config(gpu_wait_seconds=20))(fake_gpu, None, "m"):
        assert len(starts(fake_gpu)) == 1


def test_what_cannot_work_is_one_sentence_before_anything_is_loaded(
    workspace: Workspace, fake_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(made: RestConfig, folder: Path = fake_gpu) -> str:
        with pytest.raises(LabError) as caught, serving(workspace, made)(folder, None, "m"):
            pass
        return str(caught.value)

    model = fake_gpu / "large"
    model.mkdir()
    with (model / "model.safetensors").open("wb") as weights:
        weights.truncate(100 * 2**30)
    assert "Weights 100.0 + cache" in said(config(), model)
    assert "There is no folder /no/model" in said(config(), Path("/no/model"))
    assert "2 GPUs needed, 1 there" in said(config(gpus=2))
    monkeypatch.setenv("AUDIOREASON_VLLM", "/no/vllm")
    assert "/no/vllm, which cannot be run" in said(config())
    assert not starts(fake_gpu)


def test_a_training_waits_for_its_memory_too(
    workspace: Workspace, fake_gpu: Path, other: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Outlook:
        class estimate:
            bytes = 60 * 2**30

    monkeypatch.setattr("audioreason.train.plans.look_ahead", lambda *given: Outlook)
    with pytest.raises(EngineError, match=f"Training m needs 60.0 GiB .* In use by process {other}"):
        train_on(1, workspace, Path("m"), Path("d"), tmp_path / "a", Recipe(device="cuda"), wait_seconds=0.1)
    assert wait_for_memory("x", lambda gpu: 1024.0, Quiet())


@pytest.mark.parametrize("values", [{"gpus": 0}, {"gpus": 1, "data_parallel": 2}])
def test_vllm_without_enough_gpus_is_refused_where_it_is_submitted(
    workspace: Workspace, values: dict[str, int]
) -> None:
    for ask in (actions.submit, actions.plan):
        with pytest.raises(JobError, match="set gpus to"):
            ask(workspace, "rest", {"engine": "vllm", **values})


@pytest.fixture
def lab(workspace: Workspace, fake_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Items of which the stand-in knows the right answers; it trains on the CPU, as there is no GPU."""
    items = build_items(workspace).items
    gold = {i.question: [i.answer, next(c for c in i.choices if c != i.answer)] for i in items}
    (fake_gpu / "gold.json").write_text(json.dumps(gold))
    recipe = training.round_recipe
    monkeypatch.setattr(
        training, "round_recipe", lambda *given: recipe(*given).model_copy(update={"device": "cpu"})
    )
    return workspace


@pytest.mark.slow
def test_the_loop_ends_by_itself_though_its_server_dies(
    lab: Workspace, fake_gpu: Path, tmp_path: Path
) -> None:
    (fake_gpu / "die_after").write_text("5")
    made = settings(
        build_tiny(tmp_path), engine="vllm", gpus=1, eval_prompts=["baseline"], concurrency=2, control=0
    )
    told = Told()
    found = run_loop(lab, made, serve=serving(lab, made, told), progress=told)
    assert found.state == "finished"
    assert len(starts(fake_gpu)) == 3, "the base twice, the merged model once"
    ports = {words[words.index("--port") + 1] for words in starts(fake_gpu)[:2]}
    assert len(ports) == 1
    for run_id in (found.rounds[1].generate, *found.rounds[1].evaluations.values()):
        answered = list(merged_predictions(run_folder(lab, run_id), []))
        assert len(answered) == len({one.key for one in answered})
        assert all(one.error is None for one in answered)
    assert found.rounds[0].seconds["loading"] > 0 and "train" in found.rounds[1].seconds


@pytest.mark.slow
def test_a_server_that_dies_too_often_ends_the_loop_with_what_is_done_and_how_to_go_on(
    lab: Workspace, fake_gpu: Path, tmp_path: Path
) -> None:
    (fake_gpu / "die_after").write_text("2")
    made = settings(build_tiny(tmp_path), engine="vllm", gpus=1, server_restarts=0, concurrency=1)
    with pytest.raises(JobError) as caught:
        run_loop(lab, made, serve=serving(lab, made))
    said = str(caught.value)
    assert "vLLM ended with status 9" in said and "rest run exp --resume" in said
    assert any(word in said for word in ("have no answer", "have an answer"))
    found = run_loop(lab, made, serve=serving(lab, made), resume=True)
    assert found.state == "finished"


@pytest.mark.slow
def test_killed_in_each_phase_a_job_goes_on_to_its_end(
    lab: Workspace, fake_gpu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOREASON_JOB_KINDS", "tests.jobs.kinds:KINDS,tests.jobs.on_cpu:KINDS")
    monkeypatch.setenv("AUDIOREASON_GPUS", "1")
    (fake_gpu / "load_seconds").write_text("1.5")
    made = settings(
        build_tiny(tmp_path), engine="vllm", gpus=1, eval_prompts=["baseline"], steps=40,
        save_minutes=0.0, concurrency=1,
    )  # fmt: skip
    job_id = actions.submit(lab, "rest-on-cpu", made.model_dump(mode="json"))

    def answered(run: str) -> int:
        return lines(run_folder(lab, run) / "predictions.jsonl")

    moments = [
        lambda: len(starts(fake_gpu)) == 1,
        lambda: answered("exp-r1-generate") >= 4,
        lambda: lines(lab.adapters / "exp-r1" / "metrics.jsonl") >= 3,
        lambda: (lab.root / "models" / "exp-r1").exists(),
        lambda: answered("exp-r1-eval-baseline") >= 1,
    ]
    for moment in moments:
        until(moment, seconds=180)
        pid = next(row.pid for row in table.peek(lab) if row.id == job_id)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until_state(lab, job_id, "crashed")
        child = fake_gpu / "grandchild"
        assert not child.exists() or gone(int(child.read_text()))
        actions.resume(lab, job_id)
    view = until_state(lab, job_id, "finished", "failed", "crashed", seconds=300)
    assert view.state == "finished", view.reason
    assert run_status(run_folder(lab, "exp-r1-generate")) == "finished"
    assert read_experiment(lab, "exp").state == "finished"
