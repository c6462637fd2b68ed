"""Commands about runs: eval, runs, score, show, import, export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audioreason.cli.output import Json, either, emit_table, interval, percent, remark, terminal_progress
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint

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
def endpoint_for(workspace: Workspace, url: str | None, model: str | None) -> Iterator[Endpoint]:
    """The endpoint a command talks to: `url`, else the workspace's default, else the embedded model.

    The embedded model's engine is started for the block and stopped after it.
    """
    from audioreason.inference.endpoint import Endpoint, default_endpoint

    stored = default_endpoint(workspace)
    if url:
        yield Endpoint(name=model or "endpoint", base_url=url, model=model or "")
    elif stored is not None:
        yield stored.model_copy(update={"model": model}) if model else stored
    else:
        from audioreason.engines.launch import start_engine

        remark("No endpoint is set: starting the embedded Pocket Listener for this command.")
        with start_engine(allowed_media=[workspace.root]) as endpoint:
            yield endpoint


def evaluate(
    dataset: Annotated[str, typer.Option(help="Dataset to ask about.")] = "soundcheck",
    prompt: Annotated[str, typer.Option(help="Prompt name, alias or .md file.")] = "structured-reasoning",
    split: Annotated[str, typer.Option(help="explore, sealed, train, dev, test or full.")] = "full",
    endpoint: Annotated[str | None, typer.Option(help="Base URL, e.g. http://127.0.0.1:8000/v1.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model name at the endpoint (default: its first).")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Predictions per item.")] = 1,
    temperature: Annotated[float, typer.Option(min=0)] = 0.1,
    top_p: Annotated[float | None, typer.Option()] = None,
    top_k: Annotated[int | None, typer.Option()] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 10_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests in flight.")] = 64,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N items.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run (default: made from time and prompt).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run named by --run-id.")] = False,
    json: Json = False,
) -> None:
    """Ask a model about every item of a dataset and keep the answers as a run."""
    from audioreason.evaluate import evaluate as run_evaluation
    from audioreason.inference.endpoint import Sampling
    from audioreason.items import load_dataset
    from audioreason.prompts import load_prompt
    from audioreason.runs import score_report

    workspace = Workspace.open()
    data = load_dataset(workspace, dataset)
    template = load_prompt(prompt, [workspace.prompts])
    sampling = Sampling(
        temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens, samples=samples
    )
    with endpoint_for(workspace, endpoint, model) as server, terminal_progress() as progress:
        record = run_evaluation(
            workspace,
            data,
            template,
            server,
            sampling,
            split=None if split == "full" else split,
            limit=limit,
            run_id=run_id,
            resume=resume,
            seed=seed,
            concurrency=concurrency,
            progress=progress,
        )
        stopped = progress.should_stop()
    report = score_report(workspace, record.run_id)
    either(json, report, lambda: _print_report(report))
    if stopped:
        remark(f"Stopped. Continue with: audioreason eval --run-id {record.run_id} --resume")
        raise typer.Exit(130)


def runs(json: Json = False) -> None:
    """List the runs of the workspace with their accuracy."""
    from audioreason.runs import Catalog, records

    catalog = Catalog(Workspace.open())
    frame = catalog.runs()
    columns = (
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
    )

    def table() -> None:
        if frame.empty:
            remark("No runs yet. Try: audioreason eval --dataset soundcheck --prompt structured-reasoning")
            return
        emit_table(
            columns,
            (
                (
                    row.run_id,
                    row.dataset,
                    row.split or "full",
                    row.prompt,
                    row.model,
                    row.n,
                    row.answered,
                    percent(row.strict),
                    interval((row.strict_low, row.strict_high)),
                    percent(row.official),
                    row.status,
                )
                for row in frame.itertuples()
            ),
            right=("n", "answered", "strict", "official"),
        )

    either(json, records(frame), table)
    for problem in catalog.problems():
        remark(f"! {problem}")


def score(run: RunId, split: Annotated[str | None, typer.Option()] = None, json: Json = False) -> None:
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
    format: Annotated[str, typer.Option(help="mmar, csv or parquet.")] = "csv",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write.")] = None,
) -> None:
    """Write a run's predictions for other tools, or as an MMAR submission."""
    from audioreason.runs import export_run

    path = output or Path(f"{run}.{'jsonl' if format == 'mmar' else format}")
    count = export_run(Workspace.open(), run, format, path)
    remark(f"{count} predictions written to {path}.")


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
        right=("correct", "accuracy"),
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
            print(f"\n<think>\n{row['reasoning']}\n</think>")
        print(f"\n{row.get('content') or ''}\n")
