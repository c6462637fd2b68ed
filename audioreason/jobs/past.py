"""What a job will take, judged by finished runs of the same prompt and model.

Knows nothing about jobs; reads `run.json` and two columns of the newest fitting runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from audioreason.errors import RunError
from audioreason.items.variants import Ablation
from audioreason.runs.record import Kind
from audioreason.wording import counted
from audioreason.workspace import Workspace

_LOOK_BACK = 200  # newest runs whose records are read
_AVERAGE_OVER = 3


@dataclass(frozen=True)
class Expectation:
    """Completion tokens and seconds in all; None if no past run tells. `basis` says what they rest on."""

    tokens: int | None
    seconds: float | None
    basis: str


@dataclass(frozen=True)
class Asked:
    """Who will be asked: a model by its name or, if that is not known, whatever answers at an address."""

    model: str
    base_url: str = ""


@dataclass(frozen=True)
class _Past:
    """A finished run: whom it asked about what, and tokens and seconds for each of its predictions."""

    prompt: str
    model: str
    base_url: str
    tokens: float
    seconds: float


def expect(
    workspace: Workspace,
    prompts: Sequence[str],
    asked: Sequence[Asked],
    predictions: int,
    *,
    kinds: Sequence[Kind] = ("eval",),
    ablation: Ablation | None = None,
) -> Expectation:
    """What `predictions` predictions for each prompt and model will take, jobs running one after the other.

    Only runs of the same model tell. Where a prompt was never run with it, the mean of the model's other
    prompts stands in; where the model was never run, nothing is expected. Only runs of these kinds tell, with
    the same ablation.
    """
    past = _past(workspace, asked, kinds, ablation)
    tokens = seconds = 0.0
    used: list[_Past] = []
    for one in asked:
        of_model = _of(past, one)
        if not of_model:
            return Expectation(None, None, "No past run of this model tells how long it takes.")
        for prompt in prompts:
            same = [run for run in of_model if run.prompt == prompt][:_AVERAGE_OVER] or of_model
            tokens += predictions * sum(run.tokens for run in same) / len(same)
            seconds += predictions * sum(run.seconds for run in same) / len(same)
            used += [run for run in same if run not in used]
    names = ", ".join(sorted({run.model for run in used}))
    return Expectation(round(tokens), seconds, f"From {counted(len(used), 'past run')} of {names}.")


def _of(past: Sequence[_Past], asked: Asked) -> list[_Past]:
    """The runs of one model, newest first; at an address it is the model that answered there last."""
    if asked.model:
        return [run for run in past if run.model == asked.model]
    there = [run for run in past if run.base_url == asked.base_url]
    return [run for run in there if run.model == there[0].model]


def _past(
    workspace: Workspace, asked: Sequence[Asked], kinds: Sequence[Kind], ablation: Ablation | None
) -> list[_Past]:
    """Finished runs of any of them, newest first, a few of each prompt and model."""
    from audioreason.runs.record import read_record, run_folders

    models = {one.model for one in asked if one.model}
    addresses = {one.base_url for one in asked if not one.model}
    found: list[_Past] = []
    for _, folder in sorted(run_folders(workspace), reverse=True)[:_LOOK_BACK]:
        finished = folder / "predictions.parquet"
        if not finished.exists():
            continue
        try:
            record = read_record(folder)
        except RunError:  # the runs' own page says what is wrong with it
            continue
        if record.prompt is None or record.endpoint is None:
            continue
        if record.kind not in kinds or record.ablation != ablation:
            continue
        prompt, model, base_url = record.prompt.name, record.endpoint.model, record.endpoint.base_url
        if model not in models and base_url not in addresses:
            continue
        alike = [run for run in found if (run.prompt, run.model) == (prompt, model)]
        if len(alike) < _AVERAGE_OVER and (pace := _pace(finished)) is not None:
            found.append(_Past(prompt, model, base_url, *pace))
    return found


def _pace(path: Path) -> tuple[float, float] | None:
    """Mean tokens and seconds of an answer; a run lasts from its first record to its last, without pauses."""
    import pyarrow.parquet as pq

    columns = pq.read_table(path, columns=["completion_tokens", "created"]).to_pydict()
    tokens = [value for value in columns["completion_tokens"] if value is not None]
    times = sorted(datetime.fromisoformat(value) for value in columns["created"] if value)
    if not tokens or len(times) < 2:
        return None
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    longest_wait = 600.0  # a longer one is a run that was stopped and resumed
    spent = sum(gap for gap in gaps if gap < longest_wait)
    return sum(tokens) / len(tokens), spent / len(gaps)
