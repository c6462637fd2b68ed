"""The recipe that trains the shipped Pocket Listener from nothing, in one file from data to folder.

    python3 -m audioreason.train.pocket --out runs/pocket --minutes 11 --workers 14

What it does, and what each choice costs:
- Clips come from Soundcheck's training namespace as they are needed, so nothing is heard twice; the workers
  must keep up (about 6 ms a clip each).
- Two conversations a clip: one that asks for an explanation (sections, or thoughts in <think>), one for the
  answer alone. The audio tower runs once for both.
- Loss on the answer only; a token of an answer of n tokens weighs 1/sqrt(n), so long answers do not drown
  short ones.
- AdamW, warm-up, then a cosine over *time*: the run ends when the minutes are over, on any machine.
  bfloat16 autocast on a GPU, float32 on a CPU.
- A small balance loss keeps all experts in use (Switch Transformer, Fedus et al. 2021, eq. 4).
- One clip in forty is silent and its answer is a fair draw, so that silence gives a guess.
- The folder is written every `--save-minutes` and at the end, always whole; `--resume` goes on in the
  middle, with the optimiser's state from `OUT-state/`. SIGTERM saves and stops.
Limits: one GPU; the batches are reproducible, a GPU's sums are not; benchmark clips cannot come in, because
Soundcheck keeps them in another seed namespace.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines import thinker
from audioreason.engines.features import send
from audioreason.engines.pocket import PocketShape, build_model, pocket_config, save_folder
from audioreason.engines.tokens import ChatTokenizer, save_tokenizer, train_tokenizer
from audioreason.errors import EngineError
from audioreason.train._pocket_data import Batch, Feed, Plan, corpus
from audioreason.train._pocket_eval import embed_rows, evaluate, hear, probes
from audioreason.train._pocket_log import Log, Meter
from audioreason.train._pocket_prompts import shipped_prompts

if TYPE_CHECKING:
    import torch

_CORPUS_PER_FAMILY = 30


@dataclass(frozen=True)
class Recipe:
    """Every number of a training run; the defaults made the shipped model."""

    shape: PocketShape = field(default_factory=PocketShape)
    seed: int = 1
    minutes: float = 11.0
    steps: int | None = None  # stop after so many, whatever the time
    clips: int = 96  # a batch; twice as many conversations
    parts: int = 2  # conversations are sorted by length and computed in so many parts
    workers: int = 13
    peak: float = 1e-3
    warmup: int = 150
    decay: float = 0.05
    balance: float = 0.01
    save_minutes: float = 3.0
    validate: int = 20  # items a family
    families: tuple[str, ...] = ()  # empty: all that are not held out
    easy_batches: int = 500  # batches before the two highest difficulties come in
    report: int = 50  # steps between two lines of the log


@dataclass
class _State:
    step: int = 0
    seconds: float = 0.0  # of training, over all resumed runs


def train(out: Path, recipe: Recipe, resume: bool = False, say: Callable[[str], None] = print) -> Path:
    """Train a Pocket Listener and write its folder.

    Args:
        out: the model folder to write; the optimiser's state goes to a folder beside it.
        recipe: all numbers.
        resume: continue from that state, if there is one.
        say: gets progress lines.

    Returns:
        `out`, a complete folder in the published layout with `training_log.jsonl`.

    Raises:
        EngineError: if a data worker failed, or there is nothing to resume.
    """
    import torch

    from audioreason.soundcheck.registry import families as soundcheck_families

    began = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    known = list(soundcheck_families().values())
    if recipe.families:
        known = [family for family in known if family.name in recipe.families]
    names = tuple(family.name for family in known if not family.held_out)
    work = out.with_name(f"{out.name}-state")
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(work, names, recipe, resume)
    config = pocket_config(recipe.shape, tokenizer)
    model = build_model(config, recipe.seed)
    _initialise(model, recipe.seed)
    model.to(device).train()
    optimizer = _optimizer(model, recipe)
    state = _State()
    if resume:
        state = _load_state(work, model, optimizer, device)
    log = Log(work / "training_log.jsonl", append=resume)
    say(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters on {device}, "
        f"{len(names)} families, {len(tokenizer)} tokens, ready after {time.monotonic() - began:.0f} s"
    )
    log.write({"recipe": asdict(recipe), "families": names, "device": device, "resumed_at": state.step})
    stopping = _on_terminate()
    plan = Plan(work, names, recipe.seed, recipe.clips, state.step, recipe.workers, recipe.easy_batches)
    start = time.monotonic() - state.seconds
    saved = time.monotonic()
    meter = Meter()
    with Feed(plan) as feed:
        while not stopping() and not _over(recipe, state):
            waited = time.monotonic()
            batch = feed.next()
            meter.wait += time.monotonic() - waited
            state.seconds = time.monotonic() - start
            rate = _rate(recipe, state)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = _step(model, tokenizer, optimizer, batch, recipe, device)
            meter.add(losses, batch)
            state.step += 1
            if state.step % recipe.report == 0:
                line = meter.report(state.step, state.seconds, rate)
                log.write(line)
                say(" ".join(f"{key}={value}" for key, value in line.items()))
            if time.monotonic() - saved > recipe.save_minutes * 60:
                _save(model, config, tokenizer, optimizer, state, work, out)
                saved = time.monotonic()
    _save(model, config, tokenizer, optimizer, state, work, out)
    say(f"saved {out} after {state.step} steps, {state.seconds:.0f} s of training")
    if recipe.validate:
        model.eval()
        report = evaluate(model, tokenizer, probes(known, recipe.validate), device)
        log.write({"step": state.step, "validation": report})
        say(
            json.dumps(
                {name: part for name, part in report.items() if not name.endswith("_samples")}, indent=1
            )
        )
    shutil.copyfile(log.path, out / "training_log.jsonl")
    return out


def _tokenizer(work: Path, names: Sequence[str], recipe: Recipe, resume: bool) -> ChatTokenizer:
    if resume and (work / "tokenizer.json").is_file():
        return ChatTokenizer.load(work)
    texts = corpus(
        names, shipped_prompts(), recipe.seed, _CORPUS_PER_FAMILY if recipe.shape.vocab > 600 else 4
    )
    save_tokenizer(train_tokenizer(texts, recipe.shape.vocab), work, recipe.shape.context)
    return ChatTokenizer.load(work)


def _initialise(model: Any, seed: int) -> None:
    """Convolutions start at He's scale (2015); transformers' 0.02 would whisper the sound away."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tower = model.audio_tower
    with torch.no_grad():
        for layer in (tower.conv2d1, tower.conv2d2, tower.conv2d3, tower.conv_out):
            scale = math.sqrt(2.0 / layer.weight[0].numel())
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)


