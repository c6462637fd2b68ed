"""Adapters in the layouts that peft and other programs write: serve and merge compute what peft does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_examples import deltas_of

from audioreason.engines import thinker
from audioreason.engines.adapters import load_adapter, read_adapter
from audioreason.engines.launch import pocket_folder
from audioreason.engines.local import LocalEngine, _load
from audioreason.engines.pocket import load_model
from audioreason.engines.weights import Shards, bare, load_frozen
from audioreason.errors import EngineError
from audioreason.train.merge import MERGED, merge, proof_of

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
TEXT_ONLY = r".*(audio_tower|visual).*"
Tensors = dict[str, torch.Tensor]


def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 128, 60, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        heard, counts = thinker.hear(model.audio_tower, noise, [60])
        tokens = model.model.embed_tokens(ids)
        embedded = torch.cat([heard[:, : counts[0]].expand(2, -1, -1), tokens], dim=1)
        return model.lm_head(thinker.read(model.model, embedded)[0])


def as_peft_computes(model: Any) -> torch.Tensor:
    """Logits of peft's own model, by transformers' forward of the text model and peft's of its layers."""
    ids = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 128, 60, generator=torch.Generator().manual_seed(2))
    inner = model.base_model.model
    with torch.no_grad():
        heard, counts = thinker.hear(inner.audio_tower, noise, [60])
        tokens = inner.model.embed_tokens(ids)
        embedded = torch.cat([heard[:, : counts[0]].expand(2, -1, -1), tokens], dim=1)
        states = inner.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return inner.lm_head(states)


@pytest.fixture(scope="module")
def wide(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in float32, so that merging rounds nothing."""
    source = make_model(hidden=80)
    folder = tmp_path_factory.mktemp("models") / "wide"
    shutil.copytree(source, folder)
    shards = Shards(source)
    for file in shards.files:
        save_file({n: shards.get(n).float() for n in shards.names(file)}, folder / file, {"format": "pt"})
    return folder


def drawn(model: Any, spread: float = 0.05) -> None:
    """Give every trainable tensor of a peft model a value that matters."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * spread


def made_by_peft(base: Path, folder: Path, spread: float = 0.05, **settings: Any) -> torch.Tensor:
    """Save an adapter with peft; returns the logits of peft's model."""
    from peft import LoraConfig, get_peft_model

    settings = {"r": 4, "lora_alpha": 12, "exclude_modules": TEXT_ONLY, **settings}
    model = get_peft_model(load_model(base), LoraConfig(**settings))
    drawn(model, spread)
    model.eval()
    model.save_pretrained(str(folder))
    return as_peft_computes(model)


def per_expert(base: Path, folder: Path, **settings: Any) -> Path:
    """An adapter as peft on transformers 4 writes it: every expert's projections are layers of their own."""
    generator = torch.Generator().manual_seed(4)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0}
    config["target_modules"] = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
    tensors = {}
    for name, (out, *inside) in sorted(Shards(base).shapes().items()):
        if re.search(r"^model\..*(experts.*|[qkvo])_proj\.weight$", name):
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(4, *inside, generator=generator) * 0.1
            tensors[f"{stem}.lora_B.weight"] = torch.randn(out, 4, generator=generator) * 0.1
    return written(folder, {**config, **settings}, tensors)


def written(folder: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "adapter_model.safetensors")
    return folder


def renamed(adapter: Path, folder: Path, change: Callable[[str], str], **settings: Any) -> Path:
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    return written(folder, {**config, **settings}, {change(name): t for name, t in tensors.items()})


