"""Merging: the checkpoint answers as model and adapter do, in the published layout, and is never half."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from training_examples import adapter_of, deltas_of

from audioreason.engines import thinker
from audioreason.engines.adapters import load_adapter
from audioreason.engines.experts import LoraShape
from audioreason.engines.launch import pocket_folder
from audioreason.engines.pocket import load_model
from audioreason.engines.weights import Shards, load_frozen
from audioreason.errors import EngineError, WorkspaceError
from audioreason.progress import Quiet
from audioreason.train.merge import Stopped, merge

SHAPE = LoraShape(rank=3, alpha=6.0)


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.randint(0, 300, (2, 60), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.lm_head(thinker.read(model.model, model.model.embed_tokens(ids))[0])


@pytest.fixture(scope="module")
def tiny_adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(tiny, tmp_path_factory.mktemp("adapters") / "tiny-adapter", SHAPE, spread=0.03)


def test_the_pocket_listener_merged_gives_the_logits_of_model_and_adapter(tmp_path: Path) -> None:
    base = pocket_folder()
    adapter = adapter_of(base, tmp_path / "adapter", SHAPE, spread=0.03)
    model = load_frozen(base)
    plain = logits(model)
    load_adapter(model, deltas_of(adapter, base), "float32")
    expected = logits(model)
    merged = merge(adapter, base, tmp_path / "merged")
    found = logits(load_model(merged))
    assert (expected - plain).norm() > 0.1 * plain.norm()
    # the merged weights are rounded to bfloat16, as the base's are; a router near a tie may turn
    assert (found - expected).norm() < 0.05 * expected.norm()
    assert (found.argmax(-1) == expected.argmax(-1)).float().mean() > 0.95
    assert sorted(Shards(merged)) == sorted(Shards(base))
    assert Shards(merged).files == Shards(base).files
    for file in ("config.json", "tokenizer.json", "generation_config.json", "model.safetensors.index.json"):
        assert (merged / file).read_bytes() == (base / file).read_bytes()


def test_without_rounding_the_logits_are_the_same(tiny: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    shutil.copytree(tiny, wide)
    shards = Shards(tiny)
    for file in shards.files:
        tensors = {name: shards.get(name).float() for name in shards.names(file)}
        save_file(tensors, wide / file, {"format": "pt"})
    adapter = adapter_of(wide, tmp_path / "adapter", SHAPE, spread=0.03)
    model = load_frozen(wide)
    load_adapter(model, deltas_of(adapter, wide), "float32")
    merged = load_model(merge(adapter, wide, tmp_path / "merged"))
    torch.testing.assert_close(logits(merged), logits(model), rtol=1e-3, atol=1e-4)


def test_an_adapter_of_another_model_is_not_merged(
    make_model: Callable[..., Path], tiny_adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="was trained on"):
        merge(tiny_adapter, make_model(seed=9), tmp_path / "merged")
    assert not list(tmp_path.iterdir())


def test_a_delta_without_a_tensor_is_refused(
    make_model: Callable[..., Path], tiny_adapter: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(tiny_adapter, foreign)
    (foreign / "audioreason.json").unlink()  # as another program would have left it
    with pytest.raises(EngineError, match=r"the model and adapter_config.json ask for|the model's .* have"):
        merge(foreign, make_model(seed=9, hidden=128), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


class StopAfterOne(Quiet):
    def done(self, count: int, note: str = "") -> None:
        self.stop()


def test_a_merge_cut_short_goes_on_and_never_shows_half_a_model(tmp_path: Path) -> None:
    base = pocket_folder()
    adapter = adapter_of(base, tmp_path / "adapter", SHAPE, spread=0.03)
    out = tmp_path / "merged"
    with pytest.raises(Stopped):
        merge(adapter, base, out, StopAfterOne())
    assert not out.exists()
    first = tmp_path / ".merged.part" / Shards(base).files[0]
    written = first.stat().st_mtime_ns
    merge(adapter, base, out)
    assert (out / first.name).stat().st_mtime_ns == written
    assert sorted(Shards(out)) == sorted(Shards(base))
    with pytest.raises(WorkspaceError, match="already"):
        merge(adapter, base, out)


def test_a_full_disk_is_seen_before_anything_is_written(
    tiny: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(WorkspaceError, match="GB free"):
        merge(tiny_adapter, tiny, tmp_path / "merged")
