"""Commands about endpoints: endpoints list, add, confirm, choose, remove."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from audioreason.cli.output import Json, either, emit_table, remark
from audioreason.errors import EndpointError
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint

app = typer.Typer(help="Servers that the lab asks, and which key goes where.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The endpoint's name, as `audioreason endpoints list` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask where the key may be sent.")]


@app.command("list")
def list_endpoints(json: Json = False) -> None:
    """List the saved endpoints; keys are shown by the names of their variables."""
    from audioreason.inference.endpoint import default_endpoint, load_endpoints

    workspace = Workspace.open()
    chosen = default_endpoint(workspace)
    rows = [
        {
            "name": endpoint.name,
            "address": endpoint.base_url,
            "model": endpoint.model,
            "key": endpoint.api_key_env,
            "key_confirmed": endpoint.key_confirmed,
            "default": chosen is not None and endpoint.name == chosen.name,
        }
        for endpoint in load_endpoints(workspace)
    ]

    def table() -> None:
        if not rows:
            remark("No endpoints are saved. Add one: audioreason endpoints add NAME URL")
            return
        emit_table(
            ("name", "address", "model", "key", ""),
            [
                (
                    row["name"], row["address"], row["model"] or "the first one",
                    f"{row['key'] or ''}{'' if row['key_confirmed'] else ' (not confirmed)'}",
                    "default" if row["default"] else "",
                )
                for row in rows
            ],
        )  # fmt: skip

    either(json, rows, table)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of your choice; one that exists is replaced.")],
    url: Annotated[str, typer.Argument(help="Such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="Model name at the endpoint (default: its first).")] = "",
    key_env: Annotated[
        str | None, typer.Option(help="Name of the environment variable that holds the key.")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Use it wherever none is named.")] = False,
    yes: Yes = False,
) -> None:
    """Save an endpoint. Its key is sent to this address and no other."""
    from audioreason.inference.endpoint import Endpoint, save_endpoint

    endpoint = Endpoint(name=name, base_url=url, model=model, api_key_env=key_env)
    if key_env:
        endpoint = _asked(endpoint, yes)
    save_endpoint(Workspace.open(), endpoint, default or None)
    remark(f"{name}: {endpoint.base_url}" + (f", with the key in {key_env}" if key_env else ""))


@app.command()
def confirm(
    name: Name,
    variable: Annotated[str, typer.Argument(help="The variable that holds its key.")],
    yes: Yes = False,
) -> None:
    """Confirm that the key of an endpoint may be sent to its present address."""
    from audioreason.inference.endpoint import save_endpoint

    workspace = Workspace.open()
    endpoint = _saved(workspace, name)
    if endpoint.api_key_env != variable:
        has = f"names {endpoint.api_key_env}" if endpoint.api_key_env else "needs no key"
        raise EndpointError(f"The endpoint {name} {has}, not {variable}.", "See: audioreason endpoints list")
    save_endpoint(workspace, _asked(endpoint, yes))
    remark(f"The key in {variable} is sent to {endpoint.base_url}.")


@app.command()
def choose(name: Name) -> None:
    """Use an endpoint wherever none is named."""
    from audioreason.inference.endpoint import choose_endpoint

    choose_endpoint(Workspace.open(), name)


@app.command()
def remove(name: Name) -> None:
    """Forget an endpoint."""
    from audioreason.inference.endpoint import remove_endpoint

    workspace = Workspace.open()
    _saved(workspace, name)
    remove_endpoint(workspace, name)


def confirmed(workspace: Workspace, endpoint: Endpoint) -> Endpoint:
    """The endpoint, after a question in the terminal if its key is not confirmed for its address.

    Without a terminal, and for a protected variable, it is returned as it is: its `api_key` says what to do.
    """
    from audioreason.inference.endpoint import is_protected, save_endpoint

    variable = endpoint.api_key_env
    if endpoint.key_confirmed or variable is None or is_protected(variable) or not sys.stdin.isatty():
        return endpoint
    endpoint = _asked(endpoint, yes=False)
    save_endpoint(workspace, endpoint, default=False)
    return endpoint


def _asked(endpoint: Endpoint, yes: bool) -> Endpoint:
    """The endpoint with its key confirmed.

    Raises:
        EndpointError: if the answer is no, or no one can be asked.
    """
    what = f"Send the value of {endpoint.api_key_env} to {endpoint.base_url} with every request?"
    if not yes:
        if not sys.stdin.isatty():
            raise EndpointError(f"This needs a confirmation: {what}", "Add --yes if that is meant.")
        if not typer.confirm(what, err=True):
            raise EndpointError("The key is not sent, and nothing was changed.")
    return endpoint.confirm_key()


def _saved(workspace: Workspace, name: str) -> Endpoint:
    from audioreason.inference.endpoint import load_endpoints

    found = next((endpoint for endpoint in load_endpoints(workspace) if endpoint.name == name), None)
    if found is None:
        raise EndpointError(f"There is no endpoint named {name}.", "See: audioreason endpoints list")
    return found
