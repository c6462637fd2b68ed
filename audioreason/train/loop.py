"""The recipe that fine-tunes a thinker with LoRA, from a training file to an adapter, top to bottom.

    OUT/adapter_config.json, adapter_model.safetensors, audioreason.json    the best adapter so far
    OUT/state.pt           weights, optimiser, step: where a resumed run goes on; removed at the end
    OUT/metrics.jsonl      loss, grad_norm, lr, tokens_per_second, memory_gib of each step; held_out_loss
    OUT/tensorboard/       the same, if TensorBoard is installed

What it does, and what each choice costs:
- Loss on the answer alone, `<think>` kept; a step's loss is the weighted mean over its answer tokens.
- Steps of rows of similar length, padded to the longest of a part, never to a maximum.
- `kl` adds the divergence from the frozen model on the answers' tokens: half as much compute again.
- The audio tower and the router are frozen; what the tower makes of a clip is cached.
- Frozen experts in NF4 on a GPU too small for 16 bits; gradient checkpointing, a third more time.
- On a GPU the LoRA factors are bfloat16 with 8-bit AdamW: 30B fits in 45 GB, and the smallest updates round
  away. On a CPU everything is float32.
- A resumed run is on the same course: rows are a function of seed and step, the state is whole, and what a
  kill interrupted is done again. Exactly the same weights on a CPU; a GPU's sums are not reproducible.
- A loss that is no number stops the run before it spoils the weights; the last good state stays.
- Several GPUs: every process computes its share of each step's rows (`audioreason.train.distributed`).
Limits: no model parallelism, so frozen weights and adapter must fit on each GPU; one adapter at a time.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.adapters import (
    RECORD,
    AdapterRecord,
    add_lora,
    lora_parameters,
    read_record,
    save_adapter,
)
from audioreason.engines.local import require_torch
from audioreason.engines.tokens import ChatTokenizer
from audioreason.engines.weights import Shards, load_frozen
from audioreason.errors import EngineError
from audioreason.progress import Progress, Quiet
from audioreason.train.data import Order, Prepared, Row, micro_batches, prepare, read_examples, statistics
from audioreason.train.hearing import Hearing
from audioreason.train.metrics import Metrics
from audioreason.train.preflight import check_memory, choose_device, steps_of
from audioreason.train.recipe import Recipe, Trained
from audioreason.train.state import Standing, load_state, save_state, versions
from audioreason.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    import torch

STATE = "state.pt"


@dataclass
class Run:
    """Everything that the steps share."""

    recipe: Recipe
    prepared: Prepared
    order: Order
    hearing: Hearing
    module: Any  # AnswerLoss, wrapped for several processes
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    accelerator: Any
    steps: int


def train(
    workspace: Workspace,
    model: Path,
    data: Path,
    out: Path,
    recipe: Recipe | None = None,
    *,
    resume: bool = False,
    override_reason: str | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Fine-tune a thinker.

    Args:
        workspace: whose datasets the training file names; its cache keeps embeddings of clips.
        model: a folder in the published layout.
        data: a training file (`audioreason.train.data`).
        out: the adapter's folder, new or to be resumed.
        recipe: all numbers.
        resume: go on where a run in `out` stopped.
        override_reason: why training on benchmark items is right; written into the adapter.
        progress: hears of every step, and may ask for a stop, after which the state is saved.

    Returns:
        What was reached.

    Raises:
        GuardError: if a benchmark item would train the model.
        ItemError: if examples, items or clips are missing.
        EngineError: if the model cannot be loaded or does not fit, `out` is in use, or the loss broke.
        WorkspaceError: if the disk is full.
    """
    require_torch()
    from accelerate import Accelerator, DistributedDataParallelKwargs

    from audioreason.train.forward import AnswerLoss

    recipe = recipe or Recipe()
    device = choose_device(recipe)
    accelerator = Accelerator(
        cpu=device == "cpu",
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        ],
    )
    progress = (progress or Quiet()) if accelerator.is_main_process else Quiet()
    _claim(out, resume)
    tokenizer = ChatTokenizer.load(model)
    shards = Shards(model)
    prepared = prepare(
        read_examples(data),
        workspace,
        tokenizer,
        longest=recipe.longest,
        held_out=recipe.held_out,
        seed=recipe.seed,
        override_reason=override_reason,
        progress=progress,
    )
    check_memory(model, recipe, statistics(prepared.rows)["longest"], device)
    out.mkdir(parents=True, exist_ok=True)
    dtype = _dtype(recipe, device)
    progress.phase("load the model", None)
    thinker = load_frozen(
        model, str(accelerator.device), dtype, recipe.quantize, lambda done, _: progress.done(done)
    )
    hearing = Hearing(thinker, workspace.cache, shards.fingerprint())
    share = [*prepared.rows, *prepared.held_out][accelerator.process_index :: accelerator.num_processes]
    hearing.fill(share, progress)
    accelerator.wait_for_everyone()
    add_lora(thinker, recipe.lora, dtype, recipe.seed)
    if recipe.checkpointing:
        recompute(thinker)
    factors = lora_parameters(thinker)
    run = Run(
        recipe,
        prepared,
        Order(prepared.rows, recipe.batch, recipe.seed),
        hearing,
        accelerator.prepare(AnswerLoss(thinker, tokenizer.audio_pad, recipe.kl)),
        list(factors.values()),
        make_optimizer(list(factors.values()), recipe, device),
        accelerator,
        steps_of(recipe, len(prepared.rows)),
    )
    record = AdapterRecord(
        base=model.name,
        fingerprint=shards.fingerprint(),
        quantize=recipe.quantize,
        leaks=any(report.leaks for report in prepared.guard),
        guard=[report.to_dict() for report in prepared.guard],
        recipe=recipe.model_dump(),
        data={"file": data.name, "digest": prepared.digest, **statistics(prepared.rows)},
        versions=versions(),
    )
    standing = Standing()
    if resume and (out / STATE).is_file():
        standing = load_state(out / STATE, recipe, record, factors, run.optimizer)
    metrics = Metrics(out, standing.step) if accelerator.is_main_process else None

    def keep() -> None:
        if accelerator.is_main_process:
            save_state(out / STATE, recipe, record, factors, run.optimizer, standing)

    def export() -> None:
        if accelerator.is_main_process:
            stamp = datetime.now(UTC).isoformat(timespec="seconds")
            made = {"step": standing.step, "loss": standing.best, "created": stamp, "finished": False}
            save_adapter(thinker, recipe.lora, out, record.model_copy(update=made))

    with contextlib.closing(metrics) if metrics else contextlib.nullcontext():
        finished = _steps(run, standing, metrics, progress, keep, export)
    if finished:
        if standing.best is None:
            export()
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            made = AdapterRecord.model_validate_json((out / RECORD).read_bytes())
            made.finished = True
            write_atomic(out / RECORD, made.model_dump_json(indent=2) + "\n")
            (out / STATE).unlink(missing_ok=True)
    return Trained(
        out,
        finished,
        standing.step,
        standing.best_step if standing.best is not None else standing.step,
        standing.loss,
        standing.best,
        finished and standing.step < run.steps,
        len(prepared.too_long),
        record.leaks,
    )