def check(adapter: Path, base: Path, out: Path, expected: torch.Tensor) -> None:
    """Served, served with the experts on top, and merged: all as peft computes."""
    plain = logits(load_model(base))
    assert (expected - plain).norm() > 0.02 * plain.norm(), "the adapter must matter"
    close = {"rtol": 1e-3, "atol": 1e-4 * float(expected.abs().max())}
    torch.testing.assert_close(logits(_load(base, adapter, "cpu", None)), expected, **close)
    on_top = load_frozen(base)
    load_adapter(on_top, deltas_of(adapter, base), "float32")
    torch.testing.assert_close(logits(on_top), expected, **close)
    merged = merge(adapter, base, out)
    torch.testing.assert_close(logits(load_model(merged)), expected, **close)
    assert proof_of(merged).startswith("Checked: the merged model's logits are those of the model served")


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ATTENTION},
        {"target_modules": ATTENTION, "target_parameters": EXPERTS, "use_rslora": True},
        {"target_modules": [], "target_parameters": EXPERTS[:1]},
        {"target_modules": [], "target_parameters": EXPERTS[1:]},
        {"target_modules": [*ATTENTION, "gate_proj", "up_proj", "down_proj"]},  # translated by peft
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.gate.weight", *EXPERTS]},
        {
            "target_modules": ATTENTION,
            "target_parameters": EXPERTS,
            "rank_pattern": {"v_proj": 2, r"layers\.1\.mlp\.experts\.down_proj": 6},
            "alpha_pattern": {"model.layers.0.self_attn.q_proj": 40, "mlp.experts.gate_up_proj": 2},
        },
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "gate"]},
        {"target_modules": ["embed_tokens", "lm_head"]},
        {
            "target_modules": ["fc1", "q_proj", "out_proj"],
            "exclude_modules": ".*visual.*",
            "bias": "lora_only",
        },
    ],
    ids=lambda settings: "-".join(settings),
)
def test_what_peft_writes_is_served_and_merged_as_peft_computes_it(
    wide: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    expected = made_by_peft(wide, tmp_path / "adapter", **settings)
    check(tmp_path / "adapter", wide, tmp_path / "merged", expected)


def test_each_experts_own_layers_change_the_experts(wide: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    adapter = per_expert(wide, tmp_path / "adapter")
    expected = as_peft_computes(PeftModel.from_pretrained(load_model(wide), str(adapter)).eval())
    with_dropout = renamed(adapter, tmp_path / "dropout", str, lora_dropout=0.05)
    check(with_dropout, wide, tmp_path / "merged", expected)
    before, after = Shards(wide), Shards(tmp_path / "merged")
    same = [name for name in before if torch.equal(before.get(name), after.get(name))]
    assert not [name for name in same if ".mlp.experts." in name]


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace(
            "base_model.model.", "base_model.model.thinker."
        ),  # trained on the whole model
        lambda name: name.replace("base_model.model.", "thinker.base_model.model."),
        lambda name: name.replace("base_model.model.", ""),
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.replace(".self_attn", "._fsdp_wrapped_module.self_attn"),
    ],
)
def test_names_with_other_words_around_them_find_the_same_tensors(
    wide: Path, tmp_path: Path, change: Callable[[str], str]
) -> None:
    made_by_peft(wide, tmp_path / "adapter", target_modules=ATTENTION, target_parameters=EXPERTS)
    expected = deltas_of(tmp_path / "adapter", wide)
    found = deltas_of(renamed(tmp_path / "adapter", tmp_path / "other", change), wide)
    assert found.names == expected.names and len(found.names) == 2 * (4 + 3 * 4)
    for name in found.names:
        ours, theirs = found.factors(name), expected.factors(name)
        assert ours is not None and theirs is not None
        assert torch.equal(ours[0] @ ours[1], theirs[0] @ theirs[1])


def test_experts_as_peft_wrote_them_before_0_19_are_transposed_back(tmp_path: Path) -> None:
    """The Pocket Listener's down_proj is square: only its gate_up_proj, or the version, tells the layout."""
    base = pocket_folder()
    made_by_peft(base, tmp_path / "new", target_modules=[], target_parameters=EXPERTS)
    tensors = load_file(tmp_path / "new" / "adapter_model.safetensors")
    config = json.loads((tmp_path / "new" / "adapter_config.json").read_text())
    old = {}
    for name, a in tensors.items():
        if "lora_A" in name:
            b = tensors[name.replace("lora_A", "lora_B")]
            a, b = (
                a.view(4, 4, -1),
                b.view(len(b), 4, 4).permute(2, 0, 1),
            )  # (experts, r, in), (experts, out, r)
            old[name] = b.transpose(1, 2).reshape(16, -1)
            old[name.replace("lora_A", "lora_B")] = a.permute(2, 1, 0).reshape(a.shape[2], -1)
    written(tmp_path / "old", {**config, "peft_version": None}, old)
    expected, found = deltas_of(tmp_path / "new", base), deltas_of(tmp_path / "old", base)
    for name in expected.names:
        zeros = torch.zeros(Shards(base).shapes()[name])
        torch.testing.assert_close(found.apply(name, zeros), expected.apply(name, zeros))

    outer = {n.replace("base_layer.", ""): t for n, t in old.items() if "base_layer" not in n}
    alone = {**config, "target_parameters": EXPERTS[1:]}
    written(tmp_path / "down", {**alone, "peft_version": None}, outer)
    with pytest.raises(EngineError, match=r'does not say which peft wrote .* Add "peft_version"'):
        deltas_of(tmp_path / "down", base)
    name = "model.layers.3.mlp.experts.2.down_proj.weight"
    for version, turned in (("0.18.1", True), ("0.19.0", False)):
        written(tmp_path / "down", {**alone, "peft_version": version}, outer)
        delta = deltas_of(tmp_path / "down", base).apply(name, zeros := torch.zeros(256, 256))
        assert torch.allclose(delta, expected.apply(name, zeros), atol=1e-6) == turned


