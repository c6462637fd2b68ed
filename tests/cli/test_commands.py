"""The surface of the program: help, the README's commands, errors in a sentence, exit statuses."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from audioreason.cli import app
from audioreason.workspace import Workspace
from tests.cli.conftest import Program, strict_json
from tests.conftest import TinyDataset

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = typer.main.get_command(app)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, as the words that name it."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def readme_lines() -> list[str]:
    """Commands of the README: lines of its bash blocks, and what tables quote in backticks."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("audioreason ")]
    return lines + [quoted for quoted in re.findall(r"`(audioreason [^`\n]+)`", text) if "..." not in quoted]


@pytest.mark.parametrize("path", list(commands(PROGRAM)), ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_options(path: tuple[str, ...]) -> None:
    command: Any = PROGRAM
    for name in path:
        command = command.commands[name]
    assert (command.help or "").strip()
    context = command.make_context("audioreason", ["--help"], resilient_parsing=True)
    page = command.get_help(context)
    for parameter in command.params:
        assert parameter.name == "json_" or parameter.opts[-1].lstrip("-") in page


def test_help_answers_without_loading_what_only_some_commands_need() -> None:
    heavy = {
        "torch",
        "scipy",
        "pandas",
        "duckdb",
        "librosa",
        "aiohttp",
        "openai",
        "pydantic",
        "numpy",
        "pyarrow",
    }
    code = f"import sys, audioreason.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scoring_needs_no_scipy_stats() -> None:
    code = "import sys; from audioreason.stats import wilson; wilson(3, 4); print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("line", readme_lines())
def test_every_command_of_the_readme_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: Any = PROGRAM
    while words and hasattr(command, "commands"):
        if words[0].startswith("-") and command.invoke_without_command:  # a command that has others below it
            break
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    # parsing checks names and numbers of options and arguments, and runs nothing
    command.make_context("audioreason", words)


def test_the_readme_names_commands() -> None:
    assert len(readme_lines()) > 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "nothing"), "nothing"),
        (("show", "nothing"), "nothing"),
        (("score", "../../etc"), "../../etc"),
        (("export", "nothing", "-o", "x.csv"), "nothing"),
        (("eval", "--dataset", "nothing"), "nothing"),
        (("eval", "--prompt", "no-such-prompt"), "no-such-prompt"),
        (("eval", "--split", "nowhere"), "nowhere"),
        (("eval", "--endpoint", "ftp://x"), "http"),
        (("eval", "--endpoint", "http://127.0.0.1:1/v1", "--limit", "1"), "127.0.0.1:1"),
        (("eval", "--resume", "--run-id", "nothing"), "nothing"),
        (("import", "/no/such.jsonl", "--dataset", "soundcheck"), "/no/such.jsonl"),
        (("import", "/", "--dataset", "soundcheck"), "/"),
        (("data", "check", "nothing"), "nothing"),
        (("data", "import", "mmar", "--meta", "/no/such.json"), "/no/such.json"),
        (("data", "import", "folder", "/no/such", "--name", "mine"), "/no/such"),
        (("prompts", "show", "nothing"), "nothing"),
        (("prompts", "render", "v1", "--item", "nothing"), "nothing"),
        (("soundcheck", "generate", "--name", "../out"), "../out"),
        (("soundcheck", "generate", "--name", "soundcheck"), "soundcheck"),
        (("soundcheck", "generate", "--families", "nothing", "--n", "1"), "nothing"),
        (("serve", "--model", "/no/such/model"), "/no/such/model"),
        (("jobs", "show", "nothing"), "nothing"),
        (("-w", "/dev/null/x", "runs"), "/dev/null/x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    program: Program, arguments: tuple[str, ...], said: str
) -> None:
    done = program(*arguments, status=1)
    lines = done.stderr.strip().splitlines()
    assert said in done.stderr
    assert 1 <= len(lines) <= 3, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "run", "--format", "xml"),
        ("serve", "--reasoning-parser", "gpt"),
        ("serve", "--port", "70000"),
        ("eval", "--resume"),
        ("eval", "--limit", "0"),
        ("eval", "--limit", "many"),
        ("soundcheck", "generate", "--difficulty", "9"),
        ("import", "file.jsonl"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_a_mistyped_command_exits_with_2(program: Program, arguments: tuple[str, ...]) -> None:
    assert "audioreason" in program(*arguments, status=2).stderr


@pytest.mark.parametrize("form", ["csv", "parquet", "mmar"])
def test_an_output_that_cannot_be_written_is_said_with_its_path(
    program: Program, tiny_dataset: TinyDataset, tmp_path: Path, form: str
) -> None:
    data = tiny_dataset(n=1)
    (tmp_path / "p.json").write_text(f'[{{"id": "{data.items[0].id}", "answer_prediction": "one"}}]')
    program("import", tmp_path / "p.json", "--dataset", "tiny", "--run-id", "r")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "out", tmp_path):
        assert str(path) in program("export", "r", "--format", form, "-o", path, status=1).stderr