def _steps(
    run: Run,
    standing: Standing,
    metrics: Metrics | None,
    progress: Progress,
    keep: Callable[[], None],
    export: Callable[[], None],
) -> bool:
    """Step until the end, an early stop or a request to stop; True unless it was a request."""
    recipe = run.recipe
    every = recipe.evaluate_every or run.order.steps
    progress.phase("train", run.steps)
    saved = time.monotonic()
    while standing.step < run.steps:
        if _asked(run, progress):
            keep()
            return False
        began = time.monotonic()
        rate = learning_rate(recipe, standing.step, run.steps)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss, norm, tokens = learn(run, standing.step)
        except ArithmeticError as error:
            if all(bool(p.isfinite().all()) for p in run.parameters):
                keep()
            raise EngineError(
                f"The {error} of step {standing.step + 1} is not a number, so training stopped before it"
                " could spoil the weights.",
                "The last good state is kept: resume with a lower learning rate, or look at the data.",
            ) from error
        standing.step += 1
        standing.loss = loss
        if metrics is not None:
            values = metrics.step(standing.step, loss, norm, rate, tokens, time.monotonic() - began)
            progress.metrics(standing.step, **values)
        progress.done(standing.step, f"loss {loss:.4f}")
        if run.prepared.held_out and (standing.step % every == 0 or standing.step == run.steps):
            value = _measure(run)
            if metrics is not None:
                metrics.held_out(standing.step, value)
                progress.metrics(standing.step, held_out_loss=value)
            if standing.improved(value):
                export()
            elif recipe.patience and standing.worse >= recipe.patience:
                return True
        if time.monotonic() - saved >= recipe.save_minutes * 60 and standing.step < run.steps:
            keep()
            saved = time.monotonic()
    return True


