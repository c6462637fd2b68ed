"""The first phase of a round: many candidates for each problem, by the road of every evaluation.

Knows nothing about which of them are worth learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioreason.errors import EndpointError, UnansweredError
from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.items import load_dataset
from audioreason.items.variants import Ablation
from audioreason.progress import Progress
from audioreason.prompts import Prompt, load_prompt
from audioreason.rest.config import RestConfig
from audioreason.rest.phases import Interrupted
from audioreason.rest.record import generate_run, silent_run
from audioreason.runs import load_record, run_folder, run_status
from audioreason.runs.record import Kind
from audioreason.wording import counted
from audioreason.workspace import Workspace

_SEEDS = 1_000  # apart: a round's seed is another for each of the experiment's
_GONE = ("refused", "disconnected", "half_body", "not_sent")  # error kinds of a server that is not there


def generate(
    workspace: Workspace,
    config: RestConfig,
    number: int,
    dataset: str,
    endpoint: Endpoint,
    progress: Progress,
) -> str:
    """Make a round's candidates, or the rest of them; returns the run's id.

    `dataset` holds the problems: the experiment's own, of which split and limit are taken, or one that was
    made for the round.

    Each candidate has a seed of its own, so what a kill took is drawn again as it would have been.

    Raises:
        Interrupted: if a stop was asked for.
        LabError: as `evaluate`.
    """
    run_id = generate_run(config.name, number)
    _candidates(workspace, config, number, run_id, dataset, config.samples, None, endpoint, progress)
    return run_id


def ask_silent(
    workspace: Workspace,
    config: RestConfig,
    number: int,
    dataset: str,
    endpoint: Endpoint,
    progress: Progress,
) -> str:
    """Ask about the same problems with silent clips, or the rest of them; the run's id, "" without a control.

    Raises:
        Interrupted: if a stop was asked for.
        LabError: as `evaluate`.
    """
    if not config.control:
        return ""
    run_id = silent_run(config.name, number)
    _candidates(workspace, config, number, run_id, dataset, config.control, "silence", endpoint, progress)
    return run_id


def drawn(config: RestConfig, samples: int) -> Sampling:
    """How candidates are drawn."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_tokens=config.max_tokens,
        samples=samples,
        per_request=config.per_request,
    )


def _candidates(
    workspace: Workspace,
    config: RestConfig,
    number: int,
    run_id: str,
    dataset: str,
    samples: int,
    ablation: Ablation | None,
    endpoint: Endpoint,
    progress: Progress,
) -> None:
    made = bool(config.curriculum)
    ask(
        workspace,
        config,
        run_id,
        config.prompt,
        endpoint,
        drawn(config, samples),
        progress,
        dataset=dataset,
        split="full" if made else config.split,
        limit=None if made else config.limit,
        seed=candidate_seed(config, number),
        kind="candidates",
        ablation=ablation,
    )


def candidate_seed(config: RestConfig, number: int) -> int:
    """What a round's candidates are drawn from."""
    return config.seed * _SEEDS + number


def ask(
    workspace: Workspace,
    config: RestConfig,
    run_id: str,
    prompt: str,
    endpoint: Endpoint,
    sampling: Sampling,
    progress: Progress,
    *,
    dataset: str,
    split: str,
    limit: int | None,
    seed: int,
    kind: Kind,
    item_ids: Sequence[str] | None = None,
    ablation: Ablation | None = None,
) -> None:
    """Make one run, go on with it, or leave it if it is finished.

    Errors that tell of the server alone are asked again; other errors stay in the run, as in any evaluation.

    Raises:
        Interrupted: if a stop was asked for.
        UnansweredError: if the server went away, or answered less than half.
        EndpointError: if no prediction has an answer.
        LabError: as `evaluate`.
    """
    folder = run_folder(workspace, run_id)
    if folder.is_dir() and run_status(folder) == "finished":
        try:
            _check_answered(run_id, folder)
        except EndpointError:  # what has no answer is asked for again
            pass
        else:
            return
    try:
        evaluate(
            workspace,
            load_dataset(workspace, dataset),
            stored_prompt(workspace, run_id, prompt),
            endpoint,
            sampling,
            split=None if split == "full" else split,
            limit=limit,
            item_ids=item_ids,
            run_id=run_id,
            resume=folder.is_dir(),
            seed=seed,
            concurrency=config.concurrency,
            progress=progress,
            kind=kind,
            ablation=ablation,
        )
    except UnansweredError as error:  # its hint would continue the run alone, not the experiment
        message = error.message.replace("The run", f"The run {run_id}", 1)
        raise UnansweredError(message, "What was answered is kept.", error.answered, error.total) from error
    if run_status(folder) != "finished":
        raise Interrupted
    _check_answered(run_id, folder)


def stored_prompt(workspace: Workspace, run_id: str, name: str) -> Prompt:
    """The prompt that a run began with, whatever has become of its file since; else as it is now."""
    if run_folder(workspace, run_id).is_dir() and (stored := load_record(workspace, run_id).prompt):
        return Prompt(name=stored.name, system=stored.system, user=stored.user, sections=stored.sections)
    return load_prompt(name, [workspace.prompts])


def _check_answered(run_id: str, folder: Path) -> None:
    """See that a finished run has the answers that the server could give.

    Raises:
        EndpointError: if predictions are missing because the server was not there, or none has an answer:
            a phase that counted nothing would say something wrong about the model.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "predictions.parquet", columns=["error_kind", "error"])
    kinds = table["error_kind"]
    if lost := int(pc.sum(pc.is_in(kinds, pa.array(_GONE))).as_py() or 0):
        raise EndpointError(
            f"The server went away: {lost} predictions of {run_id} have no answer.",
            "What it answered is kept.",
        )
    if len(table) and kinds.null_count == 0:
        raise EndpointError(
            f"None of {counted(len(table), 'prediction')} of {run_id} has an answer. The first error:"
            f" {table['error'][0].as_py()}",
            "Correct the cause; they are asked for again.",
        )


def run_tokens(workspace: Workspace, run_id: str) -> int:
    """Completion tokens of a finished run."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(
        run_folder(workspace, run_id) / "predictions.parquet", columns=["completion_tokens"]
    )
    return int(pc.sum(table["completion_tokens"]).as_py() or 0)
