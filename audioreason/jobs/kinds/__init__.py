"""Kinds of jobs. A kind is one file here: its settings, `run`, `plan`, presets, gathered in a `Kind`.

    evaluate              ask models about items, a matrix of prompts x endpoints x seeds x splits
    serve                 a model server, supervised: the local engine or vLLM
    download              MMAR, or a dataset by name or mapping file, as a dataset of the workspace
    choices               multiple-choice items of free-form questions
    combine               one training set of shares of several datasets
    soundcheck_generate   a training set of generated items
    train                 an adapter from answers worth learning
    merge                 model and adapter become one model folder
    rest                  self-training: generate, filter, train, evaluate, round after round
    optimize              a search for a better prompt: MIPROv2 or GEPA
    rubrics               a judge rates how a run's right answers were reasoned

**Your own kind** needs no change to the lab. Write a module with a `Kind` in it and name it in
`AUDIOREASON_JOB_KINDS=my_module:KIND` (several with commas; an attribute may also be a list of kinds). The
launch page, the CLI and the queue then know it. The variable, and PYTHONPATH, must be set for the lab and
every command alike, since whichever process finds room starts the worker.

A module of a kind imports what it works with inside its functions: listing kinds stays cheap.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from audioreason.errors import JobError
from audioreason.jobs.live import JobProgress
from audioreason.jobs.spec import JobSpec, Needs
from audioreason.workspace import Workspace

KINDS_VARIABLE = "AUDIOREASON_JOB_KINDS"


@dataclass(frozen=True)
class Check:
    """One thing looked at before a start: `state` is ok, warn or fail; the sentence shows its arithmetic."""

    name: str
    state: str
    sentence: str


@dataclass(frozen=True)
class Plan:
    """What a job would do, before it is started.

    `tokens` and `seconds` are expected from past runs, None where there are none; `basis` says which.
    `jobs` counts the processes that would run, `command` is the same job as a command line.
    """

    jobs: int = 1
    items: int | None = None
    requests: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    basis: str = ""
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for `--json`."""
        return asdict(self)


def one_job(spec: Any) -> Sequence[Any]:
    """The default of `Kind.expand`: a job of this kind is one process."""
    return [spec]


def title_of_kind(spec: Any) -> str:
    """The default of `Kind.label`: the job is called after its kind."""
    return ""


def cpu_job(spec: Any) -> Needs:
    """The default of `Kind.needs`: one CPU slot, no GPU."""
    return Needs()


def asks_nobody(spec: Any, workspace: Workspace) -> Sequence[str]:
    """The default of `Kind.uses`: no server is asked."""
    return ()


def nothing_in_the_way(spec: Any, workspace: Workspace, job_id: str) -> None:
    """The default of `Kind.check_resume`: a job can always go on."""


