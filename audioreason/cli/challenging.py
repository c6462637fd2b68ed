"""Commands for the challenge: submit write|check, rubrics rate|show|hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioreason.cli.output import (
    Json,
    either,
    emit_json,
    emit_table,
    interval,
    percent,
    remark,
    terminal_progress,
)
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.challenge import Checked, ProcessScore

submit = typer.Typer(help="MMAR's submission: write, check.", no_args_is_help=True, rich_markup_mode=None)
rubrics = typer.Typer(
    help="The process score: how well right answers were reasoned.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_PROBLEMS = 20  # shown one by one

RunId = Annotated[str, typer.Argument(help="The run's id, as `audioreason runs` lists it.")]


@submit.command("write")
def write(
    run: RunId,
    out: Annotated[Path, typer.Option(help="File to write, .jsonl or .zip.")] = Path("submission.zip"),
    sample: Annotated[
        int | None,
        typer.Option(min=0, help="Which sample of each item, from 0; needed if there are several."),
    ] = None,
    shorten: Annotated[
        bool,
        typer.Option("--shorten", help="Cut the middle out of reasoning of 10,000 characters or more."),
    ] = False,
    name: Annotated[
        str, typer.Option(help="Name of the file in the zip: result.jsonl or prediction.jsonl.")
    ] = "result.jsonl",
    json: Json = False,
) -> None:
    """Write a run as a submission, if it is a valid one."""
    from audioreason.challenge import FILE_NAMES, write_submission
    from audioreason.items import load_dataset
    from audioreason.runs import load_record

    workspace = Workspace.open()
    dataset = load_dataset(workspace, load_record(workspace, run).dataset.name)
    if name not in FILE_NAMES:
        raise typer.BadParameter(f"use one of {', '.join(FILE_NAMES)}", param_hint="--name")
    checked = write_submission(workspace, run, dataset, out, sample, shorten, name)
    _checked(checked, json)
    remark(f"{checked.lines} predictions are in {out}.")


@submit.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A submission, .jsonl or .zip.")],
    dataset: Annotated[str, typer.Option(help="The dataset that it answers.")] = "mmar",
    json: Json = False,
) -> None:
    """Check a submission from anywhere; the exit status is 1 if it would be refused."""
    from audioreason.challenge import check_submission
    from audioreason.items import load_dataset

    checked = check_submission(file, load_dataset(Workspace.open(), dataset))
    _checked(checked, json)
    if not checked.valid:
        raise typer.Exit(1)


@rubrics.command("rate")
def rate(
    run: RunId,
    judge: Annotated[str, typer.Option(help="The judge: base URL or a saved endpoint's name.")],
    model: Annotated[str | None, typer.Option(help="Model name at the judge (default: its first).")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests in flight.")] = 16,
    json: Json = False,
) -> None:
    """Have a language model rate the reasoning of every right answer, five times each; again goes on."""
    from audioreason.challenge import process_score
    from audioreason.challenge import rate as run_rating
    from audioreason.cli.evaluating import endpoint_for

    workspace = Workspace.open()
    with endpoint_for(workspace, judge, model) as endpoint:
        if not endpoint.local:
            remark(f"Questions and reasoning go to {endpoint.root_url}.")
        with terminal_progress(json) as progress:
            name, missing = run_rating(workspace, run, endpoint, concurrency=concurrency, progress=progress)
    if missing:
        remark(f"{missing} ratings are missing; the same command asks for them again.")
    _score(process_score(workspace, run, name), json)
    if missing:
        raise typer.Exit(1)


@rubrics.command("show")
def show(
    run: RunId,
    judge: Annotated[str | None, typer.Option(help="Model name of the judge (default: each).")] = None,
    json: Json = False,
) -> None:
    """The process score of a run, how far the ratings agree, and the judge's bias against ratings by hand."""
    from audioreason.challenge import calibrate, hand_ratings, judges, process_score
    from audioreason.errors import RunError

    workspace = Workspace.open()
    found = [judge] if judge else judges(workspace, run)
    if not found:
        raise RunError(f"No judge has rated {run}.", f"Rate it: audioreason rubrics rate {run} --judge URL")
    scores = [process_score(workspace, run, name) for name in found]
    rated = hand_ratings(workspace, run)
    beside = [calibrate(workspace, run, name) if rated else None for name in found]
    if json:
        emit_json(
            [
                score.to_dict() | {"calibration": None if calibration is None else calibration.to_dict()}
                for score, calibration in zip(scores, beside, strict=True)
            ]
        )
        return
    for score, calibration in zip(scores, beside, strict=True):
        _score(score, json)
        if calibration is not None:
            remark(
                f"{calibration.items} answers are rated by hand too: kappa {calibration.kappa:.2f} a point,"
                f" the judge gives {100 * calibration.bias:+.1f} points; without that bias the score is"
                f" {percent(calibration.corrected)} ({interval(calibration.interval)})."
            )


@rubrics.command("hand")
def hand(
    run: RunId,
    item: Annotated[str, typer.Argument(help="The item's id.")],
    points: Annotated[list[int], typer.Argument(help="0 or 1 for each point of the rubric, in order.")],
    rater: Annotated[str, typer.Option(help="Who rates.")] = "hand",
) -> None:
    """Rate an answer by hand, to hold a judge against."""
    from audioreason.challenge import rate_by_hand

    rate_by_hand(Workspace.open(), run, item, points, rater)
    remark(f"{item}: {sum(points)} of {len(points)} points by {rater}.")


def _checked(checked: Checked, json: bool) -> None:
    def table() -> None:
        for problem in checked.problems[:_PROBLEMS]:
            remark(f"{problem.level}, {problem.where}: {problem.sentence}")
        if len(checked.problems) > _PROBLEMS:
            remark(f"... and {len(checked.problems) - _PROBLEMS:,} more; --json lists them.")
        emit_table(
            ("lines", "items", "official", "strict", "valid"),
            [
                (
                    checked.lines,
                    checked.items,
                    percent(checked.official),
                    percent(checked.strict),
                    "yes" if checked.valid else "no",
                )
            ],
        )

    either(json, checked.to_dict(), table)


def _score(score: ProcessScore, json: bool) -> None:
    def table() -> None:
        emit_table(
            (
                "judge",
                "items",
                "right",
                "rated",
                "process score",
                "95%",
                "of right",
                "leaderboard's way",
                "alpha",
            ),
            [
                (
                    score.judge,
                    score.items,
                    score.right,
                    score.rated,
                    percent(score.score),
                    interval(score.interval),
                    percent(score.of_right),
                    percent(score.by_round),
                    f"{score.agreement:.2f}",
                )
            ],
        )
        emit_table(
            ("subcategory", "items", "process score"),
            [(name, count, percent(value)) for name, (count, value) in score.by_subcategory.items()],
            right=("items", "process score"),
        )

    either(json, score.to_dict(), table)
