"""Commands about the machine: lab, serve, doctor."""

from __future__ import annotations

import html
import os
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlencode

import typer

from audioreason.cli.output import Json, either, emit_table, remark
from audioreason.errors import LabError, WorkspaceError
from audioreason.workspace import ENGINE_KEY_VARIABLE, LAB_TOKEN_VARIABLE, Workspace, lab_root, write_atomic


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
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is every address of this machine.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A further name by which browsers reach the lab, as behind a proxy (repeatable)."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=LAB_TOKEN_VARIABLE, show_envvar=True,
            help="The lab's token (default: a new random one). Other users can see command lines, so prefer"
            " the variable.",
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Open the lab to every user of this machine; loopback only.")
    ] = False,
    certfile: Annotated[Path | None, typer.Option(help="TLS certificate; the lab is then https.")] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Key of the certificate.")] = None,
) -> None:  # fmt: skip
    """Open the lab in a browser; it listens on this machine only and requires a token."""
    import socket

    from audioreason.jobs.local import NO_TELEMETRY

    workspace = Workspace.open()
    loopback = host in ("localhost", "127.0.0.1", "::1")
    if no_token and (token or not loopback):
        why = (
            "A token is given too." if token else f"A lab on {host} needs a token; one on 127.0.0.1 does not."
        )
        raise typer.BadParameter(why, param_hint="--no-token")
    if (certfile is None) != (keyfile is None):
        raise typer.BadParameter("Give both --certfile and --keyfile.", param_hint="--certfile")
    for option, file in (("--certfile", certfile), ("--keyfile", keyfile)):
        if file is not None and not file.is_file():
            raise typer.BadParameter(f"There is no file {file}.", param_hint=option)
    if token and not re.fullmatch(r"[!-~]+", token):
        raise typer.BadParameter("Letters, digits and signs of ASCII only, no spaces.", param_hint="--token")
    _check_address(host, port)
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    address = f"{'https' if certfile else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}/"
    environment = os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root), **NO_TELEMETRY}
    for name in (LAB_TOKEN_VARIABLE, "AUDIOREASON_NO_TOKEN"):
        environment.pop(name, None)
    if no_token:
        environment["AUDIOREASON_NO_TOKEN"] = "1"  # noqa: S105 - a switch
        print(f"The lab: {address}")
        remark(
            "Without a token every user of this machine can open this lab, read the workspace and start jobs."
        )
    else:
        secret = token or secrets.token_urlsafe(32)
        environment[LAB_TOKEN_VARIABLE] = secret
        print(f"The lab: {address}" + ("" if token else f"?{urlencode({'token': secret})}"))
    if not loopback and certfile is None:
        remark(
            "This is plain HTTP: others on the network can read everything, including the token. Give"
            f" --certfile and --keyfile, or leave --host out and run on your own machine: {_tunnel(port)}"
        )
    elif "SSH_CONNECTION" in os.environ and loopback:
        remark(f"To open it on your own machine, run there: {_tunnel(port)}")
    if host != shown:
        remark(f"From other machines: {address.replace(shown, socket.gethostname(), 1)}")
    remark("Ctrl-C ends the lab; jobs continue.")
    if browser:
        page = _opening_page(workspace, address, environment.get(LAB_TOKEN_VARIABLE, ""))
        environment["AUDIOREASON_OPEN"] = str(page)
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app/main.py",
        f"--server.address={host}",
        f"--server.port={port}",
        *(f"--server.allowedHosts={name}" for name in _names(host, allow_host or ())),
        # not headless, Streamlit asks a new user for an e-mail address and waits; so we open the browser
        "--server.headless=true",
        "--logger.hideWelcomeMessage=true",  # its link has no token
        "--browser.gatherUsageStats=false",
    ]
    if certfile and keyfile:
        command += [f"--server.sslCertFile={certfile.resolve()}", f"--server.sslKeyFile={keyfile.resolve()}"]
    files = Path.cwd() / ".streamlit" / "secrets.toml"
    if files.is_file():
        command.append(f"--secrets.files={files}")
    sys.stdout.flush()
    # the theme, fonts and pages are found from the lab's own folder, whatever the current one
    os.chdir(lab_root())
    # in place of this process: a signal to it is a signal to the server
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is meant


def _check_address(host: str, port: int) -> None:
    """See that the lab can listen there.

    Raises:
        LabError: if the port is in use, or the address is not of this machine.
    """
    import socket

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise LabError(
            f"The lab cannot listen on {host}, port {port} ({os.strerror(error.errno or 0)}).",
            "Choose another port with --port, or another address with --host.",
        ) from error


def _names(host: str, further: Sequence[str]) -> list[str]:
    """Every name that a browser may call the lab by: without one of these in `Host`, a request is refused."""
    import socket

    import psutil

    found = ["localhost", "127.0.0.1", "::1", *further]
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return list(dict.fromkeys([*found, host]))
    found += [socket.gethostname(), socket.getfqdn()]
    for addresses in psutil.net_if_addrs().values():
        found += [
            one.address.partition("%")[0]
            for one in addresses
            if one.family in (socket.AF_INET, socket.AF_INET6)
        ]
    return list(dict.fromkeys(found))


def _tunnel(port: int) -> str:
    """The command that makes the lab on this machine's loopback one on another's."""
    import getpass
    import socket

    return f"ssh -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.gethostname()}"


def _opening_page(workspace: Workspace, address: str, token: str) -> Path:
    """A page that only its owner can read and that sends the token to the lab.

    A link with the token would be in the browser's history, and on its command line, which others can see.
    """
    path = workspace.root / "open-lab.html"
    form = (
        f'<form method="post" action="{html.escape(address)}"><input type="hidden" name="token"'
        f' value="{html.escape(token)}"><button>Open the lab</button></form>'
    )
    refresh = f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">'
    body = f"{form}<script>document.forms[0].submit()</script>" if token else refresh
    write_atomic(path, f'<!doctype html><meta charset="utf-8"><title>audioreason</title>{body}')
    return path


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
    from audioreason.inference.endpoint import (
        Endpoint,
        key_environment,
        remove_endpoint,
        save_endpoint,
        server_key,
    )
    from audioreason.jobs.local import NO_TELEMETRY
    from audioreason.jobs.supervise import free_port
    from audioreason.workspace import shipped

    workspace = Workspace.open()
    port = port or free_port()
    os.environ.update(NO_TELEMETRY)
    own = f"engine-{port}"
    key = None
    if ENGINE_KEY_VARIABLE not in os.environ:
        key = server_key(workspace, own)
        os.environ.update(key_environment(key.read_text(encoding="utf-8")))

    def say(line: str) -> None:
        print(line, flush=True)
        if key is not None:
            address = f"http://127.0.0.1:{port}/v1"
            save_endpoint(workspace, Endpoint(name=own, base_url=address, api_key_file=key), default=False)
            remark(f"It is the endpoint {own} while it runs. Other programs need its key, which is in {key}.")

    try:
        run_server(
            model or pocket_folder(),
            adapter=adapter,
            quantize=quantize,
            port=port,
            name=name,
            allowed_media=[*(allow or []), workspace.root, shipped()],
            reasoning_parser=reasoning_parser,
            say=say,
        )
    finally:
        if key is not None:
            remove_endpoint(workspace, own)
            key.unlink(missing_ok=True)


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