def test_merged_weights_are_those_served_rounded_to_the_models_type(tmp_path: Path) -> None:
    base = pocket_folder()
    adapter = per_expert(base, tmp_path / "adapter")
    merged = Shards(merge(adapter, base, tmp_path / "merged"))
    served = dict(_load(base, adapter, "cpu", None).named_parameters())
    for name in merged:
        match = re.fullmatch(r"(.*experts)\.(\d+)\.(gate|up|down)_proj\.weight", bare(name))
        if match is None:
            value = served.get(bare(name), merged.get(name))
        elif match[3] == "down":
            value = served[f"{match[1]}.down_proj"][int(match[2])]
        else:
            value = served[f"{match[1]}.gate_up_proj"][int(match[2])].chunk(2)[match[3] == "up"]
        assert torch.equal(merged.get(name), value.to(torch.bfloat16)), name
    proof = json.loads((tmp_path / "merged" / MERGED).read_text())["proof"]
    assert proof["compared"] == "logits" and proof["tensors"] == 8 * (4 + 3 * 4) and proof["changed"] > 0.1


def test_where_the_model_does_not_fit_in_memory_the_merge_says_what_it_compared(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    adapter = per_expert(wide, tmp_path / "adapter")
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=1000))
    said = proof_of(merge(adapter, wide, tmp_path / "merged"))
    assert "32 of the 32 changed tensors were computed again" in said and "does not fit in memory" in said


