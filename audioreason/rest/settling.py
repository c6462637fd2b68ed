"""An experiment begins with its settings, or goes on with them. The filter's may change after a round that
kept nothing, and what is too long to train on before a training: no candidate is asked for again.

Knows neither servers nor training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audioreason.errors import RestError
from audioreason.items import load_dataset
from audioreason.rest.choosing import check_cues
from audioreason.rest.config import FILTERING, FITTING, RestConfig
from audioreason.rest.record import (
    PHASES,
    Round,
    adapter_name,
    experiment_folder,
    read_experiment,
    write_config,
    write_round,
)
from audioreason.runs.record import load_record, run_folder
from audioreason.workspace import Workspace


def settle(workspace: Workspace, config: RestConfig) -> None:
    """Begin an experiment with its settings, or see that it goes on with them.

    The filter's settings may be others as long as nothing is learned from the newest round's candidates: they
    are filtered again. `longest` may be another until their training begins. The round's record is changed
    before the settings are replaced, so a kill between leaves an experiment that goes on as before.

    Raises:
        RestError: if other settings differ, or the filter's cannot be used; nothing was changed.
        WorkspaceError: if the disk is full.
    """
    if not (experiment_folder(workspace, config.name) / "config.json").exists():
        write_config(workspace, config)
        return
    found = read_experiment(workspace, config.name)
    changed = found.config.differences(config)
    free = _free(workspace, config.name, found.rounds)
    if not changed:  # how a server is started may differ, and is kept as it is now
        write_config(workspace, config, replace=True)
        return
    if found.config.differences(config, free):
        write_config(workspace, config)
        return
    check_cues(workspace, config)
    last = found.rounds[-1]
    note = f"Went on with other settings: {'; '.join(changed)}."
    update: dict[str, Any] = {"notes": [*(said for said in last.notes if said != note), note]}
    if free == FILTERING:
        update |= {"phase": "generate", "over": False, "stop": "", "training": None, "training_words": ""}
        update["summary"] = {}
    write_round(workspace, config.name, last.model_copy(update=update))
    write_config(workspace, config, replace=True)


def check_kept(workspace: Workspace, config: RestConfig) -> None:
    """See that an experiment's datasets are as they were, and that the base's answers are still there.

    Candidates may have been deleted: they are asked for again, or were learned from long ago.

    Raises:
        RestError: naming the dataset that has changed, or the run that is gone.
        LabError: if a dataset or a record cannot be read.
    """
    learned = () if config.curriculum else (config.dataset,)
    now = {name: load_dataset(workspace, name).info.hash for name in (*learned, config.eval_dataset)}
    rounds = read_experiment(workspace, config.name).rounds
    for one in rounds:
        for run_id in filter(None, (one.generate, one.silent, one.again, *one.evaluations.values())):
            if not run_folder(workspace, run_id).is_dir():
                if run_id in (rounds[0].evaluations.get(config.retention_prompt), rounds[0].again):
                    raise RestError(
                        f"The run {run_id} is gone, and each round is compared with it.",
                        "Bring it back, or begin another experiment.",
                    )
                continue
            stored = load_record(workspace, run_id).dataset
            if now.get(stored.name, stored.hash) != stored.hash:
                raise RestError(
                    f"The dataset {stored.name} has changed since the experiment began, so its rounds could"
                    " not be compared.",
                    "Begin another experiment with the dataset as it is now.",
                )


def _free(workspace: Workspace, name: str, rounds: Sequence[Round]) -> tuple[str, ...]:
    """The settings that nothing was done by yet in the newest round."""
    last = rounds[-1] if rounds else None
    if last is None or last.number == 0 or last.phase not in PHASES[:2]:
        return ()
    if not last.training:
        return FILTERING
    adapter = workspace.adapters / adapter_name(name, last.number)
    return () if adapter.exists() and any(adapter.iterdir()) else FITTING
