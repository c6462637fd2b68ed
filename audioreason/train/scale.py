"""The recipe at the full sizes of Qwen3-Omni-30B-A3B with random weights, measured on one GPU.

    python -m audioreason.train.scale train --out DIR     peak memory, falling loss, samples a second against
                                                          batch 1 padded to 4,096, saved and reloaded
    python -m audioreason.train.scale merge --out DIR     base and adapter in real files of full width and few
                                                          layers: merged, and the logits compared

Each prints one JSON object and writes it to DIR. Nothing is downloaded: weights are random (`_scale_model`).
`--tiny` runs everything on a CPU in seconds, which the tests do. Knows nothing about real data.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from audioreason.engines import thinker
from audioreason.engines.adapters import (
    AdapterRecord,
    add_lora,
    load_adapter,
    lora_parameters,
    save_adapter,
)
from audioreason.engines.deltas import AdapterDeltas
from audioreason.engines.launch import pocket_folder
from audioreason.engines.pocket import PocketShape, pocket_config
from audioreason.engines.tokens import ChatTokenizer
from audioreason.engines.weights import Shards, assemble, load_frozen
from audioreason.train._scale_model import FULL, TINY, Heard, RandomWeights, random_rows
from audioreason.train.data import Order, Prepared, Row
from audioreason.train.forward import AnswerLoss, collate
from audioreason.train.loop import Run, learn, make_optimizer, recompute
from audioreason.train.merge import merge
from audioreason.train.preflight import estimate
from audioreason.train.recipe import Recipe
from audioreason.train.state import Standing, load_state, save_state

_PADDED = 4096  # what the original experiments padded every sample to
_CLIP_SECONDS = 10


def measure_training(
    shape: PocketShape, out: Path, batch: int, length: int, steps: int, rank: int, tiny: bool
) -> dict[str, Any]:
    """Train, compare with the original recipe's steps, save, reload; the figures."""
    from accelerate import Accelerator

    device = "cpu" if tiny else "cuda"
    dtype = "float32" if tiny else "bfloat16"
    seconds = 1 if tiny else _CLIP_SECONDS
    padded = 4 * length if tiny else _PADDED
    config, pad = _config(shape)
    recipe = Recipe(
        rank=rank, alpha=2.0 * rank, quantize="nf4", batch=batch, learning_rate=1e-3 if tiny else 2e-4,
        warmup=0.0, held_out=0, part_tokens=batch * length, device="cpu" if tiny else "cuda",
    )  # fmt: skip
    began = time.monotonic()
    weights = RandomWeights(config, device, getattr(torch, dtype))
    model = assemble(config, weights, device, dtype, "nf4")
    add_lora(model, recipe.lora, dtype, seed=0)
    recompute(model)
    factors = lora_parameters(model)
    found: dict[str, Any] = {
        "device": "cpu" if tiny else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "trained": sum(parameter.numel() for parameter in factors.values()),
        "built_seconds": round(time.monotonic() - began, 1),
        "expected": estimate(config, recipe, device, length).sentence(),
    }
    rows = tuple(random_rows(2 * batch, length, seconds, pad))
    accelerator = Accelerator(cpu=tiny)
    heard = Heard(model, 4, seconds)
    _reset(tiny)
    found["before_gib"] = _peak(tiny)
    run = Run(
        recipe,
        Prepared(rows, (), (), (), ""),
        Order(rows, batch, 0),
        heard,  # type: ignore[arg-type]
        AnswerLoss(model, pad),
        list(factors.values()),
        make_optimizer(list(factors.values()), recipe, device),
        accelerator,
        steps,
    )
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.learning_rate
    losses: list[float] = []
    times: list[float] = []
    for step in range(steps):
        loss, _, _ = _timed(lambda step=step: learn(run, step), times, tiny)  # type: ignore[misc]
        losses.append(round(loss, 4))
    found |= {
        "batch": f"{batch} x {length}",
        "peak_gib": _peak(tiny),
        "losses": losses,
        "falls": sum(losses[-2:]) < sum(losses[:2]),
        "step_seconds": _median(times[2:]),
    }
    found |= _original(run, heard, rows[0], padded, tiny)
    found["samples_per_second"] = round(batch / found["step_seconds"], 3)
    for name in ("each", "together"):
        found[f"times_original_{name}"] = round(
            found["samples_per_second"] / found[f"original_{name}_samples_per_second"], 2
        )
    record = AdapterRecord(base="random", fingerprint="random", quantize="nf4", step=steps)
    record.data["digest"] = ""
    state = out / "state.pt"
    save_state(state, recipe, record, factors, run.optimizer, Standing(step=steps))
    run.optimizer = make_optimizer(run.parameters, recipe, device)
    load_state(state, recipe, record, factors, run.optimizer)
    found["state_gb"] = round(state.stat().st_size / 1e9, 3)
    state.unlink()
    found["resumed_losses"] = [round(learn(run, steps + more)[0], 4) for more in range(2)]
    model.eval()
    probe = collate(rows[:2], [heard.get(row) for row in rows[:2]], shape.hidden).to(model.device)
    before = _logits(model, probe, pad)
    folder = out / "adapter"
    save_adapter(model, recipe.lora, folder, record)
    found["adapter_gb"] = round((folder / "adapter_model.safetensors").stat().st_size / 1e9, 3)
    del model, factors
    run.module, run.parameters = None, []
    run.optimizer.param_groups.clear()
    run.optimizer.state.clear()
    gc.collect()
    _reset(tiny)
    again = assemble(config, weights, device, dtype, "nf4")
    plain = _logits(again, probe, pad)
    load_adapter(again, AdapterDeltas(folder, weights.shapes), dtype)
    found["reloaded_error"] = _error(_logits(again, probe, pad), before)
    found["adapter_changes"] = _error(plain, before)
    return found


