"""What a search leaves on disk, `workspace/optimize/ID/`, and how it is read, also while it runs.

    config.json      OptimizeConfig
    splits.json      {train, dev, test: [item ids]}
    plan.json        SearchPlan: what was expected before the start
    candidates.jsonl trials.jsonl verdicts.jsonl proposals.jsonl answers.jsonl
    state.json       State: phase, what was spent, how it ended, the result

Every JSONL is append-only, written by one process that holds `lock`; a torn last line is skipped. A search
that is resumed replays from its start and appends what is not there yet, so nothing stands twice. Knows
nothing about DSPy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from audioreason.errors import OptimizeError
from audioreason.optimize.config import OptimizeConfig
from audioreason.optimize.shapes import (
    AnswerRecord,
    Candidate,
    Paired,
    Proposal,
    Result,
    SearchPlan,
    Spent,
    State,
    Trial,
    Verdict,
)
from audioreason.workspace import FileLock, JsonlWriter, Workspace, write_atomic

__all__ = [
    "AnswerRecord",
    "Candidate",
    "Optimization",
    "Paired",
    "Proposal",
    "Recorder",
    "Result",
    "SearchPlan",
    "Spent",
    "State",
    "Summary",
    "Trial",
    "Verdict",
    "changed",
    "list_optimizations",
    "now",
    "optimization_folder",
    "read_answers",
    "read_lines",
    "read_optimization",
    "read_splits",
    "read_verdicts",
    "spent_at_least",
]


@dataclass(frozen=True)
class Optimization:
    """A search as it is on disk. `splits` may be empty and `plan` None before it has really begun."""

    id: str
    folder: Path
    config: OptimizeConfig
    splits: dict[str, tuple[str, ...]]
    plan: SearchPlan | None
    candidates: tuple[Candidate, ...]
    trials: tuple[Trial, ...]
    proposals: tuple[Proposal, ...]
    state: State
    running: bool

    def candidate(self, candidate_id: str) -> Candidate | None:
        """A candidate by id; None if there is none."""
        return next((one for one in self.candidates if one.id == candidate_id), None)

    @property
    def standing(self) -> str:
        """One word: running, finished, stopped, budget, failed, or interrupted (its process died)."""
        if self.running:
            return "running"
        return self.state.ending or "interrupted"


@dataclass(frozen=True)
class Summary:
    """One line of a list of searches."""

    id: str
    optimizer: str
    prompt: str
    dataset: str
    standing: str
    phase: str
    best_score: float | None
    result: Result | None
    began: str
    spent: Spent = field(default_factory=Spent)


def optimization_folder(workspace: Workspace, optimization_id: str) -> Path:
    """Where a search of this id is or would be.

    Raises:
        OptimizeError: if it cannot be an id.
    """
    if (
        not optimization_id
        or not optimization_id.replace("-", "").replace("_", "").replace(".", "").isalnum()
    ):
        raise OptimizeError(f"{optimization_id!r} cannot be the id of a search.", "Use letters and digits.")
    if optimization_id.startswith("."):
        raise OptimizeError(f"{optimization_id!r} cannot be the id of a search.", "Begin with a letter.")
    return workspace.optimize / optimization_id


def list_optimizations(workspace: Workspace) -> list[Summary]:
    """Every search that can be read, newest first; reads two small files of each."""
    found = []
    for folder in workspace.optimize.iterdir() if workspace.optimize.is_dir() else ():
        config = _read_model(folder / "config.json", OptimizeConfig)
        if config is None:
            continue
        state = _read_model(folder / "state.json", State) or State()
        running = FileLock.held(folder / "lock")
        found.append(
            Summary(
                id=folder.name,
                optimizer=config.optimizer,
                prompt=config.prompt,
                dataset=config.dataset,
                standing="running" if running else state.ending or "interrupted",
                phase=state.phase,
                best_score=state.best_score,
                result=state.result,
                began=state.began,
                spent=state.spent,
            )
        )
    return sorted(found, key=lambda one: (one.began, one.id), reverse=True)


def read_optimization(workspace: Workspace, optimization_id: str) -> Optimization:
    """A search with its candidates, trials and proposals, as far as they are written.

    Raises:
        OptimizeError: if there is none, or its settings cannot be read.
    """
    folder = optimization_folder(workspace, optimization_id)
    config = _read_model(folder / "config.json", OptimizeConfig)
    if config is None:
        raise OptimizeError(
            f"There is no readable search {optimization_id}.", "See them with: audioreason optimize list"
        )
    return Optimization(
        id=optimization_id,
        folder=folder,
        config=config,
        splits=read_splits(folder),
        plan=_read_model(folder / "plan.json", SearchPlan),
        candidates=tuple(_unique(read_lines(folder, Candidate), "id")),
        trials=tuple(_unique(read_lines(folder, Trial), "n")),
        proposals=tuple(_unique(read_lines(folder, Proposal), "n")),
        state=_read_model(folder / "state.json", State) or State(),
        running=FileLock.held(folder / "lock"),
    )


def read_verdicts(workspace: Workspace, optimization_id: str, candidate: str | None = None) -> list[Verdict]:
    """What every answer was worth, or those of one candidate."""
    folder = optimization_folder(workspace, optimization_id)
    return [one for one in read_lines(folder, Verdict) if candidate in (None, one.candidate)]


def read_answers(
    workspace: Workspace, optimization_id: str, hashes: Iterable[str]
) -> dict[str, AnswerRecord]:
    """The answers to these requests, by request hash; those that are not there are left out."""
    wanted = set(hashes)
    lines = read_lines(optimization_folder(workspace, optimization_id), AnswerRecord)
    return {one.request_hash: one for one in lines if one.request_hash in wanted}


def spent_at_least(folder: Path, state: State) -> Spent:
    """What was used by the state's word, or by the records where they tell more: a kill leaves no last word.

    The time from the state's last word to the last record counts too: the search was at work.
    """
    answers = {one.request_hash: one for one in read_lines(folder, AnswerRecord)}.values()
    proposals = _unique(read_lines(folder, Proposal), "n")
    said = state.spent
    tokens = sum(one.completion_tokens or 0 for one in answers) + sum(one.tokens for one in proposals)
    last = max([one.created for one in answers] + [one.created for one in proposals], default="")
    silent = 0.0
    if state.updated and last > state.updated:
        silent = (datetime.fromisoformat(last) - datetime.fromisoformat(state.updated)).total_seconds()
    return Spent(
        requests=max(said.requests, len(answers)),
        proposer_requests=max(said.proposer_requests, len(proposals)),
        tokens=max(said.tokens, tokens),
        seconds=said.seconds + silent,
    )


def changed(workspace: Workspace, optimization_id: str) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time (ns) of every file: equal as long as nothing was written. Cheap, for caches."""
    folder = optimization_folder(workspace, optimization_id)
    found = []
    for name in ("state.json", *_FILES.values()):
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        found.append((name, status.st_size, status.st_mtime_ns))
    return tuple(found)