def _optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    import torch

    # transformers' vision tower never runs here, so it must neither decay nor count
    trained = [(n, p) for n, p in model.named_parameters() if not n.startswith("visual.")]
    decay = [p for n, p in trained if p.ndim > 1 and "embed_tokens" not in n]
    rest = [p for n, p in trained if not (p.ndim > 1 and "embed_tokens" not in n)]
    groups = [{"params": decay, "weight_decay": recipe.decay}, {"params": rest, "weight_decay": 0.0}]
    on_gpu = next(model.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=recipe.peak, betas=(0.9, 0.98), fused=on_gpu)


def _over(recipe: Recipe, state: _State) -> bool:
    if recipe.steps is not None and state.step >= recipe.steps:
        return True
    return state.seconds >= recipe.minutes * 60


def _rate(recipe: Recipe, state: _State) -> float:
    """Linear warm-up over steps, times half a cosine over the time (or steps) that is gone, to 2%."""
    gone = state.seconds / (recipe.minutes * 60)
    if recipe.steps is not None:
        gone = max(gone, state.step / recipe.steps)
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))
    return recipe.peak * min(1.0, (state.step + 1) / recipe.warmup) * cosine


def _step(
    model: Any,
    tokenizer: ChatTokenizer,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    device: str,
) -> dict[str, torch.Tensor]:
    """One optimiser step; returns detached losses (weighted, per token of long and of short answers)."""
    import torch
    from torch.nn import functional

    rows = sorted(batch.rows, key=lambda row: len(row.ids))
    size = -(-len(rows) // recipe.parts)
    scale = sum(math.sqrt(len(row.ids) - row.prefix) for row in rows)
    autocast = torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext()
    optimizer.zero_grad(set_to_none=True)
    long_loss: list[torch.Tensor] = []
    short_loss: list[torch.Tensor] = []
    with autocast:
        heard = hear(model, batch.sound, batch.frames, device)
    # parts are computed one after another on a copy whose gradient is collected, then the tower learns once
    audio = heard[0].detach().requires_grad_()
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        with autocast:
            x = embed_rows(
                model,
                tokenizer,
                [row.ids for row in part],
                (audio, heard[1]),
                [row.clip for row in part],
                device,
            )
            routing: list[tuple[torch.Tensor, torch.Tensor]] = []
            states, _ = thinker.read(model.model, x, routing=routing)
            where: list[int] = []
            targets: list[int] = []
            weights: list[float] = []
            for number, row in enumerate(part):
                count = len(row.ids) - row.prefix
                first = number * x.shape[1] + row.prefix - 1
                where += range(first, first + count)
                targets += row.ids[row.prefix :].tolist()
                weights += [1.0 / math.sqrt(count)] * count
            chosen = states.flatten(0, 1)[send(where, device)]
            logits = model.lm_head(chosen).float()
        each = functional.cross_entropy(logits, send(targets, device), reduction="none")
        weight = send(weights, device)
        loss = (each * weight).sum() / scale
        if recipe.balance:
            loss = loss + recipe.balance * _balance(routing) * len(part) / len(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        short = weight > 0.2  # answers of fewer than 25 tokens
        long_loss.append(torch.stack(((each.detach() * ~short).sum(), (~short).sum())))
        short_loss.append(torch.stack(((each.detach() * short).sum(), short.sum())))
    heard[0].backward(audio.grad)  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    optimizer.step()
    return {
        "long": torch.stack(long_loss).sum(0),
        "short": torch.stack(short_loss).sum(0),
        "norm": norm.detach(),
    }


def _balance(routing: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Experts x sum of (share of tokens that chose it) x (its mean probability), averaged over layers."""
    import torch

    layers = [
        p.shape[1] * ((w > 0).float().mean(0) * p.mean(0)).sum() / (w > 0).float().sum(1).mean()
        for p, w in routing
    ]
    return torch.stack(layers).mean()


def _on_terminate() -> Callable[[], bool]:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    return lambda: bool(asked)


def _save(
    model: Any,
    config: dict[str, Any],
    tokenizer: ChatTokenizer,
    optimizer: torch.optim.Optimizer,
    state: _State,
    work: Path,
    out: Path,
) -> None:
    """Write the folder and the state under new names, then put them in place of the old ones."""
    import torch

    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    save_folder(model, config, tokenizer, fresh)
    shutil.copyfile(work / "training_log.jsonl", fresh / "training_log.jsonl")
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    temporary = work / ".state.pt"
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": state.step,
            "seconds": state.seconds,
        },
        temporary,
    )
    temporary.replace(work / "state.pt")


def _load_state(work: Path, model: Any, optimizer: torch.optim.Optimizer, device: str) -> _State:
    import torch

    path = work / "state.pt"
    if not path.is_file():
        raise EngineError(f"There is nothing to resume in {work}.", "Start without --resume.")
    found = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(found["model"])
    optimizer.load_state_dict(found["optimizer"])
    return _State(found["step"], found["seconds"])


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m audioreason.train.pocket`."""
    parser = argparse.ArgumentParser(description="Train the Pocket Listener on generated Soundcheck items.")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="training time in all")
    parser.add_argument("--workers", type=int, default=Recipe.workers, help="processes that make clips")
    parser.add_argument("--clips", type=int, default=Recipe.clips, help="clips a batch")
    parser.add_argument("--steps", type=int, default=None, help="stop after so many steps")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--peak", type=float, default=Recipe.peak, help="highest learning rate")
    parser.add_argument(
        "--validate", type=int, default=Recipe.validate, help="items a family at the end; 0 for none"
    )
    parser.add_argument("--resume", action="store_true", help="go on from OUT-state/")
    given = parser.parse_args(arguments)
    recipe = replace(
        Recipe(),
        minutes=given.minutes,
        workers=given.workers,
        clips=given.clips,
        steps=given.steps,
        seed=given.seed,
        peak=given.peak,
        validate=given.validate,
    )
    train(given.out.resolve(), recipe, given.resume, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
