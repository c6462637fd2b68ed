"""The kind `evaluate`: ask models about items and keep the answers as runs.

A matrix of prompts x endpoints x seeds x splits, of what is heard and of orders of the choices: one child job
for each combination, which makes one run of the same id as the job. Knows nothing about how a run is made:
that is `audioreason.evaluate`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from audioreason.errors import JobError, PromptError, UnansweredError
from audioreason.jobs.endpoints import DEFAULT_ENDPOINT, asked, embedded_model, named_endpoint, wait_for
from audioreason.jobs.kinds import Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.wording import counted
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint, Sampling
    from audioreason.items import Dataset, Item
    from audioreason.prompts import Prompt

Clips = Literal["real", "silence", "noise", "swap", "text"]
Order = Annotated[int, Field(ge=0, le=23)]

log = logging.getLogger("audioreason.jobs")


class EvaluateSpec(BaseModel):
    """What to ask, whom, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(
        default="soundcheck",
        title="Dataset",
        description="Whose items are asked about.",
        json_schema_extra={"widget": "dataset"},
    )
    prompts: list[str] = Field(
        default=["structured-reasoning"],
        min_length=1,
        title="Prompts",
        description="One run for each.",
        json_schema_extra={"widget": "prompts"},
    )
    endpoints: list[str] = Field(
        default=[DEFAULT_ENDPOINT],
        min_length=1,
        title="Endpoints",
        description="Names of saved endpoints or URLs; 'default' is the chosen one, 'embedded' starts the"
        " Pocket Listener for the job.",
        json_schema_extra={"widget": "endpoints"},
    )
    splits: list[str] = Field(
        default=["full"],
        min_length=1,
        title="Splits",
        description="explore and sealed for benchmarks; train, dev and test for others; full for all.",
        json_schema_extra={"widget": "splits"},
    )
    seeds: list[int] = Field(
        default=[0],
        min_length=1,
        title="Seeds",
        description="Each seed gives other samples of the same items.",
        json_schema_extra={"widget": "integers"},
    )
    samples: int = Field(default=1, ge=1, title="Samples", description="Predictions for each item.")
    per_request: int = Field(
        default=1,
        ge=1,
        le=128,
        title="Predictions a request",
        description="Of one item; its clip is sent once for them. At temperature 0 always one.",
        json_schema_extra={"advanced": True},
    )
    clips: list[Clips] = Field(
        default=["real"],
        min_length=1,
        title="Clips",
        description="What is heard, one run for each: the real clip, silence or noise of its length, another"
        " item's clip (swap), or nothing but the text. What the real clips add is their contribution.",
    )
    orders: list[Order] = Field(
        default=[],
        title="Orders of the choices",
        description="Empty asks as written. Such as 0, 1, 2, 3: one run for each order, 0 as written; how"
        " steady a model's choices are shows beside each other.",
        json_schema_extra={"widget": "integers"},
    )
    temperature: float = Field(default=0.1, ge=0, le=10, title="Temperature")
    max_tokens: int = Field(
        default=10_000, ge=1, title="Longest answer", json_schema_extra={"unit": "tokens"}
    )
    top_p: float | None = Field(default=None, gt=0, le=1, title="Top p", json_schema_extra={"advanced": True})
    top_k: int | None = Field(default=None, ge=-1, title="Top k", json_schema_extra={"advanced": True})
    min_p: float | None = Field(default=None, ge=0, le=1, title="Min p", json_schema_extra={"advanced": True})
    repetition_penalty: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        title="Repetition penalty",
        json_schema_extra={"advanced": True},
    )
    no_repeat_ngram_size: int | None = Field(
        default=None,
        ge=1,
        title="No repeated n-grams of",
        description="For servers that take it; vLLM ignores it.",
        json_schema_extra={"advanced": True, "unit": "tokens"},
    )
    stop: list[str] = Field(
        default=[],
        title="Stop texts",
        description="An answer ends where one of them would come.",
        json_schema_extra={"advanced": True},
    )
    items: list[str] = Field(
        default=[],
        title="Only these items",
        description="Ids of pinned or filtered items; empty asks about the whole split.",
        json_schema_extra={"advanced": True},
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        title="Only the first items",
        description="For a quick look; empty asks about all.",
        json_schema_extra={"unit": "items"},
    )
    model: str = Field(
        default="",
        title="Model",
        description="Its name at the endpoint, or a folder for the embedded engine; may be empty.",
        json_schema_extra={"advanced": True},
    )
    concurrency: int = Field(
        default=64,
        ge=1,
        title="Predictions in flight, at most",
        description="Of all requests together; the runner finds by itself how many the server bears.",
        json_schema_extra={"advanced": True},
    )
    server_wait_seconds: float | None = Field(
        default=None,
        ge=0,
        title="Wait for a server that went away",
        description="Each time. Empty: 60 seconds, or as long as its job waits if this workspace serves it.",
        json_schema_extra={"advanced": True, "unit": "seconds"},
    )
    allow_missing_audio: bool = Field(
        default=False,
        title="Ask without clip where it is missing",
        description="Otherwise such items count as errors.",
        json_schema_extra={"advanced": True},
    )


