"""Commands that compare: compare, paper, stability, contribution."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from audioreason.cli.output import Json, emit_json, emit_table, interval, percent, plain, remark
from audioreason.errors import WorkspaceError
from audioreason.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.compare import Comparison, Stability
    from audioreason.compare.tables import Format

Latex = Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, fractions at full precision.")]
ScoreName = Annotated[
    Literal["strict", "official"], typer.Option(help="strict, or the published token match.")
]
Split = Annotated[str, typer.Option(help="explore, sealed, train, dev, test or full.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command("compare")(compare)
    app.command("paper")(paper)
    app.command("stability")(stability)
    app.command("contribution")(contribution)


def compare(
    runs: Annotated[list[str], typer.Argument(help="Runs to compare, as `audioreason runs` lists them.")],
    baseline: Annotated[
        str | None, typer.Option(help="The run the others are compared with (default: the first).")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Differences by subcategory, layer, modality, language, difficulty, gold ..."),
    ] = None,
    split: Split = "full",
    score: ScoreName = "strict",
    effect: Annotated[
        float, typer.Option(min=0.1, max=50, help="The difference you want to be able to see, in points.")
    ] = 2.0,
    without_errata: Annotated[
        bool, typer.Option("--without-errata", help="Leave out items marked wrong or ambiguous.")
    ] = False,
    latex: Latex = False,
    markdown: Markdown = False,
    as_csv: Csv = False,
    html: Annotated[
        Path | None, typer.Option(help="Write one self-contained report, with the flips' sound.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(help="Write the chart: .svg, .png or .json (Vega-Lite).")
    ] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed-items", help="Show sealed items in the report too; it is recorded.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare runs with one of them, pair by pair, and say what can be believed."""
    from audioreason.compare import compare as compare_runs
    from audioreason.review import Annotations
    from audioreason.runs import Catalog

    workspace = Workspace.open()
    catalog = Catalog(workspace)
    found = compare_runs(
        catalog,
        Annotations(workspace),
        runs,
        baseline or runs[0],
        score=score,
        split=split,
        without_errata=without_errata,
        effect=effect / 100,
    )
    if by:
        for pair in found.pairs:
            pair.by(by)  # a wrong name is refused before anything is written
    form = _format(json=json, latex=latex, markdown=markdown, csv=as_csv)
    if chart is not None:
        _write_chart(found, chart, by)
    if html is not None:
        from audioreason.compare.html import html_report

        _write(html, html_report(catalog, found, by=by or "subcategory", sealed=sealed))
    if form == "json":
        from audioreason.compare.summary import summary

        emit_json(summary(found, by))
    elif form is not None:
        from audioreason.compare.tables import comparison_as

        print(plain(comparison_as(found, form, by)), end="")
    else:
        _print(found, by)


def paper(
    runs: Annotated[list[str] | None, typer.Argument(help="Own runs on MMAR (default: all).")] = None,
    split: Split = "full",
    score: ScoreName = "strict",
    latex: Latex = False,
    markdown: Markdown = False,
    as_csv: Csv = False,
    json: Json = False,
) -> None:
    """The published table on MMAR, beside your own runs."""
    from audioreason.compare import papers_table
    from audioreason.compare.tables import paper_as
    from audioreason.runs import Catalog, records

    table = papers_table(
        Catalog(Workspace.open()), runs or None, score=score, split=None if split == "full" else split
    )
    form = _format(json=json, latex=latex, markdown=markdown, csv=as_csv)
    if form == "json":
        emit_json(
            {
                "rows": records(table.rows),
                "breakdown": records(table.breakdown),
                "published_changes": records(table.changes),
                "notes": list(table.notes),
            }
        )
    elif form is not None:
        print(plain(paper_as(table, form)), end="")
    else:
        emit_table(
            ("method", "whose", "n", "accuracy", "95%", "published", "remark"),
            [
                (
                    row["method"],
                    row["whose"],
                    row["n"],
                    percent(row["accuracy"]),
                    interval((row["low"], row["high"])),
                    percent(row["published"]) if row["whose"] == "yours" else "",
                    row["remark"],
                )
                for row in records(table.rows)
            ],
            right=("n", "accuracy", "95%", "published"),
        )
        for note in table.notes:
            remark(note)


def stability(
    runs: Annotated[
        list[str], typer.Argument(help="Runs of `eval --permute`; one stands for its whole set.")
    ],
    by: Annotated[str, typer.Option(help="subcategory, layer, modality ...")] = "subcategory",
    split: Split = "full",
    json: Json = False,
) -> None:
    """How steady the choices are when their order changes."""
    from audioreason.compare import choice_stability
    from audioreason.runs import Catalog

    found = choice_stability(Catalog(Workspace.open()), runs, by=by, split=split)
    if json:
        emit_json(stability_value(found))
    else:
        print_stability(found)


def stability_value(found: Stability) -> dict[str, Any]:
    """What `--json` says about steadiness."""
    from audioreason.runs import records

    return {
        "runs": list(found.runs),
        "n": found.n,
        "consistency": found.consistency,
        "ci95": [found.low, found.high],
        "always_right": found.always,
        "positions": records(found.positions),
        "groups": records(found.groups),
    }


