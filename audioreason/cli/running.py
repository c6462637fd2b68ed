"""Commands about runs: eval, runs, score, show, import, export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from audioreason.cli.output import (
    Json,
    either,
    emit_json,
    emit_table,
    interval,
    percent,
    plain,
    remark,
    terminal_progress,
)
from audioreason.errors import EndpointError, WorkspaceError
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint, Sampling
    from audioreason.prompts import Prompt
    from audioreason.runs import EndpointRef, PromptRef, RunRecord

RunId = Annotated[str, typer.Argument(help="The run's id, as `audioreason runs` lists it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command("eval")(evaluate)
    app.command("runs")(runs)
    app.command("score")(score)
    app.command("show")(show)
    app.command("import")(import_run)
    app.command("export")(export)


@contextmanager
def endpoint_for(
    workspace: Workspace, where: str | None, model: str | None, earlier: EndpointRef | None = None
) -> Iterator[Endpoint]:
    """The endpoint a command talks to: `where` (a URL or a saved name), else who answered `earlier`, else the
    workspace's default, else the embedded model, whose engine is started for the block and stopped after it.

    Raises:
        EndpointError: if the URL is none, or a model is asked for that nobody was named to serve.
    """
    from audioreason.engines.launch import pocket_folder, start_engine

    found = _find_endpoint(workspace, where, earlier)
    if found is not None:
        yield found.model_copy(update={"model": model}) if model else found
        return
    if model not in (None, pocket_folder().name):
        raise EndpointError(
            f"No endpoint is set that could serve the model {model}.", "Name one with --endpoint URL."
        )
    remark("No endpoint is set: starting the embedded Pocket Listener for this command.")
    with start_engine(allowed_media=[workspace.root], say=remark) as endpoint:
        yield endpoint
    remark("The embedded Pocket Listener is stopped.")


def _find_endpoint(workspace: Workspace, where: str | None, earlier: EndpointRef | None) -> Endpoint | None:
    """The endpoint meant; None for the embedded model. A saved one keeps the name of its key's variable."""
    from audioreason.engines.launch import ENGINE_NAME
    from audioreason.inference.endpoint import Endpoint, default_endpoint, load_endpoints, normalise_url

    if where is None and earlier is None:
        return default_endpoint(workspace)
    if where is None and earlier is not None and earlier.name == ENGINE_NAME:
        return None
    saved = load_endpoints(workspace)
    for endpoint in saved:
        if endpoint.name == (where or (earlier.name if earlier else "")):
            return endpoint
    address = normalise_url(where or (earlier.base_url if earlier else ""))
    known = next((endpoint for endpoint in saved if endpoint.base_url == address), None)
    return known or Endpoint(name="endpoint", base_url=address, model=earlier.model if earlier else "")


def evaluate(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Dataset to ask about.")] = "soundcheck",
    prompt: Annotated[str, typer.Option(help="Prompt name, alias or .md file.")] = "structured-reasoning",
    split: Annotated[str, typer.Option(help="explore, sealed, train, dev, test or full.")] = "full",
    endpoint: Annotated[
        str | None, typer.Option(help="Base URL, e.g. http://127.0.0.1:8000/v1, or a saved endpoint's name.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model name at the endpoint (default: its first).")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Predictions per item.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="0 is greedy.")] = 0.1,
    top_p: Annotated[float | None, typer.Option(help="Default: the server's, like those below.")] = None,
    top_k: Annotated[int | None, typer.Option(min=-1)] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    repetition_penalty: Annotated[float | None, typer.Option()] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 10_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests in flight.")] = 64,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N items.")] = None,
    seed: Annotated[int, typer.Option(help="Each seed gives other samples of the same items.")] = 0,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run (default: made from time and prompt).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run named by --run-id, with its settings.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask a model about every item of a dataset and keep the answers as a run."""
    from audioreason.evaluate import evaluate as run_evaluation
    from audioreason.items import load_dataset
    from audioreason.items.splits import split_items
    from audioreason.prompts import load_prompt
    from audioreason.runs import load_record, score_report

    workspace = Workspace.open()
    if resume and run_id is None:
        raise typer.BadParameter("Name the run with --run-id.", param_hint="--resume")
    stored = load_record(workspace, run_id) if resume and run_id else None
    given = _settings(context, stored)
    if stored is not None and stored.prompt is not None and not _typed(context, "prompt"):
        template = _prompt_of(stored.prompt)
    else:
        template = load_prompt(prompt, [workspace.prompts])
    sampling = _sampling(given)
    data = load_dataset(workspace, given["dataset"])
    split_items(data, given["split"])  # an engine takes seconds to start: a wrong name should not wait for it
    earlier = stored.endpoint if stored else None
    with endpoint_for(workspace, endpoint, model, earlier) as server, terminal_progress() as progress:
        record = run_evaluation(
            workspace,
            data,
            template,
            server,
            sampling,
            split=None if given["split"] == "full" else given["split"],
            limit=given["limit"],
            run_id=run_id,
            resume=resume,
            seed=given["seed"],
            concurrency=concurrency,
            progress=progress,
        )
        stopped = progress.should_stop()
    report = score_report(workspace, record.run_id)
    either(json, report, lambda: _print_report(report))
    if stopped:
        remark(f"Stopped. Continue with: audioreason eval --run-id {record.run_id} --resume")
        raise typer.Exit(130)


def _typed(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _settings(context: typer.Context, stored: RunRecord | None) -> dict[str, Any]:
    """The options of `eval`; a run that is resumed gives those that were not typed."""
    if stored is None:
        return dict(context.params)
    recipe: dict[str, Any] = {
        "dataset": stored.dataset.name,
        "split": stored.split or "full",
        "limit": stored.limit,
        "seed": stored.seed,
        **(stored.sampling.model_dump() if stored.sampling else {}),
    }
    return context.params | {name: value for name, value in recipe.items() if not _typed(context, name)}


def _sampling(given: dict[str, Any]) -> Sampling:
    from pydantic import ValidationError

    from audioreason.inference.endpoint import Sampling

    try:
        return Sampling(**{name: given[name] for name in Sampling.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{first['msg']}.", param_hint=f"--{option}") from error


def _prompt_of(stored: PromptRef) -> Prompt:
    """A run's own prompt, whatever has become of its file since."""
    from audioreason.prompts import Prompt

    return Prompt(name=stored.name, system=stored.system, user=stored.user, sections=stored.sections)