_HEARD = {
    "real": "real clips",
    "silence": "silence",
    "noise": "noise",
    "swap": "swapped clips",
    "text": "text alone",
}


def expand(spec: EvaluateSpec) -> Sequence[EvaluateSpec]:
    """One settings object for each combination, without repeats."""
    names = ("prompts", "endpoints", "seeds", "splits", "clips", "orders")
    axes: list[list[list[Any]]] = [[[one] for one in dict.fromkeys(getattr(spec, name))] for name in names]
    return [
        spec.model_copy(update=dict(zip(names, chosen, strict=True)))
        for chosen in itertools.product(*(axis or [[]] for axis in axes))
    ]


def label(spec: EvaluateSpec) -> str:
    """Such as "structured-reasoning on soundcheck (explore), seed 3"."""

    def several(values: Sequence[object], noun: str) -> str:
        return str(values[0]) if len(values) == 1 else f"{len(values)} {noun}"

    parts = [f"{several(spec.prompts, 'prompts')} on {spec.dataset}"]
    if spec.items:
        parts.append(f"({counted(len(spec.items), 'chosen item')})")
    if spec.splits != ["full"]:
        parts.append(f"({several(spec.splits, 'splits')})")
    if spec.endpoints != [DEFAULT_ENDPOINT]:
        parts.append(f"at {several(spec.endpoints, 'endpoints')}")
    if spec.seeds != [0]:
        parts.append(f"seed {spec.seeds[0]}" if len(spec.seeds) == 1 else f"{len(spec.seeds)} seeds")
    if spec.clips != ["real"]:
        parts.append(f"with {' and '.join(_HEARD[one] for one in spec.clips)}")
    if spec.orders:
        parts.append(f"order {spec.orders[0]}" if len(spec.orders) == 1 else f"in {len(spec.orders)} orders")
    return " ".join(parts)