def print_stability(found: Stability) -> None:
    """Steadiness for people: over all, by place of the choice, by group."""
    from audioreason.runs import records

    print(
        f"Same choice in {percent(found.consistency)} of pairs of orders"
        f" ({interval((found.low, found.high))}), {found.n:,} items in {len(found.runs)} orders;"
        f" right in every order: {percent(found.always)}.\n"
    )
    emit_table(
        ("place", "chosen", "gold there", "accuracy there"),
        [
            (
                chr(ord("A") + row["position"]),
                percent(row["chosen"]),
                percent(row["gold"]),
                percent(row["accuracy"]),
            )
            for row in records(found.positions)
        ],
        right=("chosen", "gold there", "accuracy there"),
    )
    print()
    emit_table(
        ("group", "n", "same choice", "95%", "always right", ""),
        [
            (
                row["group"],
                row["n"],
                percent(row["consistency"]),
                interval((row["low"], row["high"])),
                percent(row["always"]),
                "few items" if row["small"] else "",
            )
            for row in records(found.groups)
        ],
        right=("n", "same choice", "95%", "always right"),
    )


def contribution(
    run: Annotated[str, typer.Argument(help="A run that heard the clips.")],
    without: Annotated[
        str | None, typer.Option(help="Its twin of `eval --ablate` (default: the newest).")
    ] = None,
    by: Annotated[str, typer.Option(help="subcategory, layer, modality ...")] = "subcategory",
    split: Split = "full",
    score: ScoreName = "strict",
    json: Json = False,
) -> None:
    """What hearing the clips adds: accuracy with them minus without, paired."""
    from audioreason.compare import audio_contribution
    from audioreason.runs import Catalog, records

    found = audio_contribution(Catalog(Workspace.open()), run, without, by=by, score=score, split=split)
    if json:
        emit_json(
            {
                "run": found.run_id,
                "without": found.without,
                "ablation": found.ablation,
                "sentence": found.sentence,
                "difference": asdict(found.pair.difference),
                "by": {by: records(found.table)},
            }
        )
        return
    print(plain(f"{found.sentence}\n{found.pair.verdict}\n"))
    _print_groups(by, found.table)


def _format(**wanted: bool) -> Literal["json"] | Format | None:
    """The one output format asked for; None for people."""
    named = [name for name, on in wanted.items() if on]
    if len(named) > 1:
        raise typer.BadParameter(f"Choose one of --{' and --'.join(named)}.")
    return named[0] if named else None  # type: ignore[return-value]


def _print(found: Comparison, by: str | None) -> None:
    from audioreason.compare.tables import points, span
    from audioreason.runs import records

    pairs = {pair.run_id: pair for pair in found.pairs}
    rows = []
    for row in records(found.leaderboard):
        pair = pairs.get(row["run_id"])
        rows.append(
            (
                row["run_id"],
                row["n"],
                percent(row["accuracy"]),
                interval((row["low"], row["high"])) if row["n"] else "",
                points(pair.difference.mean) if pair else "baseline",
                span(pair.difference.low, pair.difference.high, points) if pair else "",
                f"{len(pair.grid['won'])}/{len(pair.grid['lost'])}" if pair else "",
                row["errors"],
                "" if row["tokens"] is None else f"{row['tokens']:.0f}",
            )
        )
    emit_table(
        ("run", "n", "accuracy", "95%", "points", "95% CI", "won/lost", "errors", "tokens"),
        rows,
        right=("n", "accuracy", "95%", "points", "95% CI", "won/lost", "errors", "tokens"),
    )
    for pair in found.pairs:
        print(plain(f"\n{pair.verdict}"))
        if pair.note:
            remark(plain(pair.note))
        if by:
            _print_groups(by, pair.by(by))
    remark(
        f"\n{found.score} score on {found.split}; prompts tried on this dataset: {found.prompts_tried}."
        f"{' ' + found.note if found.note else ''}"
    )


def _print_groups(by: str, groups: pd.DataFrame) -> None:
    from audioreason.compare.tables import p_value, points, span
    from audioreason.runs import records

    emit_table(
        (by, "n", "points", "95% CI", "shrunken", "p (Holm)", ""),
        [
            (
                group["group"],
                group["n"],
                points(group["delta"]),
                span(group["low"], group["high"], points),
                points(group["shrunken"]),
                p_value(group["p_holm"]),
                "significant" if group["significant"] else "few items" if group["small"] else "",
            )
            for group in records(groups)
        ],
        right=("n", "points", "95% CI", "shrunken", "p (Holm)"),
    )


def _write_chart(found: Comparison, path: Path, by: str | None) -> None:
    """The leaderboard, or with `by` and one pair that pair's differences."""
    from audioreason.compare.charts import chart_as, differences_chart, leaderboard_chart

    suffix = path.suffix.removeprefix(".")
    if suffix not in ("svg", "png", "json"):
        raise typer.BadParameter(f"{path} should end in .svg, .png or .json.", param_hint="--chart")
    if by and len(found.pairs) != 1:
        raise typer.BadParameter("With --by a chart shows one run and its baseline.", param_hint="--chart")
    document = differences_chart(found.pairs[0], by) if by else leaderboard_chart(found)
    _write(path, chart_as(document, suffix))  # type: ignore[arg-type]


def _write(path: Path, content: bytes | str) -> None:
    if path.is_dir():
        raise WorkspaceError(f"{path} is a folder.", "Name a file.")
    write_atomic(path.absolute(), content)
    remark(f"Written to {path}.")
