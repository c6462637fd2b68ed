"""Commands about runs: runs (list, tag, archive, restore, delete), score, show, import, export."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

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
from audioreason.errors import RunError, WorkspaceError
from audioreason.wording import counted
from audioreason.workspace import Workspace

runs_app = typer.Typer(
    help="List the runs of the workspace with their accuracy; give them tags.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
Limit = Annotated[int, typer.Option("--limit", min=0, help="Only the newest so many (0: all).")]
Archived = Annotated[bool, typer.Option("--archived", help="The archived runs instead.")]
RunIds = Annotated[list[str], typer.Argument(help="Ids of runs, as `audioreason runs` lists them.")]
RunId = Annotated[str, typer.Argument(help="The run's id, as `audioreason runs` lists it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.add_typer(runs_app, name="runs")
    app.command("score")(score)
    app.command("show")(show)
    app.command("import")(import_run)
    app.command("export")(export)
    runs_app.command("list")(list_runs)
    for name, command in (("show", show), ("score", score), ("export", export)):
        runs_app.command(name, hidden=True)(command)  # where somebody looks who knows `jobs show`


@runs_app.callback()
def runs(
    context: typer.Context,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    limit: Limit = 0,
    archived: Archived = False,
    json: Json = False,
) -> None:
    """List the runs of the workspace with their accuracy and tags."""
    if context.invoked_subcommand is None:
        list_runs(tag, limit, archived, json)


def list_runs(
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    limit: Limit = 0,
    archived: Archived = False,
    json: Json = False,
) -> None:
    """The same as `audioreason runs` alone."""
    from audioreason.review import Annotations
    from audioreason.runs import Catalog, archived_runs, records

    workspace = Workspace.open()
    if archived:
        names = archived_runs(workspace)
        either(json, names, lambda: emit_table(("archived run",), [(name,) for name in names]))
        return
    catalog, tags = Catalog(workspace), Annotations(workspace).run_tags()
    rows = [row | {"tags": list(tags.get(row["run_id"], ()))} for row in records(catalog.runs())]
    rows = [row for row in rows if tag is None or tag in row["tags"]]
    rows = rows[:limit] if limit else rows

    def table() -> None:
        if not rows and tag is not None:
            remark(f"No run has the tag {tag!r}. Give it with: audioreason runs tag RUN {tag}")
            return
        if not rows:
            remark("No runs yet. Try: audioreason eval --dataset soundcheck --prompt structured-reasoning")
            return
        unrated = ("unrated",) if any(row["unrated"] for row in rows) else ()
        emit_table(
            (
                "run",
                "dataset",
                "split",
                "prompt",
                "model",
                "n",
                "answered",
                *unrated,
                "strict",
                "95%",
                "official",
                "status",
                "tags",
            ),
            [
                (
                    *(row[name] for name in ("run_id", "dataset")),
                    row["split"] or "full",
                    *(row[name] for name in ("prompt", "model", "n", "answered", *unrated)),
                    percent(row["strict"]),
                    interval(_bounds(row)),
                    percent(row["official"]),
                    row["status"],
                    ", ".join(row["tags"]),
                )
                for row in rows
            ],
            right=("n", "answered", *unrated, "strict", "95%", "official"),
        )

    either(json, rows, table)
    for problem in catalog.problems():
        remark(f"! {problem}")


@runs_app.command("archive")
def archive(runs: RunIds) -> None:
    """Move runs out of every list; `runs restore` brings them back."""
    from audioreason.runs import archive_runs

    workspace = Workspace.open()
    _say_references(workspace, runs)
    archive_runs(workspace, runs)
    remark(f"{counted(len(set(runs)), 'run')} archived. Back with: audioreason runs restore {' '.join(runs)}")


@runs_app.command("restore")
def restore(runs: RunIds) -> None:
    """Bring archived runs back into the lists."""
    from audioreason.runs import restore_runs

    restore_runs(Workspace.open(), runs)
    remark(f"{counted(len(set(runs)), 'run')} restored.")


@runs_app.command("delete")
def delete(
    runs: RunIds, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete runs, archived or not, for good; asks first."""
    from audioreason.runs import delete_runs

    workspace = Workspace.open()
    _say_references(workspace, runs)
    if not yes:
        if not sys.stdin.isatty():
            raise RunError("Deleting asks first, and nobody can answer here.", "Confirm with --yes.")
        typer.confirm(f"Delete {counted(len(set(runs)), 'run')} for good?", abort=True, err=True)
    delete_runs(workspace, runs)
    remark(f"{counted(len(set(runs)), 'run')} deleted.")


