"""Going on with a training or a merge: only with what it began with, said before anything starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audioreason.engines.adapters import Adapter, AdapterRecord
from audioreason.engines.deltas import WEIGHTS
from audioreason.engines.weights import Shards
from audioreason.errors import ItemError, JobError, LabError
from audioreason.items import Item, load_dataset, save_dataset
from audioreason.items.schema import DatasetInfo
from audioreason.jobs.begun import MARK
from audioreason.jobs.kinds import find_kind
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.train.data import Example, write_examples
from audioreason.train.merge import MERGED, origin_of, unfinished
from audioreason.workspace import Workspace, write_atomic

TRAIN, MERGE = find_kind("train"), find_kind("merge")


@pytest.fixture
def own(lab: Workspace) -> Workspace:
    """The lab with a dataset of two items whose clips may be changed."""
    clips = [
        path
        for item in load_dataset(lab, "soundcheck").items[:2]
        if (path := load_dataset(lab, "soundcheck").clip(item)) is not None
    ]
    root = lab.datasets / "resuming"
    shutil.rmtree(root, ignore_errors=True)
    (root / "audio").mkdir(parents=True)
    for number, clip in enumerate(clips):
        shutil.copyfile(clip, root / "audio" / f"{number}.wav")
    items = [
        Item(id=f"r{n}", question="What?", choices=("a", "b"), answer="a", audio_path=f"audio/{n}.wav")
        for n in range(2)
    ]
    save_dataset(root, DatasetInfo(name="resuming", kind="own"), items)
    return lab


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    write_examples(path, [Example(dataset="resuming", item_id=f"r{n}", user="?", answer="a") for n in (0, 1)])
    return path


def progress(folder: Path, attempt: int = 1) -> JobProgress:
    folder.mkdir(parents=True, exist_ok=True)
    made = JobProgress(folder, "token", attempt)
    made.open()
    return made


def why_not(kind: Any, spec: Any, workspace: Workspace, job_id: str) -> str:
    with pytest.raises(LabError) as caught:
        kind.check_resume(spec, workspace, job_id)
    assert caught.value.hint
    return caught.value.message


def begin(spec: Any, lab: Workspace, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is killed after its first state was saved; what it would have learned is left out."""

    def killed(
        gpus: int, workspace: Workspace, model: Path, data: Path, out: Path, *rest: Any, **more: Any
    ) -> None:
        (out / "state.pt").write_bytes(b"state")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("audioreason.train.distributed.train_on", killed)
        with pytest.raises(KeyboardInterrupt):
            TRAIN.run(spec, lab, progress(job))