@pytest.mark.parametrize("memory", ["all", "little"])
def test_a_merge_that_computes_something_else_gets_no_name(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    """A shard that an attempt before left, damaged since: its one expert is not what it should be."""
    import psutil

    from audioreason.train import merge as merging

    if memory == "little":
        found = psutil.virtual_memory()
        monkeypatch.setattr(psutil, "virtual_memory", lambda: found._replace(available=1000))
    save = merging._save_shard

    def damaged(tensors: Tensors, path: Path) -> None:
        name = "thinker.model.layers.1.mlp.experts.2.up_proj.weight"
        if name in tensors:
            tensors = {**tensors, name: tensors[name].roll(1, 0)}
        save(tensors, path)

    adapter = per_expert(wide, tmp_path / "adapter")
    with monkeypatch.context() as patch:
        patch.setattr(merging, "_save_shard", damaged)
        with pytest.raises(EngineError, match=r"The merged .*Nothing was kept"):
            merge(adapter, wide, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert proof_of(merge(adapter, wide, tmp_path / "merged"))


def config(**settings: Any) -> dict[str, Any]:
    return {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], **settings}


@pytest.mark.parametrize(
    ("settings", "feature"),
    [
        ({"use_dora": True}, "uses DoRA"),
        ({"peft_type": "IA3"}, "uses IA3"),
        ({"peft_type": "LOHA"}, "uses LOHA"),
        ({"lora_bias": True}, "uses lora_bias"),
        ({"trainable_token_indices": [1, 2]}, "uses trainable tokens"),
        ({"alora_invocation_tokens": [5]}, "activated LoRA"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer replication"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4', which changes the base"),
        ({"rank_pattern": {"(": 3}}, "cannot be read"),
        ({"r": None}, "cannot be read"),
    ],
)
def test_an_adapter_of_another_kind_is_refused_by_its_name(
    wide: Path, tmp_path: Path, settings: dict[str, Any], feature: str
) -> None:
    folder = written(tmp_path / "adapter", config(**settings), {"x": torch.zeros(1)})
    for use in (lambda: LocalEngine(wide, folder, "cpu"), lambda: merge(folder, wide, tmp_path / "merged")):
        with pytest.raises(EngineError, match=re.escape(feature)):
            use()
    assert not (tmp_path / "merged").exists()


def test_a_pickle_and_a_folder_of_checkpoints_are_said(tmp_path: Path) -> None:
    folder = written(tmp_path / "run" / "checkpoint-20", config(), {"x": torch.zeros(1)})
    with pytest.raises(EngineError, match="Name one of its folders: checkpoint-20"):
        read_adapter(tmp_path / "run")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(EngineError, match="a pickle, which can run code"):
        read_adapter(folder)


STEM = "base_model.model.model.layers.1.self_attn.q_proj"
PAIR = {f"{STEM}.lora_A.weight": torch.ones(4, 80), f"{STEM}.lora_B.weight": torch.ones(64, 4)}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (
            {name.replace("q_proj", "qkv_proj"): t for name, t in PAIR.items()},
            "qkv_proj.lora_A.weight, for which the model has no tensor model.layers.1.self_attn.qkv_proj"
            ".weight. Its closest tensors are .*self_attn.[qkv]_proj.weight",
        ),
        (
            {name.replace("layers.1", "layers.7"): t for name, t in PAIR.items()},
            "no tensor model.layers.7.self_attn.q_proj.weight",
        ),
        (
            {name.replace("self_attn.q_proj", "mlp.experts.9.up_proj"): t for name, t in PAIR.items()},
            "no tensor model.layers.1.mlp.experts.9.up_proj.weight",
        ),
        (PAIR | {"base_model.model.model.score.weight": torch.ones(2, 80)}, "no tensor model.score.weight"),
        (PAIR | {f"{STEM}.lora_magnitude_vector": torch.ones(64)}, "lora_magnitude_vector"),
        (dict([*PAIR.items()][:1]), "without its lora_B"),
        (PAIR | {f"{STEM}.lora_A.weight": torch.ones(0)}, "incomplete .* gathered"),
        (
            PAIR | {f"{STEM}.lora_A.weight": torch.ones(8, 80)},
            "of shape \\(8, 80\\), and .* ask for \\(4, 80\\)",
        ),
        (PAIR | {f"{STEM}.lora_A.other.weight": torch.ones(4, 80)}, "holds both"),
        (PAIR | {f"{STEM}.lora_B.weight": torch.full((64, 4), torch.nan)}, "NaN or infinity"),
        ({}, "holds no weights"),
    ],
)
def test_a_delta_that_finds_no_tensor_or_does_not_fit_is_named_by_serve_and_merge(
    wide: Path, tmp_path: Path, tensors: Tensors, said: str
) -> None:
    folder = written(tmp_path / "adapter", config(), tensors)
    for quantize in (None, "nf4"):
        with pytest.raises(EngineError, match=said):
            LocalEngine(wide, folder, "cpu", quantize=quantize)
    with pytest.raises(EngineError, match=said):
        merge(folder, wide, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_experts_of_another_rank_each_are_served_on_top_of_4_bits(wide: Path, tmp_path: Path) -> None:
    adapter = per_expert(wide, tmp_path / "adapter")
    tensors = load_file(adapter / "adapter_model.safetensors")
    rows = {name: t for name, t in tensors.items() if "experts.2.up_proj" not in name}  # one has no delta
    for name in [name for name in rows if "experts.1.gate_proj" in name]:
        rows[name] = rows[name][:2] if "lora_A" in name else rows[name][:, :2]
    found = json.loads((adapter / "adapter_config.json").read_text())
    written(adapter, {**found, "rank_pattern": {r"experts\.1\.gate_proj": 2}}, rows)
    merged = load_model(merge(adapter, wide, tmp_path / "merged"))
    on_top = load_frozen(wide)
    load_adapter(on_top, deltas_of(adapter, wide), "float32")
    torch.testing.assert_close(logits(on_top), logits(merged), rtol=1e-3, atol=1e-3)
    assert on_top.model.layers[0].mlp.experts.gate_up_a.shape == (4, 8, 80)