def read_splits(folder: Path) -> dict[str, tuple[str, ...]]:
    """`splits.json`: item ids by part; empty if it is not there yet."""
    try:
        value = orjson.loads((folder / "splits.json").read_bytes())
        return {str(name): tuple(map(str, ids)) for name, ids in value.items()}
    except (OSError, ValueError, AttributeError, TypeError):  # not written yet, or by hand and wrong
        return {}


_FILES: dict[type[Any], str] = {
    Candidate: "candidates.jsonl",
    Trial: "trials.jsonl",
    Verdict: "verdicts.jsonl",
    Proposal: "proposals.jsonl",
    AnswerRecord: "answers.jsonl",
}
_Line = TypeVar("_Line", Candidate, Trial, Verdict, Proposal, AnswerRecord)
_Model = TypeVar("_Model", bound=BaseModel)


def read_lines(folder: Path, kind: type[_Line]) -> Iterator[_Line]:
    """The records of one kind in the order written; what is torn or of another shape is skipped."""
    try:
        data = (folder / _FILES[kind]).read_bytes()
    except OSError:  # nothing of this kind has been written
        return
    names = set(kind.__dataclass_fields__)
    for line in data.split(b"\n"):
        try:
            value = orjson.loads(line)
            known = {key: _tuples(one) for key, one in value.items() if key in names}
            yield kind(**known)
        except (ValueError, TypeError, AttributeError):  # torn, or a later version's
            continue


def now() -> str:
    """This moment, UTC, in ISO format with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Recorder:
    """The one writer of a search's folder. Holds its lock while open.

    Raises:
        OptimizeError: when another process has the search.
        WorkspaceError: if the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = FileLock(folder / "lock")
        if not self._lock.acquire():
            raise OptimizeError(
                f"The search {folder.name} is running in another process.", "Stop that one first."
            )
        self._writers: dict[type[Any], JsonlWriter] = {}

    def append(self, record: Candidate | Trial | Verdict | Proposal | AnswerRecord) -> None:
        """Add one record to its file."""
        kind = type(record)
        if kind not in self._writers:
            self._writers[kind] = JsonlWriter(self.folder / _FILES[kind])
        self._writers[kind].append(orjson.dumps(asdict(record)))

    def write(self, name: str, value: BaseModel | dict[str, Any]) -> None:
        """Replace one of the small files."""
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        write_atomic(self.folder / name, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")

    def state(self, state: State) -> None:
        """Replace `state.json`."""
        state.updated = now()
        self.write("state.json", state)

    def close(self) -> None:
        """Close every file and give the lock back."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self._lock.release()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _unique(records: Iterable[_Line], key: str) -> list[_Line]:
    """The last record of each key, in the order in which the keys first came."""
    return list({getattr(record, key): record for record in records}.values())


def _read_model(path: Path, model: type[_Model]) -> _Model | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # not there yet, or another version's: the caller says which matters
        return None