def test_a_training_does_not_go_on_with_another_file_model_or_clip(
    own: Workspace, tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    spec = TRAIN.settings({"data": str(data), "model": str(model), "name": "resuming"})
    begin(spec, own, tmp_path / "job", monkeypatch)
    TRAIN.check_resume(spec, own, "job")

    text = data.read_bytes()
    os.utime(data, ns=(1, 1))  # another time alone is no change
    TRAIN.check_resume(spec, own, "job")
    data.write_bytes(text.replace(b'"a"', b'"b"'))
    assert "The training file answers.jsonl has changed" in why_not(TRAIN, spec, own, "job")
    with pytest.raises(JobError, match="has changed since this training began"):
        TRAIN.run(spec, own, progress(tmp_path / "job", attempt=2))
    data.unlink()
    assert "There is no training file" in why_not(TRAIN, spec, own, "job")
    data.write_bytes(text)

    weights = model / Shards(model).files[0]
    original = weights.read_bytes()
    weights.write_bytes(original[:-64] + bytes(byte ^ 1 for byte in original[-64:]))
    for place in range(len(original) // 2, len(original), len(original) // 64):  # tensors are sampled
        changed = bytearray(weights.read_bytes())
        changed[place : place + 4096] = bytes(byte ^ 1 for byte in changed[place : place + 4096])
        weights.write_bytes(changed)
    assert "The model model has changed" in why_not(TRAIN, spec, own, "job")
    weights.write_bytes(original)
    TRAIN.check_resume(spec, own, "job")

    dataset = load_dataset(own, "resuming")
    more = Item(id="r2", question="Who?", choices=("a", "b"), answer="b")
    save_dataset(dataset.root, dataset.info, [*dataset.items, more])
    TRAIN.check_resume(spec, own, "job")  # the file does not name it
    (dataset.root / "audio" / "1.wav").write_bytes((dataset.root / "audio" / "0.wav").read_bytes())
    save_dataset(dataset.root, dataset.info, [*dataset.items, more])
    assert "A clip that answers.jsonl names has changed" in why_not(TRAIN, spec, own, "job")
    shutil.rmtree(dataset.root)
    assert "resuming" in why_not(TRAIN, spec, own, "job")


def test_a_training_does_not_go_on_in_a_folder_that_is_not_its_own(
    own: Workspace, tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TRAIN.settings({"data": str(data), "model": str(tiny), "name": "not-its-own"})
    TRAIN.check_resume(spec, own, "first")  # it made nothing yet
    begin(spec, own, tmp_path / "first", monkeypatch)
    TRAIN.check_resume(spec, own, "first")
    assert "adapters/not-its-own belongs to the job first" in why_not(TRAIN, spec, own, "second")
    out = own.adapters / "not-its-own"
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(JobError, match="belongs to the job first"):
        TRAIN.run(spec, own, progress(tmp_path / "second", attempt=2))
    with pytest.raises(LabError, match="There is something in"):
        TRAIN.run(spec, own, progress(tmp_path / "third"))
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    (out / MARK).unlink()
    assert "was not made by this job" in why_not(TRAIN, spec, own, "first")


def test_a_training_that_fails_before_its_first_step_leaves_its_name_free(
    own: Workspace, tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any, **more: Any) -> None:
        raise ItemError("Nothing is left.")

    monkeypatch.setattr("audioreason.train.distributed.train_on", fails)
    spec = TRAIN.settings({"data": str(data), "model": str(tiny), "name": "free"})
    with pytest.raises(ItemError):
        TRAIN.run(spec, own, progress(tmp_path / "job"))
    assert not (own.adapters / "free").exists()


@pytest.fixture
def adapter(lab: Workspace, tiny: Path) -> Callable[[bytes], Adapter]:
    """`adapter(weights)`: an adapter of the tiny model, as far as a merge that begins looks at it."""

    def make(weights: bytes) -> Adapter:
        folder = lab.adapters / "to-merge"
        record = AdapterRecord(base=tiny.name, fingerprint=Shards(tiny).fingerprint())
        write_atomic(folder / "adapter_config.json", '{"r": 4, "lora_alpha": 8.0, "target_modules": ["q"]}')
        write_atomic(folder / WEIGHTS, weights)
        write_atomic(folder / "audioreason.json", record.model_dump_json())
        return Adapter(folder, record)

    return make


def test_a_merge_goes_on_only_with_the_adapter_and_model_that_it_began_with(
    lab: Workspace, tiny: Path, adapter: Callable[[bytes], Adapter], tmp_path: Path
) -> None:
    import json

    spec = MERGE.settings({"adapter": "to-merge", "model": str(tiny), "name": "resumed-merge"})
    assert "no adapter to-merge" in why_not(MERGE, spec, lab, "job")
    first = adapter(b"one" * 100_000)
    MERGE.check_resume(spec, lab, "job")  # nothing was made yet
    out = lab.root / "models" / "resumed-merge"
    part = unfinished(out)
    note = json.dumps(origin_of(first, tiny, Shards(tiny).fingerprint()))
    write_atomic(part / MERGED, note)
    MERGE.check_resume(spec, lab, "job")
    adapter(b"two" * 100_000)
    assert "has changed since models/resumed-merge was begun" in why_not(MERGE, spec, lab, "job")
    with pytest.raises(JobError, match="has changed"):
        MERGE.run(spec, lab, progress(tmp_path / "job", attempt=2))
    assert (part / MERGED).read_text() == note

    adapter(b"one" * 100_000)
    part.rename(out)
    MERGE.check_resume(spec, lab, "job")  # the attempt before was through
    assert MERGE.run(spec, lab, progress(tmp_path / "job", attempt=2))["model"] == "resumed-merge"
    (out / MERGED).write_text(note.replace("to-merge", "another"))
    assert "holds another model" in why_not(MERGE, spec, lab, "job")
    (out / MERGED).unlink()
    with pytest.raises(JobError, match="holds another model"):
        MERGE.run(spec, lab, progress(tmp_path / "job", attempt=2))
    assert not list(out.iterdir())


def test_a_stop_before_the_first_step_is_a_stop_and_can_go_on(
    own: Workspace, tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = progress(tmp_path / "job")
    asked.request_stop()

    def stopped(*given: Any, **more: Any) -> None:
        raise ItemError("The comparison was stopped.")

    spec = TRAIN.settings({"data": str(data), "model": str(tiny), "name": "stopped-early"})
    with monkeypatch.context() as patch:
        patch.setattr("audioreason.train.distributed.train_on", stopped)
        with pytest.raises(StoppedEarly):
            TRAIN.run(spec, own, asked)
    TRAIN.check_resume(spec, own, "job")