def _original(run: Run, heard: Heard, row: Row, padded: int, tiny: bool) -> dict[str, float]:
    """Samples a second of the original recipe on the same weights: one sample at a time, padded to a maximum,
    the clip heard again each time, and logits at every position, as transformers' own loss makes them.

    `each` steps the optimiser after every sample, `together` after 8, as the original did.
    """
    model = run.module.train().model
    pad = run.module.audio_pad
    ids = torch.tensor([[*row.ids, *[0] * (padded - len(row.ids))]], device=model.device)
    labels = torch.full_like(ids, -100)
    labels[0, row.prefix : len(row.ids)] = ids[0, row.prefix : len(row.ids)]

    def hear() -> torch.Tensor:
        embedded: torch.Tensor = model.model.embed_tokens(ids).detach()
        embedded[ids == pad] = heard.hear(int(row.clip_hash)).to(embedded.dtype)
        return embedded

    def loss(states: torch.Tensor) -> Any:
        logits = model.lm_head(states).float()
        return torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=-100)

    def sample() -> None:
        loss(model.model(inputs_embeds=hear(), use_cache=False).last_hidden_state).backward()

    def finish() -> None:
        torch.nn.utils.clip_grad_norm_(run.parameters, 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)

    alone: list[float] = []
    steps: list[float] = []
    for _ in range(4):
        _timed(sample, alone, tiny)
        _timed(finish, steps, tiny)
    hearing: list[float] = []
    scoring: list[float] = []
    states = torch.zeros(
        1, padded, hear().shape[-1], device=ids.device, dtype=model.dtype, requires_grad=True
    )
    for _ in range(4):
        _timed(hear, hearing, tiny)
        _timed(lambda: loss(states).backward(), scoring, tiny)
    one, end = _median(alone[1:]), _median(steps[1:])
    count = 8
    return {
        "original_sample_seconds": one,
        "of_it_hearing": _median(hearing[1:]),
        "of_it_logits": _median(scoring[1:]),
        "optimizer_seconds": end,
        "original_each_samples_per_second": round(1 / (one + end), 4),
        "original_together_samples_per_second": round(count / (count * one + end), 4),
    }


