"""Commands about the machine: lab, serve, doctor."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import Annotated, Literal

import typer

from audioreason.cli.output import Json, either, emit_table
from audioreason.errors import WorkspaceError
from audioreason.workspace import Workspace, lab_root


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command("lab")(lab)
    app.command("serve")(serve)
    app.command("doctor")(doctor)


def lab(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the lab's page.")] = 8501,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Open the lab in a browser; it listens on this machine only."""
    from audioreason.jobs.local import NO_TELEMETRY

    workspace = Workspace.open()
    secrets = Path.cwd() / ".streamlit" / "secrets.toml"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app/main.py",
        "--server.address=127.0.0.1",
        f"--server.port={port}",
        # not headless, Streamlit asks a new user for an e-mail address and waits; so we open the browser
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    ]
    if secrets.is_file():
        command.append(f"--secrets.files={secrets}")
    environment = os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root), **NO_TELEMETRY}
    if browser:
        threading.Thread(target=_open_when_ready, args=(port,), daemon=True).start()
    # the theme, fonts and pages are found from the lab's own folder, whatever the current one
    raise typer.Exit(subprocess.call(command, cwd=lab_root(), env=environment))


def _open_when_ready(port: int, patience: float = 90.0) -> None:
    """Open the lab's page in the browser once its server answers, within `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2):
                webbrowser.open(f"http://127.0.0.1:{port}")
                return
        except OSError:
            time.sleep(0.3)


def serve(
    model: Annotated[
        Path | None, typer.Option(help="Model folder (default: the embedded Pocket Listener).")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of LoRA weights to merge in.")] = None,
    quantize: Annotated[Literal["nf4"] | None, typer.Option(help="Hold the experts in 4 bits.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on (0: a free one).")] = 8901,
    name: Annotated[
        str | None, typer.Option(help="Model name to answer to (default: the folder's name).")
    ] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option("--allow", help="Folder whose clips may be asked for by file:// (repeatable)."),
    ] = None,
    reasoning_parser: Annotated[
        Literal["qwen3"] | None, typer.Option(help="Answer <think> text as message.reasoning.")
    ] = None,
) -> None:
    """Serve a local audio model behind an OpenAI-compatible API, on this machine only."""
    from audioreason.engines.launch import pocket_folder
    from audioreason.engines.server import serve as run_server
    from audioreason.jobs.local import NO_TELEMETRY
    from audioreason.workspace import shipped

    workspace = Workspace.open()
    os.environ.update(NO_TELEMETRY)
    run_server(
        model or pocket_folder(),
        adapter=adapter,
        quantize=quantize,
        port=port,
        name=name,
        allowed_media=[*(allow or []), workspace.root, shipped()],
        reasoning_parser=reasoning_parser,
    )


def doctor(
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file of every run and compare its checksum.")
    ] = False,
    json: Json = False,
) -> None:
    """Check this machine: packages, model, workspace, endpoints, GPU; say what to do about each."""
    from audioreason.cli.checks import run_checks, verify_runs

    try:
        checks = run_checks(Workspace.open())
        if verify:
            checks += verify_runs(Workspace.open())
    except WorkspaceError as error:
        checks = run_checks(error)
    either(
        json,
        [check.__dict__ for check in checks],
        lambda: emit_table(("", "what", "found"), [(c.state, c.name, c.sentence) for c in checks]),
    )
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)