def learn(run: Run, step: int) -> tuple[float, float, int]:
    """One optimiser step: loss per answer token, the gradient's norm, tokens read (all processes).

    Raises:
        ArithmeticError: if loss or gradient is not finite; nothing was changed.
    """
    import torch

    accelerator = run.accelerator
    rows = run.prepared.rows
    indices = run.order[step]
    weight = sum(rows[index].weight * rows[index].targets for index in indices)
    mine = indices[accelerator.process_index :: accelerator.num_processes]
    parts = micro_batches(rows, mine or indices[:1], run.recipe.part_tokens)
    run.module.train()
    run.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        # processes may have different numbers of parts; gradients are exchanged once, after the last
        with contextlib.nullcontext() if last else accelerator.no_sync(run.module):
            summed = run.module(_batch(run, [rows[index] for index in part])) * bool(mine)
            loss = summed * (accelerator.num_processes / weight)  # exchanging takes the mean over processes
            loss.backward()
        total += summed.detach()
    value = float(accelerator.reduce(total, "sum")) / weight
    if not math.isfinite(value):
        raise ArithmeticError("loss")
    norm = float(torch.nn.utils.clip_grad_norm_(run.parameters, run.recipe.clip))
    if not math.isfinite(norm):
        raise ArithmeticError("gradient")
    run.optimizer.step()
    return value, norm, sum(len(rows[index].ids) for index in indices)


def _measure(run: Run) -> float:
    """Loss per answer token on the held-out rows, weighted as in training."""
    import torch

    accelerator = run.accelerator
    rows = run.prepared.held_out
    mine = range(accelerator.process_index, len(rows), accelerator.num_processes)
    total = torch.zeros((), device=accelerator.device)
    module = accelerator.unwrap_model(run.module).eval()
    with torch.no_grad():
        for part in micro_batches(rows, list(mine), run.recipe.part_tokens):
            total += module(_batch(run, [rows[index] for index in part]))
    weight = sum(row.weight * row.targets for row in rows)
    return float(accelerator.reduce(total, "sum")) / weight


def _batch(run: Run, rows: Sequence[Row]) -> Any:
    from audioreason.train.forward import collate

    hidden = run.accelerator.unwrap_model(run.module).model.config.text_config.hidden_size
    return collate(rows, [run.hearing.get(row) for row in rows], hidden).to(run.accelerator.device)


def recompute(model: Any) -> None:
    """Turn gradient checkpointing on: keep each layer's input alone, and compute it again in the backward."""
    from audioreason.engines.experts import adapted_layers

    model.model.gradient_checkpointing_enable({"use_reentrant": False})
    for _, experts in adapted_layers(model):
        experts.checkpointed = True


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine that ends at `final` times the peak; `step` counts from 0."""
    warmup = max(1, round(recipe.warmup * steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return recipe.learning_rate * min(1.0, (step + 1) / warmup) * (recipe.final + (1 - recipe.final) * cosine)


def make_optimizer(parameters: list[Any], recipe: Recipe, device: str) -> torch.optim.Optimizer:
    """8-bit AdamW whose state may leave a full GPU, or plain AdamW on a CPU."""
    import torch

    if device == "cpu":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    try:
        import bitsandbytes
    except ImportError as error:
        raise EngineError(
            "Training on a GPU needs bitsandbytes, which is not installed.",
            'Install it with: pip install "audioreason[train]"',
        ) from error
    paged: Any = vars(bitsandbytes.optim)["PagedAdamW8bit"]  # not declared as exported
    optimizer: torch.optim.Optimizer = paged(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return optimizer


def _dtype(recipe: Recipe, device: str) -> str:
    if recipe.dtype != "auto":
        return recipe.dtype
    return "float32" if device == "cpu" else "bfloat16"


def _asked(run: Run, progress: Progress) -> bool:
    """Whether a stop was asked for; every process learns it at the same step."""
    import torch

    if run.accelerator.num_processes == 1:
        return progress.should_stop()
    flag = torch.tensor(float(progress.should_stop()), device=run.accelerator.device)
    return bool(run.accelerator.reduce(flag, "sum") > 0)


def _claim(out: Path, resume: bool) -> None:
    """See that `out` is new, or holds a run to resume.

    Raises:
        EngineError: if it holds something else.
    """
    if not resume and out.exists() and any(out.iterdir()):
        raise EngineError(
            f"There is something in {out} already.",
            "Resume it, or give another name; nothing was changed.",
        )
    if resume and (record := read_record(out)) is not None and record.finished:
        raise EngineError(f"The training in {out} is finished.", "Give another name to train again.")