def measure_merging(shape: PocketShape, out: Path, rank: int, tiny: bool) -> dict[str, Any]:
    """Real files: base, adapter, merged; logits of each way to the same model, as relative errors."""
    from safetensors.torch import save_file

    device = "cpu" if tiny else "cuda"
    dtype = "float32" if tiny else "bfloat16"
    config, pad = _config(shape)
    weights = RandomWeights(config, device, torch.bfloat16)
    base = out / "base"
    base.mkdir(parents=True)
    names = sorted(weights.shapes)
    index: dict[str, str] = {}
    for number in range(4):
        file = f"model-{number + 1:05d}-of-00004.safetensors"
        part = {f"thinker.{name}": weights(name).cpu() for name in names[number::4]}
        save_file(part, base / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    (base / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (base / "config.json").write_text(json.dumps(config))
    recipe = Recipe(rank=rank, alpha=2.0 * rank)
    model = load_frozen(base, device, dtype, "nf4")
    rows = random_rows(2, 300 if not tiny else 60, 1, pad)
    heard = Heard(model, 4, 1)
    probe = collate(rows, [heard.get(row) for row in rows], shape.hidden).to(model.device)
    plain4 = _logits(model, probe, pad)
    add_lora(model, recipe.lora, dtype, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a delta of about a tenth of the weights, as after long training
        for name, parameter in lora_parameters(model).items():
            if "lora_B" in name:
                drawn = torch.randn(parameter.shape, generator=generator) * 0.05 / math.sqrt(rank)
                parameter.copy_(drawn)
    adapter = out / "adapter"
    save_adapter(
        model, recipe.lora, adapter, AdapterRecord(base=base.name, fingerprint=Shards(base).fingerprint())
    )
    adapted4 = _logits(model, probe, pad)
    del model
    model = load_frozen(base, device, dtype)
    plain = _logits(model, probe, pad)
    load_adapter(model, AdapterDeltas(adapter, Shards(base).shapes()), dtype)
    adapted = _logits(model, probe, pad)
    del model
    began = time.monotonic()
    merged = merge(adapter, base, out / "merged")
    took = time.monotonic() - began
    logits = _logits(load_frozen(merged, device, dtype), probe, pad)
    size = Shards(base).size()
    return {
        "layers": shape.layers,
        "base_gb": round(size / 1e9, 2),
        "merge_seconds": round(took, 1),
        "merge_mb_per_second": round(size / 1e6 / took),
        "adapter_changes": _error(plain, adapted),
        "merged_against_adapter": _error(logits, adapted),
        "merged_against_adapter_on_nf4": _error(logits, adapted4),
        "nf4_against_16_bits_without_adapter": _error(plain4, plain),
        "same_greedy_token": round((logits.argmax(-1) == adapted.argmax(-1)).float().mean().item(), 4),
    }


def _config(shape: PocketShape) -> tuple[dict[str, Any], int]:
    """config.json of a shape, and the audio placeholder's id."""
    tokenizer = ChatTokenizer.load(pocket_folder())
    config = pocket_config(shape, tokenizer)
    config["thinker_config"]["text_config"]["vocab_size"] = shape.vocab
    return config, tokenizer.audio_pad


def _logits(model: Any, batch: Any, pad: int) -> torch.Tensor:
    """Logits at the answers' positions, float32 on the CPU."""
    with torch.no_grad():
        embedded = model.model.embed_tokens(batch.ids)
        embedded[batch.ids == pad] = batch.heard.to(embedded.dtype)
        states = thinker.read(model.model, embedded)[0].flatten(0, 1)[batch.where]
        logits: torch.Tensor = model.lm_head(states).float().cpu()
    return logits


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return round(float((found - expected).norm() / expected.norm()), 6)


def _timed(work: Callable[[], Any], times: list[float], tiny: bool) -> Any:
    began = time.monotonic()
    result = work()
    if not tiny:
        torch.cuda.synchronize()
    times.append(time.monotonic() - began)
    return result


def _median(values: Sequence[float]) -> float:
    return round(sorted(values)[len(values) // 2], 5)


def _reset(tiny: bool) -> None:
    if not tiny:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(tiny: bool) -> float:
    return 0.0 if tiny else round(torch.cuda.max_memory_allocated() / 2**30, 2)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """`python -m audioreason.train.scale`; returns what it printed."""
    parser = argparse.ArgumentParser(description="Measure training at the full sizes of 30B-A3B.")
    parser.add_argument("what", choices=["train", "merge"])
    parser.add_argument("--out", type=Path, required=True, help="folder for figures, adapter and shards")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=700, help="tokens of a sample")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--layers", type=int, default=None, help="default: 48 to train, 4 to merge")
    parser.add_argument("--tiny", action="store_true", help="small sizes on the CPU, to try this script")
    given = parser.parse_args(arguments)
    shape = TINY if given.tiny else FULL
    if given.layers is not None or given.what == "merge":
        shape = replace(shape, layers=given.layers or min(4, shape.layers))
    given.out.mkdir(parents=True, exist_ok=True)
    if given.what == "train":
        found = measure_training(
            shape, given.out, given.batch, given.length, given.steps, given.rank, given.tiny
        )
    else:
        found = measure_merging(shape, given.out, given.rank, given.tiny)
    text = json.dumps(found, indent=1)
    (given.out / f"scale-{given.what}.json").write_text(text + "\n")
    print(text, flush=True)
    return found


if __name__ == "__main__":
    main()