def test_the_workspace_is_the_option_before_the_command_or_the_variable(
    program: Program, workspace: Workspace, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    tiny_dataset(n=2)
    here = strict_json(program("data", "list", "--json").stdout)
    there = strict_json(program("-w", tmp_path / "other", "data", "list", "--json").stdout)
    assert {row["name"] for row in here} - {row["name"] for row in there} == {"tiny"}
    assert (tmp_path / "other").is_dir()


def test_the_data_commands_show_a_folder_of_ones_own(
    program: Program, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    source = tiny_dataset(n=4)
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = [f"q{i},Which?,one,two,one,{source.clip(item)}" for i, item in enumerate(source.items)]
    (folder / "items.csv").write_text("\n".join(["id,question,choice_a,choice_b,answer,audio_path", *rows]))
    found = strict_json(program("data", "import", "folder", folder, "--name", "mine", "--json").stdout)
    assert {finding["code"] for finding in found}  # clips outside the folder are refused, by name
    assert strict_json(program("data", "check", "mine", "--json", status=1).stdout) == found
    splits = strict_json(program("data", "split", "mine", "--json").stdout)
    assert sorted(key for ids in splits.values() for key in ids) == ["q0", "q1", "q2", "q3"]
    assert "mine" in program("data", "list").stdout


def test_the_prompt_commands_show_render_and_compare(program: Program, workspace: Workspace) -> None:
    names = {row["name"]: row for row in strict_json(program("prompts", "list", "--json").stdout)}
    assert len(names) == 8 and "v12" in names["structured-reasoning"]["aliases"]
    shown = program("prompts", "show", "v12").stdout
    workspace.prompts.mkdir()
    (workspace.prompts / "mine.md").write_text(shown.replace("Be brief.", "Be very brief."))
    (workspace.prompts / "broken.md").write_text("---\nnonsense: [\n---\n")
    listed = program("prompts", "list")
    assert "mine" in listed.stdout and "prompt broken" in listed.stderr
    assert "+" in program("prompts", "diff", "structured-reasoning", "mine").stdout
    assert (
        program("prompts", "diff", "structured-reasoning", "structured-reasoning").stdout
        == "The two prompts are the same.\n"
    )
    rendered = strict_json(program("prompts", "render", "mine", "--json").stdout)
    assert "Be very brief." in rendered["system"] and "{{" not in rendered["user"]


def test_generated_items_are_a_dataset_at_once(program: Program) -> None:
    done = program(
        "soundcheck",
        "generate",
        "--n",
        "3",
        "--families",
        "cleaner_half",
        "--name",
        "more",
        "--json",
        status=0,
    )
    assert strict_json(done.stdout)["items"] == 3
    assert [
        row["items"] for row in strict_json(program("data", "list", "--json").stdout) if row["name"] == "more"
    ] == [3]


def test_the_doctor_looks_at_everything_and_ends_well_here(program: Program) -> None:
    checks = strict_json(program("doctor", "--json").stdout)
    assert {"python", "packages", "embedded model", "workspace", "endpoints", "gpu"} <= {
        c["name"] for c in checks
    }
    assert all(check["sentence"] for check in checks)
