"""What a self-training experiment leaves on disk, and how it is read.

    rest/ID/config.json          RestConfig, written once; another filter after a round that kept nothing
    rest/ID/lock                 held while a loop works on it
    rest/ID/round-0/round.json   the base: evaluation runs only
    rest/ID/round-N/             round.json, candidates.parquet, problems.parquet, training.jsonl
    runs ID-rN-generate (candidates) and ID-rN-eval-PROMPT; adapters/ID-rN; models/ID-rN (merged)
    run ID-r0-again-PROMPT       the base asked a second time, where answers are drawn

`round.json` is replaced whole at the end of each phase, so it says what is done and nothing else. Knows
nothing about how a phase is done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from audioreason.errors import RestError
from audioreason.rest.config import RestConfig
from audioreason.rest.forgetting import Forgetting, as_forgetting
from audioreason.workspace import FileLock, Workspace, write_atomic

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("generate", "filter", "train", "merge", "evaluate")  # of a round, in order
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

State = Literal["running", "finished", "stopped"]


class Round(BaseModel):
    """A round, as far as it came; 0 is the base, evaluated only.

    Attributes:
        number: counts from 1; 0 is the base.
        phase: the last phase that is done, one of `PHASES`; empty before the first.
        over: whether nothing more will be done in it.
        origin: the model that answered and was trained, a folder's name.
        model: the model that came out, as its runs name it; `folder` and `adapter` are what to serve.
        folder: path of the model's folder.
        adapter: name in adapters/ of what was trained, empty before that.
        problems: the dataset of the candidates' problems; empty in records that knew one alone.
        generate: the run of candidates.
        silent: the run of its silent control, empty without one.
        evaluations: run ids by prompt.
        again: the run of the base's second asking, empty without one.
        seconds: by phase, of the attempt that finished it; loading models and the silent control apart.
        tokens: completion tokens by phase.
        training: examples learned from; None before the filter.
        training_words: how they were chosen, one sentence.
        forgetting: what was lost and newly learned against the base; older records hold (lost, of).
        override: the reason for letting benchmark items train it, empty without one.
        recipe: what the training was made with, by name.
        summary: the filter's counts.
        notes: what a reader has to know, a sentence each.
        stop: why the experiment ends with this round, empty if it goes on or is through.
    """

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=0)
    phase: str = ""
    over: bool = False
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    origin: str = ""
    model: str = ""
    folder: str = ""
    adapter: str = ""
    problems: str = ""
    generate: str = ""
    silent: str = ""
    evaluations: dict[str, str] = Field(default_factory=dict)
    again: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    tokens: dict[str, int] = Field(default_factory=dict)
    training: int | None = None
    training_words: str = ""
    forgetting: Annotated[Forgetting | None, BeforeValidator(as_forgetting)] = None
    override: str = ""
    recipe: dict[str, str] = Field(default_factory=dict)
    summary: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    stop: str = ""

    def did(self, phase: str) -> bool:
        """Whether a phase is done."""
        return self.phase != "" and PHASES.index(self.phase) >= PHASES.index(phase)


@dataclass(frozen=True)
class Experiment:
    """An experiment as it stands on disk; `rounds` in order, the base first."""

    id: str
    config: RestConfig
    rounds: tuple[Round, ...]
    state: State

    @property
    def stop(self) -> str:
        """Why it ended before its last round; empty otherwise."""
        return self.rounds[-1].stop if self.rounds else ""


@dataclass(frozen=True)
class Listed:
    """One line of the list of experiments; `problem` says why it cannot be read."""

    id: str
    state: State
    created: float  # seconds since 1970
    dataset: str = ""
    model: str = ""
    rounds: int = 0  # trained so far
    planned: int = 0
    problem: str = ""


def experiment_folder(workspace: Workspace, name: str) -> Path:
    """`rest/ID`, whether it exists or not.

    Raises:
        RestError: if the id cannot be a folder's name.
    """
    if not _NAME.fullmatch(name):
        raise RestError(
            f"{name!r} cannot be the name of an experiment.",
            "Use up to 60 letters, digits, dots, dashes and underscores, starting with a letter or digit.",
        )
    return workspace.rest / name


def round_folder(workspace: Workspace, name: str, number: int) -> Path:
    """Where a round's files are."""
    return experiment_folder(workspace, name) / f"round-{number}"


def generate_run(name: str, number: int) -> str:
    """The id of a round's run of candidates."""
    return f"{name}-r{number}-generate"


def silent_run(name: str, number: int) -> str:
    """The id of a round's silent control: the same problems without their sound."""
    return f"{name}-r{number}-silent"


def evaluation_run(name: str, number: int, prompt: str) -> str:
    """The id of a round's evaluation with a prompt."""
    return f"{name}-r{number}-eval-{_slug(prompt)}"


def again_run(name: str, prompt: str) -> str:
    """The id of the run in which the base is asked a second time."""
    return f"{name}-r0-again-{_slug(prompt)}"


def problems_name(name: str, number: int) -> str:
    """The dataset that a curriculum makes for a round."""
    return f"{name}-r{number}"


def probe_name(name: str, number: int) -> str:
    """The dataset, and the run, by which a curriculum learns what a round's model can."""
    return f"{name}-r{number}-probe"


