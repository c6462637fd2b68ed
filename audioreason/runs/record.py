"""The run record (`run.json`, the whole recipe, written once) and the prediction (one sample of one item).

Knows what a run is and where its files are; knows nothing about writing predictions, scoring or queries.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from audioreason import __version__
from audioreason.errors import RunError
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.items import Dataset
from audioreason.prompts import Prompt, revealed
from audioreason.workspace import FileLock, Workspace, lab_root, read_regular

Kind = Literal["eval", "playground", "import", "candidates"]
Status = Literal["finished", "running", "stopped"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_FOLDER = "run_id="
# what changes a prediction or a score when it changes
_PACKAGES = (
    "aiohttp",
    "duckdb",
    "numpy",
    "openai",
    "orjson",
    "pyarrow",
    "torch",
    "transformers",
    "peft",
    "vllm",
)


class DatasetRef(BaseModel):
    """Which items were asked; `hash` covers items and clips, `size` counts the whole dataset's items."""

    model_config = ConfigDict(frozen=True)

    name: str
    hash: str
    kind: str = "own"
    size: int = 0


class PromptRef(BaseModel):
    """The prompt with its whole text, so that a run can be read after the template is gone."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    system: str
    user: str
    sections: tuple[str, ...] = ()
    reveals: tuple[str, ...] = ()  # what it tells the model about the benchmark: category, subcategory


class EndpointRef(BaseModel):
    """Who answered. The URL carries no credentials: `Endpoint` refuses any."""

    model_config = ConfigDict(frozen=True)

    name: str
    base_url: str
    model: str
    transport: str
    refused_fields: tuple[str, ...] = ()  # optional request fields that the server does not take: seed


class RunRecord(BaseModel):
    """`run.json`: everything that is needed to ask the same questions again.

    `split` is None for the whole dataset; `prompt`, `endpoint` and `sampling` are None where nobody knows
    them (an import). `item_ids` are the items where somebody chose them one by one, None for the whole
    split. `n_items` counts the items of this run. Status is not stored: see `run_status`.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    created: datetime
    kind: Kind
    dataset: DatasetRef
    split: str | None = None
    limit: int | None = None
    item_ids: tuple[str, ...] | None = None
    prompt: PromptRef | None = None
    endpoint: EndpointRef | None = None
    sampling: Sampling | None = None
    seed: int = 0
    permutation: int | None = None
    ablation: str | None = None
    n_items: int
    packages: dict[str, str] = {}
    git_commit: str | None = None

    @property
    def samples(self) -> int:
        """Predictions per item."""
        return self.sampling.samples if self.sampling else 1

    @property
    def expected_sections(self) -> tuple[str, ...]:
        """The sections that the prompt asks for, such as HEARD, ANALYSIS, ANSWER."""
        return self.prompt.sections if self.prompt else ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One sample of one item, raw as the server gave it, or the error that came instead.

    `error` is a sentence and `error_kind` a word; both are None when the server answered. `seconds` is the
    duration of the request, `created` the time of recording (ISO 8601, UTC), `attempt` counts from 1.
    `tokens_estimated`: `completion_tokens` is a share, by length, of those of several predictions that the
    server counted together; their sum is true. Files from before this was recorded lack it: False.
    """

    item_id: str
    sample: int = 0
    seed: int | None = None
    content: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    error_kind: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    created: str | None = None
    attempt: int = 1
    tokens_estimated: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """What there is exactly one of in a finished run."""
        return self.item_id, self.sample


def dataset_ref(dataset: Dataset) -> DatasetRef:
    """What a record keeps of a dataset."""
    info = dataset.info
    return DatasetRef(name=info.name, hash=info.hash, kind=info.kind, size=len(dataset.items))


def prompt_ref(prompt: Prompt) -> PromptRef:
    """What a record keeps of a prompt."""
    return PromptRef(
        name=prompt.name,
        version=prompt.version,
        system=prompt.system,
        user=prompt.user,
        sections=prompt.sections,
        reveals=revealed(prompt),
    )


def endpoint_ref(endpoint: Endpoint) -> EndpointRef:
    """What a record keeps of an endpoint: never a key, nor the name of its variable."""
    return EndpointRef(
        name=endpoint.name,
        base_url=endpoint.base_url,
        model=endpoint.model,
        transport=endpoint.transport,
        refused_fields=endpoint.refused_fields,
    )


def new_run_id(label: str, now: datetime | None = None) -> str:
    """A readable id that sorts by time (UTC), such as `20261123-0101-structured-reasoning-a3f`."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60].strip("-") or "run"
    return f"{now or datetime.now(UTC):%Y%m%d-%H%M}-{slug}-{secrets.token_hex(2)[:3]}"


def check_run_id(run_id: str) -> str:
    """`run_id` again, if it can be a folder's name.

    Raises:
        RunError: if it has characters other than letters, digits, `.`, `_`, `-`.
    """
    if not _ID.fullmatch(run_id):
        raise RunError(
            f"{run_id!r} cannot be the id of a run.",
            "Use up to 120 letters, digits, dots, dashes and underscores, starting with a letter or digit.",
        )
    return run_id


