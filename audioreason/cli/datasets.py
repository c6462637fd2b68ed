"""Commands about data: data download|combine|choices|import|list|check|split, soundcheck generate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioreason.cli.output import Json, either, emit_json, emit_table, remark, terminal_progress
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.items import Finding, ImportReport

app = typer.Typer(
    help="Datasets: download, combine, choices, import, list, check, split.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
imports = typer.Typer(help="Bring a dataset into the workspace.", no_args_is_help=True, rich_markup_mode=None)
soundcheck = typer.Typer(
    help="The procedural items the lab ships with.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(imports, name="import")

Name = Annotated[str, typer.Argument(help="Dataset name.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="List every remark instead of a line for each kind.")
]


@imports.command("mmar")
def import_mmar(
    meta: Annotated[Path, typer.Option(help="MMAR-meta.json or .jsonl.")],
    audio: Annotated[Path | None, typer.Option(help="Folder with the clips, if you have them.")] = None,
    name: Annotated[str, typer.Option(help="Name of the dataset.")] = "mmar",
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Import MMAR's metadata, with its clips if there are any."""
    from audioreason.items import import_mmar as run_import

    with terminal_progress() as progress:
        outcome = run_import(Workspace.open(), meta, audio=audio, name=name, progress=progress)
    _report(outcome, json, progress.should_stop(), verbose)


