"""The kind `optimize`: search for a better prompt with MIPROv2 or GEPA.

Its settings are `optimize.config.OptimizeConfig`. Knows who is asked; how a search goes belongs to
`audioreason.optimize`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.errors import EndpointError, JobError, RunError
from audioreason.jobs.endpoints import EMBEDDED, asked, embedded_model, named_endpoint
from audioreason.jobs.kinds import Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.optimize.config import SAME, OptimizeConfig
from audioreason.progress import Progress
from audioreason.wording import counted
from audioreason.workspace import Workspace, shipped

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint
    from audioreason.items import Dataset
    from audioreason.jobs.supervise import BackgroundServer
    from audioreason.optimize.record import Optimization
    from audioreason.prompts import Prompt

log = logging.getLogger("audioreason.jobs")

_ANSWER_SECONDS = 3.0  # what a proposal takes where nothing is known


def run(spec: OptimizeConfig, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Make the search, or continue it; its id is the job's."""
    from audioreason.items import load_dataset
    from audioreason.optimize.record import optimization_folder
    from audioreason.prompts import load_prompt

    resume = (optimization_folder(workspace, progress.job_id) / "config.json").is_file()
    dataset = load_dataset(workspace, spec.dataset)
    seed = load_prompt(spec.prompt, [workspace.prompts])
    found = search(workspace, spec, dataset, seed, progress.job_id, resume, progress, progress.uses)
    if found.standing == "stopped":
        raise StoppedEarly("The search can be continued; the best so far is saved.")
    result = found.state.result
    return {
        "optimization": found.id,
        "ending": found.standing,
        "candidates": len(found.candidates),
        **(result.model_dump(mode="json") if result is not None else {}),
    }


def search(
    workspace: Workspace,
    spec: OptimizeConfig,
    dataset: Dataset,
    seed: Prompt,
    search_id: str,
    resume: bool,
    progress: Progress,
    uses: Callable[[Sequence[str]], None] = lambda urls: None,
) -> Optimization:
    """Make a search, or continue it, with the engines that it needs of its own.

    An engine of its own that ends in the middle is started again, and the search continues: what was answered
    is not asked again.

    Args:
        uses: hears of the servers that are asked.

    Raises:
        JobError: if a name is unknown, the embedded proposer has no model folder, or an engine is given up.
        LabError: as `optimize`.
    """
    from audioreason.jobs.supervise import BackgroundServer
    from audioreason.optimize.search import optimize

    with contextlib.ExitStack() as stack:
        servers = _engines(workspace, spec, progress)
        own = [server for server in dict.fromkeys(servers) if isinstance(server, BackgroundServer)]
        started = {server: stack.enter_context(server) for server in own}
        task, proposer = (
            started[server] if isinstance(server, BackgroundServer) else server for server in servers
        )
        log.info("%s asks %s; %s proposes", seed.name, task.describe(), proposer.describe())
        uses([task.base_url, proposer.base_url])
        while True:
            try:
                return optimize(
                    workspace, dataset, seed, spec, task, proposer,
                    optimization_id=search_id, resume=resume, progress=progress,
                )  # fmt: skip
            except (EndpointError, RunError) as error:
                back = [server.came_back() for server in own]  # each is waited for
                if not any(back):
                    raise
                log.warning("%s The server answers again: the search continues.", error.message)
                resume = True


def _engines(
    workspace: Workspace, spec: OptimizeConfig, progress: Progress
) -> tuple[Endpoint | BackgroundServer, Endpoint | BackgroundServer]:
    """Who answers and who proposes: endpoints, or engines of the search's own."""
    from audioreason.engines.launch import pocket_folder
    from audioreason.jobs.serving import local_server

    task: Endpoint | BackgroundServer | None = named_endpoint(workspace, spec.endpoint, spec.model)
    if task is None:
        folder = embedded_model(spec.model) or pocket_folder()
        task = local_server(folder, progress, _stopped, media=[workspace.root])
    if spec.proposer == SAME:
        return task, task
    proposer: Endpoint | BackgroundServer | None = None
    if spec.proposer != EMBEDDED:
        proposer = named_endpoint(workspace, spec.proposer, spec.proposer_model)
    return task, proposer or local_server(_proposer_folder(spec), progress, _stopped)


def _stopped() -> StoppedEarly:
    return StoppedEarly("The search can be continued; nothing was asked yet.")


def _proposer_folder(spec: OptimizeConfig) -> Path:
    """The folder of the model that an engine of its own serves as the proposer.

    Raises:
        JobError: if none is named: the shipped model writes no prompts.
    """
    folder = Path(spec.proposer_model).expanduser().resolve() if spec.proposer_model else None
    if folder is None or not folder.is_dir():
        raise JobError(
            f"The embedded proposer needs the folder of a language model, and {folder or 'none'} is none.",
            "The Pocket Listener hears and cannot write prompts: name another folder, or an endpoint.",
        )
    return folder