def run_folder(workspace: Workspace, run_id: str) -> Path:
    """`runs/run_id=ID`, whether it exists or not.

    Raises:
        RunError: if the id cannot be a folder's name.
    """
    return workspace.runs / f"{_FOLDER}{check_run_id(run_id)}"


def run_folders(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    """Id and folder of everything in `runs/` that looks like a run."""
    yield from folders_of_runs(workspace.runs)


def folders_of_runs(parent: Path) -> Iterator[tuple[str, Path]]:
    """Id and folder of everything in `parent` that looks like a run, sorted by id."""
    try:
        with os.scandir(parent) as entries:
            names = sorted(
                entry.name for entry in entries if entry.name.startswith(_FOLDER) and entry.is_dir()
            )
    except FileNotFoundError:
        return
    for name in names:
        yield name.removeprefix(_FOLDER), parent / name


def run_status(folder: Path) -> Status:
    """`running` while a writer holds the lock, `finished` once predictions.parquet exists, else `stopped`.

    A finished run is `running` again while its errors are being retried.
    """
    finished = (folder / "predictions.parquet").exists()
    live = not finished or (folder / "predictions.jsonl").exists()
    if live and FileLock.held(folder / "lock"):
        return "running"
    return "finished" if finished else "stopped"


def read_record(folder: Path) -> RunRecord:
    """The record in a run's folder.

    Raises:
        RunError: if `run.json` is missing, cannot be read, or describes another run than the folder's name.
    """
    path = folder / "run.json"
    hint = "Restore the file from a copy, or delete the run's folder."
    try:
        record = RunRecord.model_validate_json(read_regular(path))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}).", hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RunError(f"{path} is not a run's record: {where}: {first['msg']}.", hint) from error
    if folder.name != f"{_FOLDER}{record.run_id}":
        raise RunError(
            f"{path} describes the run {record.run_id}, but its folder is {folder.name}.",
            f"Rename the folder to {_FOLDER}{record.run_id}.",
        )
    return record


def load_record(workspace: Workspace, run_id: str) -> RunRecord:
    """The record of a run.

    Raises:
        RunError: if there is no such run or its record cannot be read.
    """
    folder = run_folder(workspace, run_id)
    if not folder.is_dir():
        raise unknown_run(workspace, run_id)
    return read_record(folder)


def unknown_run(workspace: Workspace, run_id: str) -> RunError:
    """What to say of a run that is not there."""
    if (workspace.archive / f"{_FOLDER}{run_id}").is_dir():
        return RunError(
            f"The run {run_id} is archived.", f"Restore it with: audioreason runs restore {run_id}"
        )
    known = [name for name, _ in run_folders(workspace)]
    nearest = f"The newest are {', '.join(known[-3:])}." if known else "There are no runs yet."
    return RunError(f"There is no run {run_id!r} in {workspace.runs}.", f"{nearest} See: audioreason runs")


def recipe_differences(stored: RunRecord, wanted: RunRecord) -> list[str]:
    """What would change an answer between two records, in words; empty if a run may be continued.

    The endpoint's address may differ (a server moves to another port); its model may not.
    """
    return [
        f"{name} was {_shown(old)} and is now {_shown(new)}"
        for (name, old), (_, new) in zip(_recipe(stored), _recipe(wanted), strict=True)
        if old != new
    ]


def _recipe(record: RunRecord) -> list[tuple[str, Any]]:
    sampling = dict.fromkeys(Sampling.model_fields) | (
        record.sampling.model_dump() if record.sampling else {}
    )
    return [
        ("kind", record.kind),
        ("dataset", record.dataset.name),
        ("dataset hash", record.dataset.hash),
        ("split", record.split or "full"),
        ("limit", record.limit),
        ("choice of items", _named(record.item_ids)),
        ("prompt version", record.prompt.version if record.prompt else None),
        ("model", record.endpoint.model if record.endpoint else None),
        *sampling.items(),
        ("seed", record.seed),
        ("permutation", record.permutation),
        ("ablation", record.ablation),
        ("number of items", record.n_items),
    ]


def _named(item_ids: tuple[str, ...] | None) -> str | None:
    """A name for these items, short enough for a sentence."""
    if item_ids is None:
        return None
    return f"{len(item_ids)} items ({hashlib.sha256(chr(10).join(item_ids).encode()).hexdigest()[:8]})"


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)


def package_versions() -> dict[str, str]:
    """Versions of python, the lab and the packages that could change a prediction; absent ones left out."""
    versions = {"python": platform.python_version(), "audioreason": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """The commit of the checkout that the lab runs from; None when it was installed as a wheel.

    Never the commit of a repository that merely contains the installed lab.
    """
    if not (lab_root() / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(lab_root()), "rev-parse", "HEAD"],  # noqa: S607 - the researcher's own git
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, or a broken checkout: the run is worth more
        return None
    return found.stdout.strip()
