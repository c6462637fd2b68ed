"""The command `optimize`: search for a better prompt, and list and show searches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from audioreason.cli.output import Json, either, emit_json, emit_table, percent, remark, terminal_progress
from audioreason.wording import counted
from audioreason.workspace import Workspace

app = typer.Typer(
    help="Search for a better prompt with MIPROv2 or GEPA; list and show searches.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def optimize(
    context: typer.Context,
    optimizer: Annotated[Literal["mipro", "gepa"] | None, typer.Option(help="MIPROv2 or GEPA.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The seed: a prompt's name or file.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Whose items are asked about.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with any of the settings.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Task model: a saved endpoint, URL or embedded.")
    ] = None,
    proposer: Annotated[
        str | None, typer.Option(help="Who writes prompts: same, a saved endpoint, a URL, or embedded.")
    ] = None,
    proposer_model: Annotated[
        str | None, typer.Option(help="Its name there, or a model folder for the embedded engine.")
    ] = None,
    level: Annotated[Literal["light", "medium", "heavy", "own"] | None, typer.Option(help="Effort.")] = None,
    budget_requests: Annotated[int | None, typer.Option(min=1, help="End after these requests.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help="End after these tokens.")] = None,
    budget_minutes: Annotated[float | None, typer.Option(help="End after these minutes.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new prompt.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Id of the search (default: made up).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search --id.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would ask.")] = False,
    json: Json = False,
) -> None:
    """Search for a better prompt; Ctrl-C keeps the best so far, --resume goes on without a repeated request.

    Every setting of `--config FILE` is one of those that `audioreason jobs kinds optimize` lists.
    """
    if context.invoked_subcommand is not None:
        return
    given = {
        "optimizer": optimizer, "prompt": prompt, "dataset": dataset, "endpoint": endpoint,
        "proposer": proposer, "proposer_model": proposer_model, "level": level, "name": name,
        "budget_requests": budget_requests, "budget_tokens": budget_tokens,
        "budget_minutes": budget_minutes,
    }  # fmt: skip
    settings = {key: value for key, value in given.items() if value is not None}
    _run(Workspace.open(), settings, config, id, resume, plan, json)


def _run(
    workspace: Workspace,
    settings: dict[str, Any],
    file: Path | None,
    search_id: str | None,
    resume: bool,
    plan_only: bool,
    json: bool,
) -> None:
    from audioreason.errors import OptimizeError
    from audioreason.items import load_dataset
    from audioreason.jobs.kinds.optimize import plan, search
    from audioreason.jobs.live import StoppedEarly
    from audioreason.optimize.config import make_config, read_config
    from audioreason.optimize.record import read_optimization
    from audioreason.prompts import load_prompt
    from audioreason.runs import new_run_id

    if resume:
        if search_id is None:
            raise OptimizeError("To resume, the search must be named.", "Give its id with --id.")
        spec = read_optimization(workspace, search_id).config
    else:
        before = read_config(file).model_dump() if file is not None else {}
        spec = make_config({**before, **settings})
    found = plan(spec, workspace)
    if plan_only:
        either(json, found.to_dict(), lambda: _say(found.notes))
        return
    if not json:
        _say(found.notes)
    search_id = search_id or new_run_id(f"{spec.optimizer}-{Path(spec.prompt).stem}")
    dataset = load_dataset(workspace, spec.dataset)
    seed = load_prompt(spec.prompt, [workspace.prompts])
    try:
        with terminal_progress(json) as progress:
            done = search(workspace, spec, dataset, seed, search_id, resume, progress)
    except StoppedEarly as stopped:
        remark(str(stopped))
        raise typer.Exit(130) from stopped
    either(json, _plain(done), lambda: _show(done))
    if done.standing == "stopped":
        remark(f"Stopped; the best so far is kept. Go on with: audioreason optimize --id {done.id} --resume")
        raise typer.Exit(130)


@app.command("list")
def list_searches(json: Json = False) -> None:
    """Every search of the workspace, newest first."""
    from audioreason.optimize.record import list_optimizations

    found = list_optimizations(Workspace.open())
    rows = [
        (
            one.id, one.optimizer, one.prompt, one.dataset, one.standing, percent(one.best_score),
            "" if one.result is None or one.result.test is None else percent(one.result.test),
        )
        for one in found
    ]  # fmt: skip
    columns = ("search", "by", "seed", "dataset", "standing", "best on dev", "test")
    values = [
        {
            "id": one.id, "optimizer": one.optimizer, "prompt": one.prompt, "dataset": one.dataset,
            "standing": one.standing, "best_score": one.best_score, "began": one.began,
            "spent": one.spent.model_dump(),
            "result": None if one.result is None else one.result.model_dump(mode="json"),
        }
        for one in found
    ]  # fmt: skip
    either(json, values, lambda: emit_table(columns, rows, right=("best on dev", "test")))


@app.command("show")
def show(search: Annotated[str, typer.Argument(help="Id of the search.")], json: Json = False) -> None:
    """What a search tried, and what came out."""
    from audioreason.optimize.record import read_optimization

    found = read_optimization(Workspace.open(), search)
    if json:
        emit_json(_plain(found))
    else:
        _show(found)


def _show(found: Any) -> None:
    rows = [
        (one.n, one.kind, one.candidate, len(one.items), percent(one.score), percent(one.best_so_far))
        for one in found.trials
    ]
    emit_table(("trial", "kind", "candidate", "items", "score", "best"), rows, right=("score", "best"))
    spent = found.state.spent
    remark(
        f"{found.id} is {found.standing}: {counted(len(found.candidates), 'candidate')},"
        f" {counted(spent.requests, 'request')} to the task model,"
        f" {spent.proposer_requests:,} to the proposer, {spent.tokens:,} tokens."
    )
    if found.state.error:
        remark(found.state.error)
    result = found.state.result
    if result is None:
        return
    remark(
        f"Prompt {result.prompt}: dev {percent(result.dev)} (seed {percent(result.seed_dev)}). {result.note}"
    )
    if result.difference is not None:
        remark(
            f"Test: {percent(result.test)}, seed {percent(result.seed_test)}."
            f" {result.difference.verdict} (runs {result.seed_run}, {result.test_run})"
        )
    if result.unseen is not None:
        remark(f"On the {result.unseen.n} test items that the search never saw: {result.unseen.verdict}")


def _plain(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "id": found.id,
        "standing": found.standing,
        "config": found.config.model_dump(mode="json"),
        "splits": {name: list(ids) for name, ids in found.splits.items()},
        "candidates": [asdict(one) for one in found.candidates],
        "trials": [asdict(one) for one in found.trials],
        "state": found.state.model_dump(mode="json"),
    }


def _say(notes: Any) -> None:
    for note in notes:
        remark(note)