def runs(json: Json = False) -> None:
    """List the runs of the workspace with their accuracy."""
    from audioreason.runs import Catalog, records

    catalog = Catalog(Workspace.open())
    rows = records(catalog.runs())

    def table() -> None:
        if not rows:
            remark("No runs yet. Try: audioreason eval --dataset soundcheck --prompt structured-reasoning")
            return
        emit_table(
            (
                "run",
                "dataset",
                "split",
                "prompt",
                "model",
                "n",
                "answered",
                "strict",
                "95%",
                "official",
                "status",
            ),
            [
                (
                    *(row[name] for name in ("run_id", "dataset")),
                    row["split"] or "full",
                    *(row[name] for name in ("prompt", "model", "n", "answered")),
                    percent(row["strict"]),
                    interval(_bounds(row)),
                    percent(row["official"]),
                    row["status"],
                )
                for row in rows
            ],
            right=("n", "answered", "strict", "95%", "official"),
        )

    either(json, rows, table)
    for problem in catalog.problems():
        remark(f"! {problem}")


def score(
    run: RunId,
    split: Annotated[str | None, typer.Option(help="Only this part of its items, e.g. sealed.")] = None,
    json: Json = False,
) -> None:
    """Score a run again from its stored answers: strict, official, and by group."""
    from audioreason.runs import score_report

    report = score_report(Workspace.open(), run, split=split)
    either(json, report, lambda: _print_report(report))


def show(
    run: RunId,
    item: Annotated[
        str | None, typer.Argument(help="An item's id; without it, the recipe of the run.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a run's recipe, or what the model wrote about one item."""
    from audioreason.runs import Catalog, load_record

    workspace = Workspace.open()
    if item is None:
        record = load_record(workspace, run)
        value = record.model_dump(mode="json")
        either(json, value, lambda: emit_table(("key", "value"), _flat(value)))
        return
    rows = Catalog(workspace).item_predictions(run, item)
    either(json, rows, lambda: _print_predictions(rows))


def import_run(
    file: Annotated[Path, typer.Argument(help="Predictions: id, answer_prediction, thinking_prediction.")],
    dataset: Annotated[str, typer.Option(help="The dataset they answer.")],
    run_id: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    json: Json = False,
) -> None:
    """Import predictions made elsewhere as a run."""
    from audioreason.runs import import_predictions, score_report

    workspace = Workspace.open()
    outcome = import_predictions(workspace, file, dataset, run_id)
    for line in outcome.remarks:
        remark(line)
    report = score_report(workspace, outcome.run_id)
    either(json, report, lambda: _print_report(report))


def export(
    run: RunId,
    format: Annotated[
        Literal["mmar", "csv", "parquet"], typer.Option(help="mmar is the challenge's JSONL.")
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write (default: RUN with a suffix).")
    ] = None,
    json: Json = False,
) -> None:
    """Write a run's predictions for other tools, or as an MMAR submission."""
    from audioreason.runs import export_run

    path = output or Path(f"{run}.{'jsonl' if format == 'mmar' else format}")
    try:
        count = export_run(Workspace.open(), run, format, path)
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be written ({error.strerror or error}).", "Choose another place with -o."
        ) from error
    remark(f"{count} predictions written to {path}.")
    if json:
        emit_json({"run": run, "format": format, "path": str(path.resolve()), "predictions": count})


def _bounds(row: dict[str, Any]) -> tuple[float, float] | None:
    """The strict interval of a run; None where nothing is scored yet."""
    low, high = row["strict_low"], row["strict_high"]
    return None if low is None or high is None else (low, high)


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _print_report(report: dict[str, Any]) -> None:
    strict, official = report["strict"], report["official"]
    remark(f"{report['run']}: {report['answered']} of {report['n']} answered")
    emit_table(
        ("score", "correct", "accuracy", "95%"),
        [
            (name, side["correct"], percent(side["accuracy"]), interval(side["ci95"]))
            for name, side in (("strict", strict), ("official", official))
        ],
        right=("correct", "accuracy", "95%"),
    )
    for heading in ("category", "subcategory"):
        groups = report["by"].get(heading, {})
        if groups:
            print()
            emit_table(
                (heading, "n", "strict", "official"),
                [
                    (name, row["n"], percent(row["strict"]), percent(row["official"]))
                    for name, row in groups.items()
                ],
                right=("n", "strict", "official"),
            )
    if report["disagreements"]:
        remark(f"\nstrict and official disagree on {len(report['disagreements'])} items (--json lists them).")


def _print_predictions(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"sample {row['sample']}: {row['outcome']}, choice {row['choice_text']!r} by rule {row['rule']}"
        )
        if row.get("reasoning"):
            print(f"\n<think>\n{plain(row['reasoning'])}\n</think>")
        print(f"\n{plain(row.get('content') or '')}\n")
        if row.get("error"):
            print(plain(row["error"]))