@dataclass(frozen=True)
class Kind:
    """A kind of job.

    Attributes:
        name: as the CLI and `job.json` call it.
        title: for people.
        spec: pydantic model of its settings; field titles, descriptions and `json_schema_extra` (`widget`,
            `advanced`, `unit`) make the form.
        run: `(settings, workspace, progress) -> result`; runs in the worker's main thread. It looks at
            `progress.should_stop()`, and raises `StoppedEarly` when it left work behind. A `LabError` becomes
            the job's sentence. Called again with `progress.attempt > 1`, it continues.
        plan: `(settings, workspace) -> Plan`, the preview; quick, starts nothing.
        presets: settings by name.
        version: raised when the settings change their meaning; a worker refuses newer ones.
        needs: GPUs and CPU slots from the settings.
        expand: settings of the children if the job is a matrix; a single element makes a plain job.
        label: a short title from the settings; empty for the kind's.
        uses: URLs of the servers that it asks, from the settings; such a server is not stopped for another
            job while it runs. Where only `run` knows, it says so by `progress.uses`.
        check_resume: `(settings, workspace, job id)`; raises a `LabError` if a job that stopped could not go
            on now: what it needs is gone, or has changed since it began. Quick, starts nothing.
        preemptible: whether it gives way to others and starts again after.
        grace: seconds from SIGTERM to SIGKILL.
        about: one sentence.
    """

    name: str
    title: str
    spec: type[BaseModel]
    run: Callable[[Any, Workspace, JobProgress], dict[str, Any]]
    plan: Callable[[Any, Workspace], Plan]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int = 1
    needs: Callable[[Any], Needs] = cpu_job
    expand: Callable[[Any], Sequence[Any]] = one_job
    label: Callable[[Any], str] = title_of_kind
    uses: Callable[[Any, Workspace], Sequence[str]] = asks_nobody
    check_resume: Callable[[Any, Workspace, str], None] = nothing_in_the_way
    preemptible: bool = False
    grace: float = 10.0
    about: str = ""

    def settings(self, values: Mapping[str, Any]) -> Any:
        """The settings as this kind's model.

        Raises:
            JobError: naming the first field that is wrong, and why.
        """
        try:
            return self.spec.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            unknown = first["type"] == "extra_forbidden"
            close = get_close_matches(where, self.spec.model_fields, n=1)
            names = (
                f"Did you mean {close[0]}?" if close else f"There are: {', '.join(self.spec.model_fields)}."
            )
            raise JobError(
                f"The settings of a job {self.name} have no field {where}."
                if unknown
                else f"The settings of a job {self.name} cannot be used:{where and f' {where}:'}"
                f" {first['msg'].removeprefix('Value error, ')}.",
                names if unknown else f"See the fields with: audioreason jobs kinds {self.name}",
            ) from error


def find_kind(name: str) -> Kind:
    """The kind called `name`; imports that one alone.

    Raises:
        JobError: if there is none, or `AUDIOREASON_JOB_KINDS` cannot be used.
    """
    if name in _shipped():
        return _load(f"{__name__}.{name}", "KIND")[0]
    for kind in _from_environment():
        if kind.name == name:
            return kind
    names = [kind.name for kind in list_kinds()]
    close = get_close_matches(name, names, n=1)
    raise JobError(
        f"There is no kind of job called {name}.",
        f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names)}.",
    )


def kind_of(spec: JobSpec) -> tuple[Kind, Any]:
    """A job's kind and its settings as that kind's model.

    Raises:
        JobError: if the kind is unknown, the settings do not fit it, or a newer lab wrote them.
    """
    kind = find_kind(spec.kind)
    if spec.spec_version > kind.version:
        raise JobError(
            f"The settings of {spec.id} are of version {spec.spec_version}, and this lab knows"
            f" {spec.kind} up to version {kind.version}.",
            "Update audioreason, or submit the job again from here.",
        )
    return kind, kind.settings(spec.spec)


def list_kinds() -> list[Kind]:
    """Every kind, the shipped ones first.

    Raises:
        JobError: if `AUDIOREASON_JOB_KINDS` cannot be used.
    """
    shipped = [_load(f"{__name__}.{name}", "KIND")[0] for name in _shipped()]
    return [*shipped, *_from_environment()]


def _shipped() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def _from_environment() -> list[Kind]:
    named = [part.strip() for part in os.environ.get(KINDS_VARIABLE, "").split(",") if part.strip()]
    return [kind for part in named for kind in _load(*_split(part))]


def _split(named: str) -> tuple[str, str]:
    module, _, attribute = named.partition(":")
    return module, attribute or "KIND"


def _load(module: str, attribute: str) -> list[Kind]:
    try:
        value = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise JobError(
            f"The kind of job {module}:{attribute} cannot be loaded ({error}).",
            f"Correct {KINDS_VARIABLE}, or PYTHONPATH.",
        ) from error
    found = [value] if isinstance(value, Kind) else list(value)
    if not all(isinstance(kind, Kind) for kind in found):
        raise JobError(f"{module}:{attribute} is not a Kind.", f"Correct {KINDS_VARIABLE}.")
    return found