def uses(spec: OptimizeConfig, workspace: Workspace) -> Sequence[str]:
    """The addresses of both models, unless the job has engines of its own."""
    names = [(spec.endpoint, spec.model)]
    if spec.proposer not in (SAME, EMBEDDED):
        names.append((spec.proposer, spec.proposer_model))
    found = [None if name == EMBEDDED else named_endpoint(workspace, name, model) for name, model in names]
    return [endpoint.base_url for endpoint in found if endpoint is not None]


def plan(spec: OptimizeConfig, workspace: Workspace) -> Plan:
    """Requests to both models at most, and the time as past runs of the seed took it."""
    from audioreason.items import load_dataset
    from audioreason.jobs.past import expect
    from audioreason.optimize.outcome import check_name
    from audioreason.optimize.search import plan_search
    from audioreason.prompts import load_prompt

    dataset = load_dataset(workspace, spec.dataset)
    seed = load_prompt(spec.prompt, [workspace.prompts])
    if spec.name:
        check_name(workspace, spec.name, "")
    found = plan_search(dataset, spec)
    endpoint = named_endpoint(workspace, spec.endpoint, spec.model)
    notes = [
        f"Train {found.train}, dev {found.dev}, test {found.test} items;"
        f" up to {counted(found.trials, 'trial')}, {found.full_trials} of them on all of dev.",
        f"Requests at most: {found.task_requests:,} to the task model while searching,"
        f" {found.proposer_requests:,} to the proposer, {found.test_requests:,} for the final test.",
        *found.notes,
    ]
    if endpoint is not None and not endpoint.local:
        notes.append(f"The clips go to {endpoint.host}, which is not this machine.")
    same = spec.proposer == SAME
    if same and (endpoint is None or endpoint.model == shipped("pocket-listener").name):
        notes.append("The Pocket Listener cannot write prompts: choose another proposer.")
    requests = found.task_requests + found.test_requests
    expected = expect(workspace, [seed.name], [asked(endpoint, spec.model)], requests)
    seconds = expected.seconds
    if seconds is not None:
        seconds += found.proposer_requests * _ANSWER_SECONDS
        if spec.budget_minutes is not None:
            share = found.test_requests / requests
            seconds = min(seconds, 60 * spec.budget_minutes + seconds * share)
    return Plan(
        items=found.train + found.dev + found.test,
        requests=requests + found.proposer_requests,
        tokens=expected.tokens,
        seconds=seconds,
        basis=expected.basis,
        notes=tuple(notes),
    )


def label(spec: OptimizeConfig) -> str:
    """Such as "MIPROv2 from baseline on soundcheck"."""
    return f"{'MIPROv2' if spec.optimizer == 'mipro' else 'GEPA'} from {spec.prompt} on {spec.dataset}"


def check_resume(spec: OptimizeConfig, workspace: Workspace, job_id: str) -> None:
    """A search goes on with its own settings and seed; what it asks must still be there.

    Raises:
        LabError: if an endpoint or the dataset is gone.
    """
    from audioreason.items import load_dataset
    from audioreason.optimize.record import optimization_folder, read_splits

    uses(spec, workspace)
    dataset = load_dataset(workspace, spec.dataset)
    parts = read_splits(optimization_folder(workspace, job_id))
    if gone := [item_id for ids in parts.values() for item_id in ids if item_id not in dataset]:
        raise JobError(
            f"The dataset {spec.dataset} has changed since this search began: the item {gone[0]} is gone.",
            "Retry begins a new search on the dataset as it is now.",
        )


KIND = Kind(
    name="optimize",
    title="Optimise a prompt",
    about="Search for a better prompt with MIPROv2 or GEPA, and measure it once on items nobody looked at.",
    spec=OptimizeConfig,
    run=run,
    plan=plan,
    label=label,
    uses=uses,
    check_resume=check_resume,
    grace=600.0,  # answers under way are waited for: they are paid for, and a replay needs them
    presets={
        "MIPROv2, instructions only": {},
        "MIPROv2 with text demos": {"demos": 3},
        "GEPA": {"optimizer": "gepa"},
        "paper: MIPROv2 on 100 + 100 of MMAR (not held out)": {
            "dataset": "mmar",
            "dealing": "paper",
            "train_items": 100,
            "dev_items": 100,
            "level": "light",
            "demos": 0,
            "temperature": 0.1,
        },
    },
)
