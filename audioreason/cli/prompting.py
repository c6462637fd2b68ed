"""Commands about prompts: list, show, render, diff."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from audioreason.cli.output import Json, either, emit_table, plain, remark
from audioreason.errors import ItemError
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.prompts import Prompt

app = typer.Typer(
    help="Prompt templates: list, show, render, diff.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="Prompt name, alias or .md file.")]


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the prompts of the workspace and those that came with the lab."""
    from audioreason.prompts import broken_prompts, list_prompts

    folders = [Workspace.open().prompts]
    prompts = list_prompts(folders)
    value = [
        {
            "name": p.name,
            "version": p.version,
            "title": p.title,
            "aliases": list(p.aliases),
            "parent": p.parent,
        }
        for p in prompts
    ]
    either(
        json,
        value,
        lambda: emit_table(
            ("name", "version", "also", "title"),
            [(p.name, p.version, ", ".join(p.aliases), p.title) for p in prompts],
        ),
    )
    for problem in broken_prompts(folders):
        remark(f"! {problem}")
    for prompt in prompts:
        _say_remarks(prompt, f"{prompt.name}: ")


def _say_remarks(prompt: Prompt, before: str = "") -> None:
    """Say what a prompt most likely does not mean; why one cannot be filled in is said elsewhere."""
    from audioreason.errors import PromptError
    from audioreason.prompts import remarks

    with contextlib.suppress(PromptError):
        for said in remarks(prompt):
            remark(f"! {before}{said}")


@app.command("show")
def show(name: Name, json: Json = False) -> None:
    """Print a prompt's file."""
    from audioreason.prompts import dump_prompt, load_prompt

    prompt = load_prompt(name, [Workspace.open().prompts])
    value = {"version": prompt.version, **prompt.model_dump(mode="json")}
    either(json, value, lambda: print(dump_prompt(prompt), end=""))
    _say_remarks(prompt)


@app.command("render")
def render_item(
    name: Name,
    dataset: Annotated[str, typer.Option(help="Dataset of the item.")] = "soundcheck",
    item: Annotated[str | None, typer.Option(help="Item id (default: the first).")] = None,
    json: Json = False,
) -> None:
    """Print exactly what would be sent for one item (the clip goes before the user text)."""
    from audioreason.items import load_dataset
    from audioreason.prompts import load_prompt
    from audioreason.runs.rendering import render_for

    workspace = Workspace.open()
    data = load_dataset(workspace, dataset)
    if not data.items:
        raise ItemError(f"The dataset {dataset} has no items.", "Choose another with --dataset.")
    chosen = data[item] if item else data.items[0]
    prompt = load_prompt(name, [workspace.prompts])
    rendered = render_for(prompt, chosen)
    _say_remarks(prompt)

    def text() -> None:
        print(f"[system]\n{plain(rendered.system)}\n")
        print(f"[user: {chosen.audio_path or 'no clip'}]\n{plain(rendered.user)}")

    either(json, {"item": chosen.id, "system": rendered.system, "user": rendered.user}, text)


@app.command("diff")
def difference(a: Name, b: Name, json: Json = False) -> None:
    """Print what changes from prompt A to prompt B."""
    from audioreason.prompts import diff, load_prompt

    folders = [Workspace.open().prompts]
    lines = list(diff(load_prompt(a, folders), load_prompt(b, folders)))
    either(json, lines, lambda: print("\n".join(lines) if lines else "The two prompts are the same."))