@imports.command("folder")
def import_folder(
    folder: Annotated[Path, typer.Argument(help="A folder with items.csv or items.jsonl and clips.")],
    name: Annotated[str, typer.Option(help="Name of the dataset.")],
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Import your own questions: CSV or JSONL beside wav, flac, mp3, ogg or m4a clips."""
    from audioreason.items import import_folder as run_import

    with terminal_progress() as progress:
        outcome = run_import(Workspace.open(), folder, name=name, progress=progress)
    _report(outcome, json, progress.should_stop(), verbose)


@app.command("download")
def download(
    what: Annotated[
        str, typer.Argument(help="mmar, another known dataset (--list), or a mapping file.")
    ] = "mmar",
    name: Annotated[str | None, typer.Option(help="Name of the dataset (default: what it is).")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder with clips that you have; not for MMAR.")] = None,
    recordings: Annotated[
        bool, typer.Option(help="Cut clips that MMAR's hub lacks from the recordings the items name.")
    ] = True,
    known: Annotated[bool, typer.Option("--list", help="Show what is known, and download nothing.")] = False,
    json: Json = False,
) -> None:
    """Download a dataset by its name or a mapping file; called again, it goes on where it was."""
    from audioreason.acquire import fetch_mapped, fetch_mmar, find_mapping
    from audioreason.errors import ItemError

    if known:
        _known(json)
        return
    workspace = Workspace.open()
    if what == "mmar" and audio is not None:
        raise ItemError("MMAR's clips of your own come in otherwise.", "Use: audioreason data import mmar")
    found, mapping = (what, None) if what == "mmar" else find_mapping(what)
    with terminal_progress(json) as progress:
        if mapping is not None:
            outcome = fetch_mapped(workspace, mapping, name or found, progress, audio).to_dict()
        else:
            outcome = fetch_mmar(
                workspace, name=name or found, recordings=recordings, progress=progress
            ).to_dict()
    lost = outcome.get("lost") or {}

    def table() -> None:
        emit_table(("what", "count"), [(key, value) for key, value in outcome.items() if key != "lost"])
        for item_id, reason in lost.items():
            remark(f"{item_id}: {reason}")
        if outcome.get("without_clip"):
            remark(f"{outcome['without_clip']} have no clip here; --audio FOLDER names one that has them.")
        if outcome.get("free_form"):
            remark(f"Choices for the free-form ones: audioreason data choices {outcome['name']} NEW_NAME")

    either(json, outcome, table)


def _known(json: bool) -> None:
    """What can be downloaded by name."""
    from audioreason.acquire import find_mapping, known_mappings
    from audioreason.acquire.mmar import REPO

    rows = [{"name": "mmar", "from": f"hub:{REPO}", "licence": "", "about": "The benchmark, with its clips."}]
    for name in known_mappings():
        mapping = find_mapping(name)[1]
        rows.append({"name": name, "from": mapping.place, "licence": mapping.licence, "about": mapping.about})
    either(json, rows, lambda: emit_table(tuple(rows[0]), [tuple(row.values()) for row in rows]))


@app.command("combine")
def combine(
    name: Annotated[str, typer.Argument(help="Name of the new dataset.")],
    parts: Annotated[list[str], typer.Argument(help="Datasets, each NAME or NAME:SHARE (countingqa:0.2).")],
    seed: Annotated[int, typer.Option(help="Another seed takes other recordings.")] = 0,
    json: Json = False,
) -> None:
    """One training set of several: a share of each, nothing twice, nothing that a benchmark has."""
    from audioreason.acquire import combine as run_combine
    from audioreason.acquire import parse_part

    with terminal_progress(json) as progress:
        made = run_combine(
            Workspace.open(), [parse_part(part) for part in parts], name, seed=seed, progress=progress
        )

    def table() -> None:
        emit_table(("dataset", "items"), list(made.taken.items()), right=("items",))
        for reason, count in made.left_out.items():
            if count:
                remark(f"Left out: {counted(count, 'item')}, {reason}.")
        remark(f"{counted(len(made.dataset.items), 'item')} in {made.dataset.root}.")

    either(json, made.to_dict(), table)


@app.command("choices")
def choices(
    source: Annotated[str, typer.Argument(help="Dataset folder with free-form questions (free.jsonl).")],
    name: Annotated[str, typer.Argument(help="Name of the new dataset.")],
    endpoint: Annotated[str, typer.Option(help="A model that hears: base URL, or a saved endpoint's name.")],
    model: Annotated[str | None, typer.Option(help="Model name there (default: its first).")] = None,
    number: Annotated[int, typer.Option("--choices", min=2, max=8, help="Choices of an item.")] = 4,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N questions.")] = None,
    seed: Annotated[int, typer.Option(help="Places of the gold answer, and proposals.")] = 0,
    json: Json = False,
) -> None:
    """Make multiple-choice items: a model that hears invents wrong answers, which are checked."""
    from audioreason.acquire import make_choices
    from audioreason.cli.evaluating import endpoint_for

    workspace = Workspace.open()
    with endpoint_for(workspace, endpoint, model) as chosen:
        if not chosen.local:
            remark(f"Questions and clips go to {chosen.root_url}.")
        with terminal_progress(json) as progress:
            made = make_choices(
                workspace, source, name, chosen, choices=number, limit=limit, seed=seed, progress=progress
            )

    def table() -> None:
        remark(f"{counted(len(made.dataset.items), 'item')} in {made.dataset.root}.")
        for item_id, reason in made.given_up.items():
            remark(f"{item_id}: {reason}")

    either(json, made.to_dict(), table)


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the datasets of the workspace and those that came with the lab."""
    from audioreason.items import list_datasets

    rows = list_datasets(Workspace.open())
    either(
        json,
        [row.to_dict() for row in rows],
        lambda: emit_table(
            ("name", "kind", "items", "clips", "hash", "title"),
            [(r.name, r.kind, r.items, r.clips, r.hash, r.title) for r in rows],
            right=("items", "clips"),
        ),
    )


@app.command("check")
def check(name: Name, verbose: Verbose = False, json: Json = False) -> None:
    """Validate a dataset item by item; the exit status is 1 if something is wrong, not for warnings."""
    from audioreason.items import load_dataset, validate
    from audioreason.items.validate import import_findings

    data = load_dataset(Workspace.open(), name)
    found = validate(data)
    _findings(found, json, verbose)
    imported = import_findings(data)  # what an import left out is no fault of the items that are there
    if any(finding.severity == "error" and finding not in imported for finding in found):
        raise typer.Exit(1)


@app.command("split")
def split(name: Name, json: Json = False) -> None:
    """Show the stored split of a dataset, made on first use."""
    from audioreason.items import load_dataset, load_splits

    splits = load_splits(load_dataset(Workspace.open(), name))
    either(
        json,
        splits,
        lambda: emit_table(
            ("split", "items"), [(key, len(ids)) for key, ids in splits.items()], right=("items",)
        ),
    )


@soundcheck.command("generate")
def generate(
    name: Annotated[str, typer.Option(help="Name of the new dataset.")] = "soundcheck-train",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of items.")] = 200,
    families: Annotated[str | None, typer.Option(help="Comma-separated families (default: all).")] = None,
    difficulty: Annotated[int | None, typer.Option(min=1, max=5, help="1 to 5 (default: mixed).")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other items.")] = 0,
    json: Json = False,
) -> None:
    """Generate training items from the training namespace; evaluation clips cannot come out."""
    from audioreason.errors import ItemError
    from audioreason.items import clear_of_benchmarks
    from audioreason.items.dataset import check_name
    from audioreason.soundcheck import generate_dataset
    from audioreason.workspace import shipped

    workspace = Workspace.open()
    folder = workspace.datasets / check_name(name)
    if (shipped(name) / "dataset.json").is_file():
        raise ItemError(f"The dataset {name} came with the lab.", "Choose another --name.")
    with terminal_progress() as progress:
        generate_dataset(
            folder,
            n,
            families=families.split(",") if families else None,
            difficulty=difficulty,
            seed=seed,
            progress=progress,
            accept=clear_of_benchmarks(workspace, progress),
        )
    remark(f"{counted(n, 'item')} written to {folder}.")
    if json:
        emit_json({"name": name, "items": n, "path": str(folder)})


@soundcheck.command("families")
def list_families(json: Json = False) -> None:
    """List the task families by layer and subcategory."""
    from audioreason.soundcheck import families

    rows = list(families().values())
    either(
        json,
        [
            {"name": f.name, "layer": f.layer, "subcategory": f.subcategory, "held_out": f.held_out}
            for f in rows
        ],
        lambda: emit_table(
            ("family", "layer", "subcategory", ""),
            [(f.name, f.layer, f.subcategory, "held out" if f.held_out else "") for f in rows],
        ),
    )


def _report(outcome: ImportReport, json: bool, stopped: bool, verbose: bool) -> None:
    """Print what an import found; after a stop the items are in, and the clips that remain were not heard."""
    info = outcome.dataset.info
    remark(f"{info.name}: {counted(len(outcome.dataset.items), 'item')}, hash {info.hash}.")
    _findings(outcome.findings, json, verbose)
    if stopped:
        remark(f"Stopped before every clip was heard. To hear them: audioreason data check {info.name}")
        raise typer.Exit(130)


def _findings(findings: Sequence[Finding], json: bool, verbose: bool) -> None:
    """Print what was found: a line for each kind with its count and an example, or one for each finding."""
    from audioreason.items.facts import problems

    def table() -> None:
        if not findings:
            remark("Nothing to report.")
        elif verbose:
            emit_table(
                ("severity", "what", "item", "message"),
                [(f.severity, f.code, f.item_id, f.message) for f in findings],
            )
        else:
            kinds = problems(findings)
            emit_table(
                ("severity", "what", "items", "such as"),
                [
                    (
                        one.severity,
                        one.code,
                        one.items,
                        f"{one.example_item}: {one.example}".removeprefix(": "),
                    )
                    for one in kinds
                ],
                right=("items",),
            )
            if len(kinds) < len(findings):
                remark("--verbose lists each remark.")

    either(json, [finding.__dict__ for finding in findings], table)