def _say_references(workspace: Workspace, runs: list[str]) -> None:
    from audioreason.runs import references

    for sentence in references(workspace, runs):
        remark(f"! {sentence}")


@runs_app.command("tag")
def tag_run(
    run: RunId,
    tag: Annotated[str, typer.Argument(help="Such as paper or draft; any words will do.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
) -> None:
    """Give a run a tag that finds it again, or take one away."""
    from audioreason.review import Annotations
    from audioreason.runs import load_record

    workspace = Workspace.open()
    book = Annotations(workspace, actor="command line")
    if not remove:
        load_record(workspace, run)  # a typo must not become a tag
    elif tag not in book.run_tags().get(run, ()):
        raise RunError(f"The run {run} has no tag {tag!r}.", "See: audioreason runs")
    book.tag_run(run, tag, not remove)
    remark(f"{run}: {', '.join(book.run_tags().get(run, ())) or 'no tags'}")


def score(
    run: RunId,
    split: Annotated[str | None, typer.Option(help="Only this part of its items, e.g. sealed.")] = None,
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="List the replies in which no choice could be read.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(help="Let a language model read those replies: base URL or a saved endpoint's name."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name at the judge (default: its first).")] = None,
    json: Json = False,
) -> None:
    """Score a run again from its stored answers: strict, official, and by group.

    With --judge a language model reads the replies in which no choice could be read. What it read is counted
    apart and changes neither score.
    """
    from audioreason.runs import judged_report, score_report

    workspace = Workspace.open()
    if model is not None and judge is None:
        raise RunError("--model names the judge's model, and no judge is given.", "Add --judge URL.")
    missing = 0 if judge is None else _judge(workspace, run, split, judge, model, json)
    if unresolved:
        _print_unread(workspace, run, split, json)
    else:
        report = score_report(workspace, run, split=split)
        report["judged"] = judged_report(workspace, run, split)
        either(json, report, lambda: print_report(report))
    if missing:
        remark(f"{counted(missing, 'reply', 'replies')} not judged yet; the same command asks again.")
        raise typer.Exit(1)


def _judge(
    workspace: Workspace, run: str, split: str | None, judge: str, model: str | None, json: bool
) -> int:
    """Have the judge read what is unread; returns how many replies it has not read."""
    from audioreason.cli.evaluating import endpoint_for
    from audioreason.runs import judge_unread, unread

    if not unread(workspace, run, split):
        remark(f"A choice was read in every answered reply of {run}; there is nothing to judge.")
        return 0
    with endpoint_for(workspace, judge, model) as endpoint:
        if not endpoint.local:
            remark(f"Questions, choices and replies go to {endpoint.root_url}.")
        with terminal_progress(json) as progress:
            _, missing = judge_unread(workspace, run, endpoint, split=split, progress=progress)
    return missing


def _print_unread(workspace: Workspace, run: str, split: str | None, json: bool) -> None:
    from audioreason.runs import judged, load_record, unread

    record = load_record(workspace, run)
    readings = {(one.item_id, one.sample): one for one in judged(workspace, run)}
    rows = [
        asdict(one)
        | {
            "judge": reading.judge if reading else None,
            "judged_choice": reading.choice if reading else None,
        }
        for one in unread(workspace, run, split)
        for reading in (readings.get((one.item_id, one.sample)),)
    ]
    several = record.samples > 1

    def show_rows() -> None:
        if not rows:
            remark(f"A choice was read in every answered reply of {run}.")
            return
        heads = (
            "item",
            *(("sample",) if several else ()),
            "reason",
            *(("judge",) if readings else ()),
            "last words",
        )
        emit_table(
            heads,
            [
                (
                    row["item_id"],
                    *((row["sample"],) if several else ()),
                    row["reason"],
                    *((_judged_letter(row),) if readings else ()),
                    plain(row["last_words"]),
                )
                for row in rows
            ],
        )

    either(json, rows, show_rows)


def _judged_letter(row: dict[str, Any]) -> str:
    if row["judge"] is None:
        return ""
    return "none" if row["judged_choice"] is None else chr(ord("A") + row["judged_choice"])


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
    file: Annotated[
        Path,
        typer.Argument(
            help="Predictions as JSON, JSONL or CSV (id and answer_prediction, or MMAU's names),"
            " an Inspect log, or lmms-eval's samples."
        ),
    ],
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
    either(json, report, lambda: print_report(report))


def export(
    run: RunId,
    format: Annotated[
        Literal["mmar", "csv", "parquet", "inspect"],
        typer.Option(help="mmar is the challenge's JSONL, inspect a log for `inspect view`."),
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write (default: RUN with a suffix).")
    ] = None,
    excel: Annotated[
        bool,
        typer.Option(
            "--excel", help="Begin the CSV with a byte order mark (BOM), so that Excel shows accents."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write a run's predictions for other tools, or as an MMAR submission."""
    from audioreason.runs import export_run

    if excel and format != "csv":
        raise typer.BadParameter("It is for --format csv.", param_hint="--excel")
    suffix = {"mmar": "jsonl", "inspect": "json"}.get(format, format)
    path = output or Path(f"{run}.{suffix}")
    try:
        count = export_run(Workspace.open(), run, format, path, excel=excel)
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be written ({error.strerror or error}).", "Choose another place with -o."
        ) from error
    remark(f"{counted(count, 'prediction')} written to {path}.")
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


def print_report(report: dict[str, Any]) -> None:
    """Print a run's report for people: both scores, then by group."""
    strict, official = report["strict"], report["official"]
    model = f" by {report['model']}" if report["model"] else ""
    remark(f"{report['run']}: {report['answered']} of {report['n']} answered{model}")
    if report["reveals"]:
        remark(f"! The prompt told the model each item's {' and '.join(report['reveals'])}.")
    if report["unrated"]:
        remark(
            f"Unrated: {counted(report['unrated'], 'answered item')}, whose gold answer is none of the"
            f" choices. No accuracy below counts them. See: audioreason data check {report['dataset']}"
        )
    emit_table(
        ("score", "correct", "accuracy", "95%"),
        [
            (name, f"{side['correct']:.6g}", percent(side["accuracy"]), interval(side["ci95"]))
            for name, side in (("strict", strict), ("official", official))
        ],
        right=("correct", "accuracy", "95%"),
    )
    for side in report.get("judged", ()):
        remark(
            f"Judge {side['judge']}: {side['read']} of"
            f" {counted(side['unread'], 'unread reply', 'unread replies')} read, {side['correct']} right;"
            f" {side['none']} without an answer. Not in the accuracy above; with them strict would be"
            f" {percent(side['accuracy_with_judge'])}."
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
    for failure in report["failures"]:
        number = counted(failure["count"], "prediction")
        remark(f"\n{number} without an answer ({failure['kind']}). The first: {plain(failure['first'])}")
    if report["failures"]:
        remark(f"Ask again with: audioreason eval --run-id {report['run']} --resume")
    if report["disagreements"]:
        remark(
            f"\nstrict and official disagree on {counted(len(report['disagreements']), 'item')}"
            " (--json lists them)."
        )


def _tokens(count: int | None, estimated: bool) -> str:
    """How long an answer was; "about" where the server counted it together with others."""
    return "" if count is None else f", {'about ' if estimated else ''}{count:,} tokens"


def _print_predictions(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"sample {row['sample']}: {row['outcome']}, choice {row['choice_text']!r} by rule {row['rule']}"
            + _tokens(row["completion_tokens"], row["tokens_estimated"])
        )
        if row.get("reasoning"):
            print(f"\n<think>\n{plain(row['reasoning'])}\n</think>")
        print(f"\n{plain(row.get('content') or '')}\n")
        if row.get("error"):
            print(plain(row["error"]))