def run(spec: EvaluateSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Make the run, or continue it; its id is the job's."""
    from audioreason.evaluate import evaluate
    from audioreason.items import load_dataset
    from audioreason.runs.record import run_folder, run_status
    from audioreason.runs.report import score_report

    if len(expand(spec)) != 1:
        raise JobError("A job evaluates one combination; a matrix is submitted as a parent with children.")
    prompt = _prompt(spec, workspace, progress.job_id)
    dataset = load_dataset(workspace, spec.dataset)
    folder = run_folder(workspace, progress.job_id)
    with _endpoint(workspace, spec, progress) as endpoint:
        log.info("%s asks %s", prompt.name, endpoint.describe())
        wait = spec.server_wait_seconds
        try:
            evaluate(
                workspace,
                dataset,
                prompt,
                endpoint,
                _sampling(spec),
                split=None if spec.splits[0] == "full" else spec.splits[0],
                limit=spec.limit,
                item_ids=spec.items or None,
                run_id=progress.job_id,
                resume=folder.exists(),
                seed=spec.seeds[0],
                concurrency=spec.concurrency,
                progress=progress,
                allow_missing_audio=spec.allow_missing_audio,
                permutation=spec.orders[0] if spec.orders else None,
                ablation=None if spec.clips[0] == "real" else spec.clips[0],
                server_wait_seconds=wait_for(workspace, endpoint.base_url) if wait is None else wait,
            )
        except UnansweredError as error:
            hint = f"Continue with: audioreason jobs resume {progress.job_id}"
            raise UnansweredError(error.message, hint, error.answered, error.total) from error
    if run_status(folder) != "finished":
        raise StoppedEarly("The run can be continued where it stopped.")
    report = score_report(workspace, progress.job_id)
    return {
        "run_id": progress.job_id,
        "n": report["n"],
        "answered": report["answered"],
        "unrated": report["unrated"],
        "strict": report["strict"],
        "official": report["official"],
    }


def uses(spec: EvaluateSpec, workspace: Workspace) -> Sequence[str]:
    """The endpoint's address, unless the job has an engine of its own."""
    found = [named_endpoint(workspace, name, spec.model) for name in spec.endpoints]
    return [endpoint.base_url for endpoint in found if endpoint is not None]


def plan(spec: EvaluateSpec, workspace: Workspace) -> Plan:
    """Items and requests of the whole matrix, tokens and time as past runs of its prompts took them."""
    from audioreason.items import load_dataset
    from audioreason.jobs.past import expect
    from audioreason.prompts import load_prompt, remarks

    dataset = load_dataset(workspace, spec.dataset)
    counts = [len(_chosen(dataset, split, spec.items)[: spec.limit]) for split in dict.fromkeys(spec.splits)]
    prompts = [load_prompt(name, [workspace.prompts]).name for name in dict.fromkeys(spec.prompts)]
    endpoints = [named_endpoint(workspace, name, spec.model) for name in dict.fromkeys(spec.endpoints)]
    notes = [
        f"The clips go to {endpoint.host}, which is not this machine."
        for endpoint in endpoints
        if endpoint is not None and not endpoint.local and {"real", "swap"} & set(spec.clips)
    ]
    if "real" not in spec.clips:
        notes.append(
            "What the clips add shows beside a run with the real ones: choose real too, or have one."
        )
    if dataset.info.kind == "benchmark" and _opens_sealed(dataset, spec):
        notes.append("This includes the sealed half: use it for final figures, not while you edit a prompt.")
    for name in dict.fromkeys(spec.prompts):
        with contextlib.suppress(PromptError):  # the job says why it cannot be used
            notes += [f"{name}: {said}" for said in remarks(load_prompt(name, [workspace.prompts]))]
    if None in endpoints and len(expand(spec)) > 1:
        notes.append("Each run starts an engine of its own; with a serve job they would share one.")
    per_run = sum(counts) * spec.samples * len(set(spec.seeds))
    per_run *= len(set(spec.clips)) * max(1, len(set(spec.orders)))
    whom = [asked(endpoint, spec.model) for endpoint in endpoints]
    expected = expect(workspace, prompts, whom, per_run)
    return Plan(
        items=sum(counts),
        requests=per_run // spec.samples * _sampling(spec).requests * len(prompts) * len(endpoints),
        tokens=expected.tokens,
        seconds=expected.seconds,
        basis=expected.basis,
        notes=tuple(notes),
    )


def _chosen(dataset: Dataset, split: str, item_ids: Sequence[str]) -> tuple[Item, ...]:
    """The items of a split, or those of them that are named."""
    from audioreason.items.splits import FULL, split_items

    if not item_ids:
        return split_items(dataset, split)
    from audioreason.evaluate import choose_items

    return choose_items(dataset, None if split == FULL else split, item_ids)


def _opens_sealed(dataset: Dataset, spec: EvaluateSpec) -> bool:
    """Whether an item of the sealed half is asked about."""
    from audioreason.items.splits import split_items

    sealed = {item.id for item in split_items(dataset, "sealed")}
    asked = (_chosen(dataset, split, spec.items)[: spec.limit] for split in dict.fromkeys(spec.splits))
    return any(item.id in sealed for items in asked for item in items)


def check_resume(spec: EvaluateSpec, workspace: Workspace, job_id: str) -> None:
    """A run goes on with its own prompt, about the items that it began with, asking the same model.

    Raises:
        LabError: if the endpoint, the dataset or the prompt is gone, or another than when the run began.
    """
    from audioreason.items import load_dataset
    from audioreason.prompts import load_prompt
    from audioreason.runs.record import load_record, run_folder

    endpoint = named_endpoint(workspace, spec.endpoints[0], spec.model)
    dataset = load_dataset(workspace, spec.dataset)
    if not run_folder(workspace, job_id).exists():
        load_prompt(spec.prompts[0], [workspace.prompts])
        return
    stored = load_record(workspace, job_id)
    if stored.dataset.hash != dataset.info.hash:
        raise JobError(
            f"The dataset {spec.dataset} has changed since this run began, so its answers would not belong"
            " together.",
            "Retry asks about the dataset as it is now.",
        )
    before = stored.endpoint.model if stored.endpoint else ""
    if endpoint is not None and endpoint.model and before and endpoint.model != before:
        raise JobError(
            f"This run began with the model {before}, and {endpoint.name} has {endpoint.model} now.",
            f"Serve {before} there again, or retry with the other model.",
        )


def _prompt(spec: EvaluateSpec, workspace: Workspace, run_id: str) -> Prompt:
    """The prompt of the run that goes on, whatever has become of its file since; else as it is now."""
    from audioreason.prompts import Prompt, load_prompt
    from audioreason.runs.record import load_record, run_folder

    if run_folder(workspace, run_id).exists() and (stored := load_record(workspace, run_id).prompt):
        return Prompt(name=stored.name, system=stored.system, user=stored.user, sections=stored.sections)
    return load_prompt(spec.prompts[0], [workspace.prompts])


def _sampling(spec: EvaluateSpec) -> Sampling:
    from audioreason.inference.endpoint import Sampling

    return Sampling(**{name: getattr(spec, name) for name in Sampling.model_fields})


@contextlib.contextmanager
def _endpoint(workspace: Workspace, spec: EvaluateSpec, progress: JobProgress) -> Iterator[Endpoint]:
    found = named_endpoint(workspace, spec.endpoints[0], spec.model)
    if found is not None:
        yield found
        return
    from audioreason.engines.launch import start_engine

    progress.phase("engine")
    with start_engine(embedded_model(spec.model), allowed_media=[workspace.root], say=log.info) as endpoint:
        yield endpoint


_PAPER = {"dataset": "mmar", "temperature": 0.1, "max_tokens": 10_000, "samples": 1}

KIND = Kind(
    name="evaluate",
    title="Evaluate",
    about="Ask models about every item of a dataset and score the answers.",
    spec=EvaluateSpec,
    run=run,
    plan=plan,
    expand=expand,
    label=label,
    uses=uses,
    check_resume=check_resume,
    presets={
        "soundcheck, structured": {},
        "quick look": {"splits": ["explore"], "limit": 32},
        "does it need the sound? real clips and silence": {"clips": ["real", "silence"]},
        "does the order of the choices matter? four orders": {"orders": [0, 1, 2, 3]},
        "paper: structured reasoning on MMAR": {**_PAPER, "prompts": ["structured-reasoning"]},
        "paper: all eight prompts on MMAR": {
            **_PAPER,
            "prompts": [
                "baseline",
                "expert-analyst",
                "expert-analyst-decisive",
                "category-aware",
                "targeted-hints",
                "structured-reasoning",
                "mipro-v1",
                "mipro-v2",
            ],
        },
        "paper: candidates for self-training": {
            "dataset": "soundcheck",
            "samples": 16,
            "temperature": 0.9,
            "top_p": 0.95,
            "top_k": 50,
            "max_tokens": 2048,
        },
    },
)
