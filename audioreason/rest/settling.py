"""An experiment begins with its settings, or goes on with them. Only the filter's may change, after a round
that kept nothing: its candidates are all there, so that none is asked for again.

Knows neither servers nor training.
"""

from __future__ import annotations

from collections.abc import Sequence

from audioreason.rest.choosing import check_cues
from audioreason.rest.config import FILTERING, RestConfig
from audioreason.rest.record import (
    PHASES,
    Round,
    experiment_folder,
    read_experiment,
    write_config,
    write_round,
)
from audioreason.workspace import Workspace


def settle(workspace: Workspace, config: RestConfig) -> None:
    """Begin an experiment with its settings, or see that it goes on with them.

    As long as the newest round trained nothing, the filter's settings may be others: the round is then
    filtered again. Its record is reset before the settings are replaced, so a kill between leaves an
    experiment that filters as before.

    Raises:
        RestError: if other settings differ, or the filter's cannot be used; nothing was changed.
        WorkspaceError: if the disk is full.
    """
    if not (experiment_folder(workspace, config.name) / "config.json").exists():
        write_config(workspace, config)
        return
    found = read_experiment(workspace, config.name)
    changed = found.config.differences(config)
    if changed and unlearned(found.rounds) and not found.config.differences(config, FILTERING):
        check_cues(workspace, config)
        last = found.rounds[-1]
        note = f"Filtered with other settings: {'; '.join(changed)}."
        reset = {
            "phase": "generate", "over": False, "stop": "", "training": None, "training_words": "",
            "summary": {},
            "notes": [*(said for said in last.notes if said != note), note],
        }  # fmt: skip
        write_round(workspace, config.name, last.model_copy(update=reset))
        write_config(workspace, config, replace=True)
        return
    write_config(workspace, config)


def unlearned(rounds: Sequence[Round]) -> bool:
    """Whether the newest round has its candidates, and nothing is learned from them yet."""
    last = rounds[-1] if rounds else None
    return last is not None and last.number > 0 and last.phase in PHASES[:2] and not last.training
