"""Why runs fail, from the command line: errors, annotate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from audioreason.cli.output import Json, either, emit_table, interval, percent, remark
from audioreason.errors import RunError
from audioreason.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from audioreason.review import Annotations
    from audioreason.runs import Catalog

_FILTERED = ("subcategory", "layer", "modality", "language")  # groups that a filter knows by name

annotate = typer.Typer(no_args_is_help=True, help="Tags, notes and errata: give, list, take back, export.")

Run = Annotated[str, typer.Argument(help="A run's name, as `audioreason runs` lists it.")]
ItemId = Annotated[str, typer.Argument(help="An item's id.")]
Sample = Annotated[int, typer.Option(help="Which sample of the item.", min=0)]


def register(app: typer.Typer) -> None:
    """Add the commands to the main program."""
    app.command()(errors)
    app.add_typer(annotate, name="annotate")


def errors(
    run: Run,
    by: Annotated[
        str,
        typer.Option(
            help="What to group the figures by: subcategory, layer, modality, language, difficulty, family,"
            " source, choices, or any column of the data."
        ),
    ] = "subcategory",
    worst_first: Annotated[
        bool, typer.Option("--worst-first", help="Groups by accuracy, the lowest first.")
    ] = False,
    outcome: Annotated[
        str | None,
        typer.Option(help="List the predictions of this outcome, e.g. wrong, unresolved, truncated, looped."),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    tag: Annotated[str | None, typer.Option(help="List only predictions with this tag.")] = None,
    untagged: Annotated[
        bool, typer.Option("--untagged", help="List only predictions without any tag.")
    ] = False,
    cue: Annotated[
        Literal["mentioned", "not mentioned", "contradicted"] | None,
        typer.Option(help="List only predictions whose HEARD does this to the clip's events."),
    ] = None,
    cues: Annotated[bool, typer.Option(help="Count what HEARD makes of the clips' events.")] = False,
    split: Annotated[str | None, typer.Option(help="Only this part of the items, e.g. explore.")] = None,
    confused: Annotated[bool, typer.Option(help="List what is taken for what.")] = False,
    without_errata: Annotated[bool, typer.Option(help="Leave out items marked wrong or ambiguous.")] = False,
    limit: Annotated[int, typer.Option(help="How many predictions to list.", min=1)] = 50,
    json: Json = False,
) -> None:
    """Say where a run fails: outcomes by group, or the failures themselves."""
    from audioreason.review import Annotations, explorer
    from audioreason.runs import Catalog, Filter, records
    from audioreason.runs.accuracy import items_in_group

    workspace = Workspace.open()
    catalog, book = Catalog(workspace), Annotations(workspace)
    split = None if split == "full" else split
    outcome = outcome and outcome.replace(" ", "_")  # as the table's heading has it
    listing = outcome is not None or tag is not None or cue is not None or untagged
    named = None if listing and by not in _FILTERED else group
    _check_names(catalog, book, run, by, outcome, named, tag, split)
    left_out: frozenset[str] = frozenset()
    if without_errata:
        row = next((row for row in records(catalog.runs()) if row["run_id"] == run), None)
        left_out = frozenset(book.errata(row["dataset"])) if row else left_out
    if confused:
        pairs = [vars(one) for one in explorer.confusions(catalog, run, split, left_out)]
        either(json, pairs, lambda: _print_confusions(pairs))
        return
    if cues:
        counted = _cue_counts(workspace, run)
        either(json, counted, lambda: _print_cues(counted))
        return
    if listing:
        where: dict[str, Any] = {"outcome": (outcome,)} if outcome else {}
        if group is not None and by in _FILTERED:
            where[by] = (group,)
        elif group is not None:
            where["items"] = items_in_group(catalog, run, by, group)
            if not where["items"]:
                groups = sorted(map(str, catalog.accuracy_by(run, by)["group"]))
                raise RunError(
                    f"Predictions cannot be listed by {by} {group!r}: no item of {run} has it.",
                    f"There are: {', '.join(groups[:50])}.",
                )
        if tag is not None:
            where["only"] = explorer.tagged(book, run, tag)
        if untagged:
            where["never"] = explorer.tagged(book, run)
        if cue is not None:
            having = _cues(workspace, run).having(cue)
            where["only"] = tuple(sorted(set(having) & set(where.get("only", having))))
        if split is not None:
            where["part"] = (split,)
        page = explorer.find(catalog, Filter(runs=(run,), without=left_out, **where), limit=limit)
        rows = records(page.rows)
        either(json, {"total": page.total, "predictions": rows}, lambda: _print_list(rows, page.total))
        return
    if by == "subcategory":
        figures = explorer.overview(catalog, run, split, left_out)
        table = [
            {"group": g.name, "layer": g.layer, "n": g.strict.n, "strict": g.strict.value}
            | {"low": g.strict.low, "high": g.strict.high, "outcomes": dict(g.outcomes)}
            for g in figures.groups
        ]
    else:
        table = _by(catalog, run, by, split, left_out)
    if group is not None:
        table = [row for row in table if row["group"] == group]
    if worst_first:
        table.sort(key=lambda row: (row["strict"] is None, row["strict"], row["group"]))
    either(json, table, lambda: _print_groups(table))


def _check_names(
    catalog: Catalog,
    book: Annotations,
    run: str,
    by: str,
    outcome: str | None,
    group: str | None,
    tag: str | None,
    split: str | None,
) -> None:
    """Refuse names that this run has nowhere: an empty table would look like a run without failures.

    Raises:
        RunError: naming the first, and those that there are.
    """
    from audioreason.answers import OUTCOMES
    from audioreason.runs import records

    def check(what: str, name: str | None, there: Iterable[str | None]) -> None:
        names = sorted({one for one in there if one is not None})
        if name is not None and name not in names:
            raise RunError(
                f"The run {run} has no {what} {name!r}.",
                f"There are: {', '.join(names)}." if names else "There are none.",
            )

    (number,) = catalog.run_numbers(run)
    check("outcome", outcome, OUTCOMES)
    if tag is not None:
        given = {name for names in book.tags_of(run).values() for name in names}
        check("tag", tag, given | {one.name for one in book.tags()})
    if split is not None:
        parts = catalog.query("SELECT DISTINCT part FROM items WHERE run_no = $run", {"run": number})
        check("split", split, [row["part"] for row in records(parts)])
    if group is not None:
        check(by, group, [row["group"] for row in records(catalog.accuracy_by(run, by))])


def _cues(workspace: Workspace, run: str) -> Any:
    from audioreason.review import run_cues

    found = run_cues(workspace, run)
    if found.why_not:
        raise RunError(found.why_not)
    return found


def _cue_counts(workspace: Workspace, run: str) -> dict[str, Any]:
    from audioreason.review import CUE_OUTCOMES, MEASURED

    found = _cues(workspace, run)
    return {
        "n": len(found.rows),
        "outcomes": {
            name: {
                "n": len(found.having(name)),
                "precision": MEASURED.by[name][0],
                "recall": MEASURED.by[name][1],
            }
            for name in CUE_OUTCOMES
        },
        "kappa": MEASURED.kappa,
        "labelled": MEASURED.traces,
        "caution": found.caution,
    }


def _print_cues(counted: dict[str, Any]) -> None:
    emit_table(
        ("HEARD", "predictions", "precision", "recall"),
        [
            (name, row["n"], f"{row['precision']:.2f}", f"{row['recall']:.2f}")
            for name, row in counted["outcomes"].items()
        ],
        right=("predictions", "precision", "recall"),
    )
    remark(f"Kappa {counted['kappa']:.2f} on {counted['labelled']} labelled traces. {counted['caution']}")


def _by(catalog: Any, run: str, by: str, split: str | None, without: frozenset[str]) -> list[dict[str, Any]]:
    from audioreason.runs import records

    outcomes: dict[str, dict[str, int]] = {}
    for row in records(catalog.outcomes_by(run, by, split, without)):
        outcomes.setdefault(row["group"], {})[row["outcome"]] = row["n"]
    return [
        {"group": row["group"], "n": row["n"], "strict": row["strict"], "low": row["strict_low"]}
        | {"high": row["strict_high"], "outcomes": outcomes.get(row["group"], {})}
        for row in records(catalog.accuracy_by(run, by, split, without))
    ]


def _print_groups(table: list[dict[str, Any]]) -> None:
    names = sorted({name for row in table for name in row["outcomes"]})
    emit_table(
        ("group", "n", "strict", "95%", *(name.replace("_", " ") for name in names)),
        [
            (
                *(
                    row["group"],
                    row["n"],
                    percent(row["strict"]),
                    interval(None if row["low"] is None else (row["low"], row["high"])),
                ),
                *(row["outcomes"].get(name, "") for name in names),
            )
            for row in table
        ],
        right=("n", "strict", "95%", *(name.replace("_", " ") for name in names)),
    )


def _print_list(rows: list[dict[str, Any]], total: int) -> None:
    emit_table(
        ("item", "sample", "outcome", "given", "gold", "question"),
        [
            (
                row["item_id"],
                row["sample"],
                row["outcome"],
                row["choice_text"],
                row["answer"],
                row["question"][:80],
            )
            for row in rows
        ],
        right=("sample",),
    )
    if total > len(rows):
        remark(f"{len(rows):,} of {total:,}; --limit shows more.")


def _print_confusions(pairs: list[dict[str, Any]]) -> None:
    emit_table(
        ("gold", "given", "predictions", "items"),
        [(pair["gold"], pair["given"], pair["n"], pair["items"]) for pair in pairs],
        right=("predictions", "items"),
    )


@annotate.command("tag")
def tag_prediction(
    run: Run,
    item: ItemId,
    tag: Annotated[str, typer.Argument(help="A tag; a new one joins the list.")],
    sample: Sample = 0,
    remove: Annotated[bool, typer.Option(help="Take the tag away.")] = False,
) -> None:
    """Give a prediction a tag."""
    _known(run, item, sample)
    _book().set_tag(run, item, sample, tag, not remove)


@annotate.command("note")
def note(
    run: Run,
    item: ItemId,
    text: Annotated[str, typer.Argument(help="The note; an empty text removes it.")],
    sample: Sample = 0,
) -> None:
    """Write a note on a prediction."""
    _known(run, item, sample)
    _book().set_note(run, item, sample, text)


@annotate.command("erratum")
def erratum(
    dataset: Annotated[str, typer.Argument(help="The dataset that the item belongs to.")],
    item: ItemId,
    kind: Annotated[
        Literal["wrong", "ambiguous", "none"], typer.Argument(help="What is the matter; none unmarks it.")
    ],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Mark an item of a dataset as wrong or ambiguous."""
    from audioreason.items import load_dataset

    load_dataset(Workspace.open(), dataset)[item]
    _book().mark(dataset, item, None if kind == "none" else kind, note)