def tried_name(name: str, number: int) -> str:
    """The dataset, and the run, of the problems of which a curriculum keeps some."""
    return f"{name}-r{number}-tried"


def curriculum_path(workspace: Workspace, name: str, number: int) -> Path:
    """Where it is written what a curriculum measured and decided."""
    return round_folder(workspace, name, number) / "curriculum.json"


def adapter_name(name: str, number: int) -> str:
    """What a round's adapter, and its merged model, are called."""
    return f"{name}-r{number}"


def merged_folder(workspace: Workspace, name: str, number: int) -> Path:
    """Where a round's merged model is."""
    return workspace.root / "models" / adapter_name(name, number)


def write_config(workspace: Workspace, config: RestConfig, replace: bool = False) -> None:
    """Begin an experiment; the same settings again change nothing, unless others are to `replace` them.

    Raises:
        RestError: if there is one of that name with other settings.
        WorkspaceError: if the disk is full.
    """
    path = experiment_folder(workspace, config.name) / "config.json"
    there = path.exists() and not replace
    if there and (changed := read_experiment(workspace, config.name).config.differences(config)):
        raise RestError(
            f"The experiment {config.name} has other settings: {'; '.join(changed)}.",
            "Resume it with its own, or choose another name.",
        )
    if not there:
        write_atomic(path, config.model_dump_json(indent=2) + "\n")


def write_round(workspace: Workspace, name: str, one: Round) -> None:
    """Put a round's record in its place.

    Raises:
        WorkspaceError: if the disk is full; the record before is intact.
    """
    path = round_folder(workspace, name, one.number) / "round.json"
    write_atomic(path, one.model_dump_json(indent=2) + "\n")


def read_round(workspace: Workspace, name: str, number: int) -> Round | None:
    """A round's record; None before its first phase is done.

    Raises:
        RestError: if it cannot be read.
    """
    path = round_folder(workspace, name, number) / "round.json"
    try:
        return Round.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise _unreadable(path, error) from error


def read_experiment(workspace: Workspace, name: str) -> Experiment:
    """An experiment as it stands; cheap enough to ask while it runs.

    Raises:
        RestError: if there is none, or a file of it cannot be read.
    """
    folder = experiment_folder(workspace, name)
    path = folder / "config.json"
    try:
        config = RestConfig.model_validate_json(path.read_bytes(), context={"stored": True})
    except FileNotFoundError as error:
        known = [listed.id for listed in list_experiments(workspace)]
        raise RestError(
            f"There is no experiment {name} in {workspace.rest}.",
            f"There are: {', '.join(known[:5])}." if known else "Start one with: audioreason rest run",
        ) from error
    except (OSError, ValidationError) as error:
        raise _unreadable(path, error) from error
    rounds: list[Round] = []
    while (one := read_round(workspace, name, len(rounds))) is not None:
        if one.number != len(rounds):
            path = round_folder(workspace, name, len(rounds)) / "round.json"
            raise RestError(
                f"{path} is the record of round {one.number}.",
                "Restore the file from a copy, or delete the experiment's folder.",
            )
        rounds.append(one)
    return Experiment(name, config, tuple(rounds), _state(folder, config, rounds))


def list_experiments(workspace: Workspace) -> list[Listed]:
    """Every experiment, newest first; one that cannot be read says why."""
    found = []
    for path in workspace.rest.glob("*/config.json"):
        name = path.parent.name
        created = path.stat().st_mtime
        try:
            one = read_experiment(workspace, name)
        except RestError as error:
            found.append(Listed(name, "stopped", created, problem=str(error)))
            continue
        trained = sum(each.number > 0 and each.over for each in one.rounds)
        found.append(
            Listed(name, one.state, created, one.config.dataset, one.config.model, trained, one.config.rounds)
        )
    return sorted(found, key=lambda listed: (-listed.created, listed.id))


def read_candidates(workspace: Workspace, name: str, number: int) -> pd.DataFrame | None:
    """The candidates of a round, one a row; None before its filter is done."""
    return _table(round_folder(workspace, name, number) / "candidates.parquet")


def read_problems(workspace: Workspace, name: str, number: int) -> pd.DataFrame | None:
    """The problems of a round, one a row; None before its filter is done."""
    return _table(round_folder(workspace, name, number) / "problems.parquet")


def _slug(prompt: str) -> str:
    return (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(prompt).stem).strip("-") or "prompt")[:40]


def read_curriculum(workspace: Workspace, name: str, number: int) -> dict[str, Any] | None:
    """What a round's curriculum measured and decided: `words` and `cells`; None without one.

    Raises:
        RestError: if it cannot be read.
    """
    path = curriculum_path(workspace, name, number)
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return found


def _table(path: Path) -> pd.DataFrame | None:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _state(folder: Path, config: RestConfig, rounds: Sequence[Round]) -> State:
    if FileLock.held(folder / "lock"):
        return "running"
    last = rounds[-1] if rounds else None
    through = last is not None and last.over and (last.number >= config.rounds or bool(last.stop))
    return "finished" if through else "stopped"


def _unreadable(path: Path, error: Exception) -> RestError:
    why = str(error).splitlines()[0]
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        why = ": ".join((*(str(part) for part in first["loc"][:1]), first["msg"]))
    return RestError(
        f"{path} cannot be read ({why}).",
        "Restore the file from a copy, or delete the experiment's folder.",
    )
