"""Whom an evaluation asks: a saved endpoint, a URL, the default one, or an engine of its own.

Knows names and jobs; asks no server and starts nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audioreason.errors import JobError
from audioreason.jobs.past import Asked
from audioreason.workspace import Workspace, shipped

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint

DEFAULT_ENDPOINT = "default"
EMBEDDED = "embedded"


def named_endpoint(workspace: Workspace, name: str, model: str) -> Endpoint | None:
    """The endpoint meant by a name; None for the embedded model.

    Raises:
        JobError: if there is none of that name, or no model for the embedded engine.
        EndpointError: if it is a URL that cannot be used.
    """
    from audioreason.inference.endpoint import Endpoint, default_endpoint, load_endpoints

    if name == EMBEDDED:
        embedded_model(model)
        return None
    if name == DEFAULT_ENDPOINT:
        found = default_endpoint(workspace)
    elif "://" in name:
        given = Endpoint(name=model or "endpoint", base_url=name, model=model)
        # a saved one of this address knows its key
        saved = (one for one in load_endpoints(workspace) if one.base_url == given.base_url)
        found = next(saved, given)
    else:
        known = {endpoint.name: endpoint for endpoint in load_endpoints(workspace)}
        if name not in known:
            names = f"There are: {', '.join(known)}." if known else "Save one first, or give its URL."
            raise JobError(f"There is no endpoint named {name}.", names)
        found = known[name]
    return found.model_copy(update={"model": model}) if found is not None and model else found


def wait_for(workspace: Workspace, base_url: str) -> float:
    """Seconds for which a server that went away is waited for: as long as the job that serves it takes to
    start it again, a minute for servers that no job of this workspace serves."""
    from audioreason.evaluate import SERVER_WAIT
    from audioreason.jobs.kinds.serve import ServeSpec
    from audioreason.jobs.live import place
    from audioreason.jobs.spec import job_folder, read_spec, read_state
    from audioreason.jobs.watch import list_jobs

    for view in list_jobs(workspace, children=False):
        if view.kind != "serve" or view.over:
            continue
        state = read_state(job_folder(workspace, view.id))
        if state is not None and state.address == place(base_url):
            return ServeSpec.model_validate(read_spec(job_folder(workspace, view.id)).spec).patience
    return SERVER_WAIT


def embedded_model(model: str) -> Path | None:
    """The folder of the model that the embedded engine is to serve; None for the Pocket Listener.

    Raises:
        JobError: if there is no model in it.
    """
    if model in ("", shipped("pocket-listener").name):
        return None
    folder = Path(model).expanduser().resolve()
    if not (folder / "config.json").is_file():
        raise JobError(
            f"The embedded engine cannot serve {model}: there is no model in {folder}.",
            "Name a folder that holds config.json and weights, or an endpoint that has the model.",
        )
    return folder


def asked(endpoint: Endpoint | None, model: str) -> Asked:
    """Whose past runs tell how long this takes; an endpoint of no named model is known by its address."""
    if endpoint is None:
        return Asked((embedded_model(model) or shipped("pocket-listener")).name)
    return Asked(endpoint.model, endpoint.base_url)
