"""Adapters: peft reads what the lab writes, what was saved comes back, another model refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_examples import deltas_of

from audioreason.engines import thinker
from audioreason.engines.adapters import (
    AdapterRecord,
    add_lora,
    check_base,
    load_adapter,
    lora_parameters,
    read_adapter,
    save_adapter,
)
from audioreason.engines.experts import LoraShape
from audioreason.engines.pocket import load_model
from audioreason.engines.weights import Shards, load_frozen
from audioreason.errors import EngineError

SHAPE = LoraShape(rank=4, alpha=8.0)


def states(model: torch.nn.Module) -> torch.Tensor:
    x = torch.randn(3, 40, 64, generator=torch.Generator().manual_seed(1)) * 0.2
    with torch.no_grad():
        return thinker.read(model.model, x)[0]


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """An adapter whose delta is not zero, and what the model then says."""
    model = load_frozen(tiny)
    add_lora(model, SHAPE, "float32", seed=0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in lora_parameters(model).values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    folder = tmp_path_factory.mktemp("adapters") / "one"
    save_adapter(model, SHAPE, folder, AdapterRecord(base=tiny.name, fingerprint=Shards(tiny).fingerprint()))
    return folder, states(model)


def test_a_new_delta_changes_nothing_and_leaves_audio_tower_and_router_alone(tiny: Path) -> None:
    model = load_frozen(tiny)
    before = states(model)
    add_lora(model, SHAPE, "float32", seed=0)
    torch.testing.assert_close(states(model), before, rtol=0, atol=1e-5)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trainable) == len(lora_parameters(model)) == 2 * (4 * 2 + 4)
    assert not [name for name in trainable if "audio_tower" in name or "gate.weight" in name]


def test_peft_alone_loads_and_merges_what_the_lab_saved(
    tiny: Path, trained: tuple[Path, torch.Tensor]
) -> None:
    from peft import PeftModel

    folder, expected = trained
    base = load_model(tiny)
    plain = states(base)
    merged = PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
    found = states(merged)
    assert (expected - plain).norm() > 0.05 * plain.norm()  # the delta matters
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_saved_adapter_comes_back_the_same(tiny: Path, trained: tuple[Path, torch.Tensor]) -> None:
    folder, expected = trained
    model = load_frozen(tiny)
    load_adapter(model, deltas_of(folder, tiny), "float32")
    assert torch.equal(states(model), expected)


def test_an_adapter_of_another_model_is_refused_in_one_sentence(
    make_model: Callable[..., Path], tiny: Path, trained: tuple[Path, torch.Tensor]
) -> None:
    adapter = read_adapter(trained[0])
    check_base(adapter, tiny)
    with pytest.raises(EngineError, match=r"was trained on tiny-3-64 .* another model") as error:
        check_base(adapter, make_model(seed=4))
    assert error.value.hint


def test_an_adapter_of_another_size_is_refused_even_without_a_record(
    make_model: Callable[..., Path], trained: tuple[Path, torch.Tensor]
) -> None:
    with pytest.raises(EngineError, match="Give the model that it was trained on"):
        deltas_of(trained[0], make_model(hidden=128))


def test_a_folder_without_an_adapter_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no adapter"):
        read_adapter(tmp_path)


def test_fingerprint_does_not_depend_on_the_division_into_files(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    shards = Shards(tiny)
    save_file({name: shards.get(name) for name in shards}, tmp_path / "model.safetensors", {"format": "pt"})
    assert Shards(tmp_path).fingerprint() == shards.fingerprint()


def test_a_shard_cut_short_is_named(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1000)}, tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(EngineError, match="cut short"):
        Shards(tmp_path)
