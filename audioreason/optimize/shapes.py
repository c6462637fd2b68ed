"""The records of a search: candidates, trials, verdicts, answers, proposals, its plan, state and result.

Shapes alone; `record` says in which files they lie and reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["seed", "proposed", "demos", "reflected", "merged"]
TrialKind = Literal["minibatch", "full", "reflection"]
Ending = Literal["finished", "stopped", "budget", "failed"]
Phase = Literal["prepare", "propose", "search", "save", "test", "done"]


@dataclass(frozen=True)
class Candidate:
    """A prompt that was thought of. `id` is its version (12 hex digits), as in every run with it.

    `parent` is the candidate that it was made from, `other_parent` the second one of a merge. `note` says
    what had to be done to make it a usable template. `step` counts candidates from 0, the seed.
    """

    id: str
    parent: str | None
    system: str
    user: str
    source: Source
    note: str = ""
    created: str = ""
    step: int = 0
    other_parent: str | None = None


@dataclass(frozen=True)
class Trial:
    """A candidate's score on some items: the mean of the metric, 0 to 1 (all of it, errors never count).

    `n` counts from 1. `kind`: a MIPROv2 minibatch of dev, all of dev ("full"), or train items that GEPA
    reflects on. `best_so_far` is the best full score until here, None before the first. `seconds` and
    `tokens` are what this trial took; a replayed one keeps what it took at first.
    """

    n: int
    candidate: str
    kind: TrialKind
    split: Literal["train", "dev"]
    items: tuple[str, ...]
    score: float
    best_so_far: float | None
    seconds: float
    tokens: int
    requests: int
    created: str


@dataclass(frozen=True)
class Verdict:
    """What one answer was worth. `score` is the metric's, `request_hash` finds the answer itself."""

    candidate: str
    item_id: str
    sample: int
    split: Literal["train", "dev"]
    strict: bool | None
    official: bool | None
    outcome: str
    choice: int | None
    score: float
    request_hash: str


@dataclass(frozen=True)
class AnswerRecord:
    """What the task model said to one request (never errors: those are asked again).

    `request_hash` covers model, both texts, the clip's content, sampling and seed.
    """

    request_hash: str
    item_id: str
    content: str | None
    reasoning: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    created: str


@dataclass(frozen=True)
class Proposal:
    """One request to the proposer and its reply: text only. `candidates` were made from it.

    `purpose` is what it was asked for: "propose", "reflect", "merge", "summarise" or "other".
    """

    n: int
    messages: tuple[dict[str, str], ...]
    reply: str
    model: str
    tokens: int
    seconds: float
    created: str
    purpose: str = "propose"
    request_hash: str = ""
    candidates: tuple[str, ...] = ()


class Spent(BaseModel):
    """What the search has used so far, over all attempts; `tokens` are those written by both models."""

    model_config = ConfigDict(extra="ignore")

    requests: int = 0
    proposer_requests: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Paired(BaseModel):
    """The result minus its seed on the same items: points as shares, 95% interval, sign-flip p."""

    model_config = ConfigDict(extra="ignore")

    mean: float
    low: float
    high: float
    p: float
    n: int
    verdict: str


class Result(BaseModel):
    """What came out. Scores are shares, 0 to 1; None where not (yet) measured.

    `prompt` is the saved prompt's name; `train` the mean over the train items that the winner was asked
    about; `test` and `seed_test` come from the runs `test_run` and `seed_run`. `unseen` is the difference on
    items that the search never saw, where the test has others too (the paper's split).
    """

    model_config = ConfigDict(extra="ignore")

    prompt: str
    candidate: str
    train: float | None = None
    dev: float | None = None
    seed_dev: float | None = None
    test: float | None = None
    seed_test: float | None = None
    test_run: str | None = None
    seed_run: str | None = None
    difference: Paired | None = None
    unseen: Paired | None = None
    note: str = ""


class State(BaseModel):
    """`state.json`. `ending` is None while it runs (or if it was killed: see `Optimization.running`)."""

    model_config = ConfigDict(extra="ignore")

    phase: Phase = "prepare"
    began: str = ""
    updated: str = ""
    attempt: int = 1
    spent: Spent = Spent()
    best: str | None = None
    best_score: float | None = None
    ending: Ending | None = None
    error: str = ""
    result: Result | None = None


class SearchPlan(BaseModel):
    """What a search would do at most, shown before it starts. `seconds` and `tokens`: None if unknown."""

    model_config = ConfigDict(extra="ignore")

    train: int
    dev: int
    test: int
    trials: int
    full_trials: int
    task_requests: int
    proposer_requests: int
    test_requests: int
    tokens: int | None = None
    seconds: float | None = None
    basis: str = ""
    notes: tuple[str, ...] = ()
