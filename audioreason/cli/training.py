"""Commands that change models: teach (write a training file), train, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from audioreason.cli.options import settings_of
from audioreason.cli.output import Json, either, emit_json, emit_table, remark, terminal_progress
from audioreason.errors import RunError
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.jobs.kinds.train import TrainSpec
    from audioreason.train.recipe import Trained

Model = Annotated[Path | None, typer.Option(help="Model folder (default: the embedded Pocket Listener).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command("teach")(teach)
    app.command("train")(train)
    app.command("merge")(merge)


def teach(
    dataset: Annotated[str, typer.Argument(help="Dataset whose right answers shall be learned.")],
    prompt: Annotated[str, typer.Option(help="What is asked, a name or a file.")] = "baseline",
    split: Annotated[str | None, typer.Option(help="Only this split of the dataset.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the file (default: the dataset's).")] = None,
) -> None:
    """Write a training file from the gold answers of a dataset: answers without reasoning, to begin with."""
    from audioreason.errors import ItemError
    from audioreason.items import load_dataset
    from audioreason.items.dataset import check_name
    from audioreason.items.guard import check_training
    from audioreason.items.splits import split_items
    from audioreason.prompts import load_prompt
    from audioreason.train.data import gold_examples, write_examples

    workspace = Workspace.open()
    found = load_dataset(workspace, dataset)
    file = check_name(name if name is not None else found.info.name, "a training file")
    path = workspace.root / "training" / f"{file}.jsonl"
    if path.exists():
        raise ItemError(f"There is a training file {path} already.", "Give another with --name.")
    asked = load_prompt(prompt, [workspace.prompts])
    items = split_items(found, split)
    with terminal_progress() as progress:
        report = check_training(found, workspace, items, "they are only looked for", progress)
    taken = {hit.item_id for hit in report.hits}
    examples = gold_examples(found, [i for i in items if i.id not in taken], asked)
    if not examples:
        raise ItemError(
            f"Nothing of {dataset} can be learned: a benchmark has all of its {len(items)} items."
            if taken
            else f"{dataset} has no items" + (f" in its split {split}." if split else "."),
            "Nothing was written.",
        )
    count = write_examples(path, examples)
    left_out = f"; left out, because a benchmark has them: {counted(len(taken), 'item')}" if taken else ""
    remark(f"{counted(count, 'example')} in {path}{left_out}.")


def train(
    data: Annotated[
        str, typer.Argument(help="Training file: a path, or a name in the workspace's training/.")
    ],
    name: Annotated[str, typer.Option(help="Name of the adapter, a new folder in adapters/.")],
    model: Model = None,
    rank: Annotated[int, typer.Option(min=1, max=512, help="LoRA rank.")] = 64,
    alpha: Annotated[float, typer.Option(help="LoRA alpha.")] = 128.0,
    quantize: Annotated[
        Literal["nf4"] | None, typer.Option(help="Hold the frozen experts in 4 bits: 30B fits on one GPU.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs; 0 trains on the CPU.")] = 0,
    epochs: Annotated[float, typer.Option(help="Passes over the examples.")] = 3.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps, instead of epochs.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Examples a step, over all GPUs.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="At its peak.")] = 1e-4,
    held_out: Annotated[float, typer.Option(min=0, max=0.9, help="Share of items only measured.")] = 0.05,
    patience: Annotated[int, typer.Option(min=0, help="Evaluations without a better loss; 0: all.")] = 3,
    longest: Annotated[int, typer.Option(min=16, help="Tokens; longer examples are left out.")] = 4096,
    part_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens computed at once; lower: less memory.")
    ] = 16_384,
    save_minutes: Annotated[float, typer.Option(min=0, help="Minutes between saved states.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Order of the examples and first weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was interrupted.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would take.")] = False,
    override_reason: Annotated[
        str, typer.Option(help="Why training on benchmark items is right; written into the adapter.")
    ] = "",
    json: Json = False,
) -> None:
    """Fine-tune a model with LoRA on answers worth learning; Ctrl-C saves, --resume goes on."""
    from audioreason.items.dataset import check_name
    from audioreason.jobs.kinds.train import TrainSpec

    check_name(name, "an adapter")
    spec = settings_of(
        TrainSpec,
        {
            "data": data, "name": name, "model": str(model) if model else "", "rank": rank, "alpha": alpha,
            "quantize": quantize or "none", "gpus": gpus, "epochs": epochs, "steps": steps, "batch": batch,
            "learning_rate": learning_rate, "held_out": held_out, "patience": patience, "longest": longest,
            "part_tokens": part_tokens, "save_minutes": save_minutes, "seed": seed,
            "override_reason": override_reason,
        },
    )  # fmt: skip
    workspace = Workspace.open()
    if resume and not (workspace.adapters / name).exists():
        raise RunError(f"There is no training {name} to go on with.", "Leave --resume out to begin it.")
    if plan:
        _plan(spec, workspace, json)
        return
    result = _train(spec, workspace, resume, quiet=json)
    if json:
        emit_json({**result.__dict__, "folder": str(result.folder)})
    elif not result.finished:
        remark(f"Stopped after {counted(result.steps, 'step')}; the state is kept. Go on with --resume.")
    else:
        held_out_loss = "" if result.held_out_loss is None else f", held-out loss {result.held_out_loss:.4f}"
        remark(f"The adapter {result.folder} is of step {result.step}{held_out_loss}.")
        if result.too_long:
            remark(f"Left out, being longer than {longest:,} tokens: {counted(result.too_long, 'example')}.")
    if not result.finished:
        raise typer.Exit(130)


def _plan(spec: TrainSpec, workspace: Workspace, json: bool) -> None:
    from audioreason.jobs.kinds.train import KIND

    found = KIND.plan(spec, workspace)
    rows = [(check.state, check.name, check.sentence) for check in found.checks]
    if found.seconds is not None:
        rows.append(("", "time", f"About {found.seconds / 60:,.1f} minutes. {found.basis}"))
    either(json, found.to_dict(), lambda: emit_table(("", "what", "found"), rows))
    if any(check.state == "fail" for check in found.checks):
        raise typer.Exit(1)


def _train(spec: TrainSpec, workspace: Workspace, resume: bool, quiet: bool) -> Trained:
    from audioreason.jobs.kinds.train import data_file, model_folder, recipe
    from audioreason.train.distributed import train_on

    out = workspace.adapters / spec.name
    arguments = (workspace, model_folder(spec.model), data_file(workspace, spec.data), out, recipe(spec))
    reason = spec.override_reason.strip() or None
    with terminal_progress(quiet) as progress:
        return train_on(spec.gpus, *arguments, resume=resume, override_reason=reason, progress=progress)


def merge(
    adapter: Annotated[str, typer.Argument(help="The adapter: its name in adapters/, or its folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder to make (default: models/ADAPTER).")] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Merge an adapter into its model, shard by shard, for vLLM and everything else to serve."""
    from audioreason.jobs.kinds.merge import adapter_folder, model_folder, models_folder
    from audioreason.train.merge import Stopped, proof_of
    from audioreason.train.merge import merge as run

    workspace = Workspace.open()
    folder = adapter_folder(workspace, adapter)
    target = (out or models_folder(workspace) / folder.name).expanduser().resolve()
    try:
        with terminal_progress(json) as progress:
            run(folder, model_folder(str(model) if model else ""), target, progress)
    except Stopped as stopped:
        remark(f"Stopped: {stopped} Call it again to go on.")
        raise typer.Exit(130) from stopped
    proof = proof_of(target)
    either(
        json,
        {"folder": str(target), "proof": proof},
        lambda: remark(f"The merged model is {target}. {proof}".strip()),
    )