@annotate.command("list")
def list_tags(json: Json = False) -> None:
    """List the tags and how often each was given."""
    tags = [vars(tag) for tag in _book().tags()]
    either(
        json,
        tags,
        lambda: emit_table(
            ("tag", "key", "given"),
            [(tag["name"], tag["key"], tag["count"]) for tag in tags],
            right=("key", "given"),
        ),
    )


@annotate.command("undo")
def undo() -> None:
    """Take back the last step that was made from the command line."""
    undone = _book().undo()
    remark(f"Undone: {undone}" if undone else "There is nothing to undo.")


@annotate.command("export")
def export(
    format: Annotated[Literal["csv", "jsonl", "md"], typer.Option(help="The file's form.")] = "csv",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file (default: print it).")] = None,
) -> None:
    """Write every tag, note and erratum of the workspace, and the tags of runs."""
    text = _book().export(format)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomic(output, text)
        remark(f"Wrote {output}.")


def _book() -> Any:
    from audioreason.review import Annotations

    return Annotations(Workspace.open(), actor="command line")


def _known(run: str, item: str, sample: int) -> None:
    """Raises RunError unless the run has this prediction: a typo must not become an annotation."""
    from audioreason.runs import Catalog

    Catalog(Workspace.open()).one_prediction(run, item, sample)
