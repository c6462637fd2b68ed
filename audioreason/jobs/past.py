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
class _Pace:
    tokens: float
    seconds: float


def expect(
    workspace: Workspace, prompts: Sequence[str], models: Sequence[str | None], predictions: int
) -> Expectation:
    """What `predictions` predictions for each prompt and model will take, jobs running one after the other.

    A model of None is the embedded one; an empty name fits any. Where a prompt was never run with a model,
    the mean of the model's other prompts stands in; where the model was never run, nothing is expected.
    """
    past = _past(workspace, set(prompts), models)
    tokens = seconds = 0.0
    used: set[str] = set()
    for model in models:
        of_model = {key: value for key, value in past.items() if _fits(key[1], model)}
        if not of_model:
            return Expectation(None, None, "No past run of this model tells how long it takes.")
        for prompt in prompts:
            paces = [pace for key, values in of_model.items() if key[0] == prompt for pace in values]
            paces = paces or [pace for values in of_model.values() for pace in values]
            tokens += predictions * sum(pace.tokens for pace in paces) / len(paces)
            seconds += predictions * sum(pace.seconds for pace in paces) / len(paces)
        used |= {key[1] for key in of_model}
    runs = sum(len(values) for values in past.values())
    return Expectation(
        round(tokens), seconds, f"From {runs} past run{'s' * (runs != 1)} of {', '.join(sorted(used))}."
    )


def _fits(model: str, wanted: str | None) -> bool:
    return model == ("pocket-listener" if wanted is None else wanted) or wanted == ""


def _past(
    workspace: Workspace, prompts: set[str], models: Sequence[str | None]
) -> dict[tuple[str, str], list[_Pace]]:
    from audioreason.runs.record import read_record, run_folders

    found: dict[tuple[str, str], list[_Pace]] = {}
    for _, folder in sorted(run_folders(workspace), reverse=True)[:_LOOK_BACK]:
        finished = folder / "predictions.parquet"
        if not finished.exists():
            continue
        try:
            record = read_record(folder)
        except RunError:  # the runs' own page says what is wrong with it
            continue
        if record.prompt is None or record.endpoint is None or record.kind != "eval":
            continue
        key = (record.prompt.name, record.endpoint.model)
        if not any(_fits(key[1], model) for model in models) or len(found.get(key, ())) >= _AVERAGE_OVER:
            continue
        if (pace := _pace(finished)) is not None:
            found.setdefault(key, []).append(pace)
    exact = {key: value for key, value in found.items() if key[0] in prompts}
    return exact or found


def _pace(path: Path) -> _Pace | None:
    """Means over a run's answers; a run's time is from its first record to its last, pauses left out."""
    import pyarrow.parquet as pq

    columns = pq.read_table(path, columns=["completion_tokens", "created"]).to_pydict()
    tokens = [value for value in columns["completion_tokens"] if value is not None]
    times = sorted(datetime.fromisoformat(value) for value in columns["created"] if value)
    if not tokens or len(times) < 2:
        return None
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    longest_wait = 600.0  # a longer one is a run that was stopped and resumed
    spent = sum(gap for gap in gaps if gap < longest_wait)
    return _Pace(sum(tokens) / len(tokens), spent / len(gaps))
