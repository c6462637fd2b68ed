"""A disk that fills in the middle of a file: one sentence, nothing half made, and on once there is room.

The writes fail for real: a file may not grow beyond a limit, as on a disk with so many bytes left.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_examples import examples

from audioreason.engines.adapters import AdapterRecord, add_lora, read_adapter, save_adapter
from audioreason.engines.experts import LoraShape
from audioreason.engines.weights import Shards, load_frozen
from audioreason.errors import EngineError, LabError, WorkspaceError
from audioreason.train.data import write_examples
from audioreason.train.loop import train
from audioreason.train.merge import merge, unfinished
from audioreason.train.recipe import Recipe
from audioreason.workspace import Workspace

SHAPE = LoraShape(rank=2, alpha=4.0)


@contextlib.contextmanager
def room(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes within the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_sentence(error: LabError, *words: str) -> None:
    said = str(error)
    assert said.endswith(".") and "\n" not in said and "Error" not in said and "enforce" not in said
    for word in (
        *words,
        "File too large",
    ):  # what the limit is called; a full disk says No space left on device
        assert word in said
    assert "Free some space" in error.hint


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "small"
    save(tiny, folder)
    return folder


def save(model: Path, folder: Path) -> None:
    trained = load_frozen(model)
    add_lora(trained, SHAPE, "float32", seed=0)
    record = AdapterRecord(base=model.name, fingerprint=Shards(model).fingerprint())
    save_adapter(trained, SHAPE, folder, record)


@pytest.mark.parametrize("what", ["a shard", "a file beside the weights"])
def test_a_merge_that_finds_the_disk_full_shows_no_model_and_goes_on(
    tiny: Path, adapter: Path, tmp_path: Path, what: str
) -> None:
    whole = content(merge(adapter, tiny, tmp_path / "whole"))
    kept = content(adapter)
    weights = sum(len(data) for name, data in whole.items() if name.endswith(".safetensors"))
    model = tiny
    if what != "a shard":
        model = tmp_path / tiny.name
        shutil.copytree(tiny, model)
        (model / "vocabulary.txt").write_bytes(b"x" * 2 * weights)  # larger than the weights
        whole["vocabulary.txt"] = b"x" * 2 * weights
    out = tmp_path / "merged"
    with (
        room(weights // 2 if what == "a shard" else weights * 3 // 2),
        pytest.raises(WorkspaceError) as caught,
    ):
        merge(adapter, model, out)
    one_sentence(caught.value, ".merged.part")
    assert not out.exists() and content(adapter) == kept
    shards = [path for path in unfinished(out).iterdir() if path.suffix in (".safetensors", ".tmp")]
    assert bool(shards) == (what != "a shard"), "a finished shard is kept, half a one is not"
    assert content(merge(adapter, model, out)) == whole
    assert not unfinished(out).exists()


def test_a_merged_model_can_be_merged_again_and_its_note_is_its_own(
    tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    first = merge(adapter, tiny, tmp_path / "first")
    save(first, tmp_path / "later")
    second = merge(tmp_path / "later", first, tmp_path / "second")
    assert '"adapter": "later"' in (second / "merged.json").read_text()


def test_an_adapter_that_the_disk_has_no_room_for_passes_for_none(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    with room(10_000), pytest.raises(WorkspaceError):
        save(tiny, folder)
    with room(300), pytest.raises(WorkspaceError):
        save(tiny, folder)
    with pytest.raises(EngineError, match="There is no adapter"):
        read_adapter(folder)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    save(tiny, folder)
    before = content(folder)
    with room(10_000), pytest.raises(WorkspaceError):
        save(tiny, folder)
    assert content(folder) == before and read_adapter(folder).record is not None


@pytest.mark.parametrize("size", [30_000, 2_000])
def test_training_that_cannot_write_says_so_and_goes_on(
    lab: Workspace, tiny: Path, tmp_path: Path, size: int
) -> None:
    data = tmp_path / "train.jsonl"
    write_examples(data, examples())
    recipe = Recipe(
        rank=2, alpha=4.0, learning_rate=1e-2, batch=4, steps=3, held_out=0, save_minutes=0, longest=400,
        device="cpu",
    )  # fmt: skip
    train(lab, tiny, data, tmp_path / "calm", recipe)
    out = tmp_path / "full"
    with room(size), pytest.raises(WorkspaceError) as caught:
        train(lab, tiny, data, out, recipe)
    one_sentence(caught.value, "state.pt")
    with pytest.raises(EngineError, match="There is no adapter"):
        read_adapter(out)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    train(lab, tiny, data, out, recipe, resume=True)
    weights = "adapter_model.safetensors"
    assert (out / weights).read_bytes() == (tmp_path / "calm" / weights).read_bytes()
