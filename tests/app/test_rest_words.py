"""What the ReST page says: a warning once for all rounds, where an experiment stopped, which job it has."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app import session
from app.jobs import look as jobs
from app.rest import going, look
from app.rest.look import Experiment, Round
from app.rest.words import merged, noun, shorter, without_zone
from audioreason.jobs.spec import JobSpec, job_folder, write_spec
from audioreason.rest.zones import NAMES
from audioreason.workspace import Workspace


def experiment(*rounds: Round, running: bool = False) -> Experiment:
    return Experiment("bells", running, 8, ("baseline",), "bells", NAMES, 2, {}, rounds)


BASE = Round(0, "evaluate", True)
MADE = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_sentence_true_of_several_rounds_is_said_once_and_names_the_others() -> None:
    silent = "No control stands behind Round {}: every problem counts."
    other = "Round 2 has lost 5 of 20 items that the base knows."
    said = merged([silent.format(1), silent.format(2), other, silent.format(3)])
    assert said == [f"{silent.format(1)} The same holds for rounds 2 and 3.", other]
    assert merged([silent.format(1), silent.format(2)]) == [f"{silent.format(1)} The same holds for round 2."]
    apart = ["Round 1 lost 5 to Round 2.", "Round 3 lost 5 to Round 4.", "No round.", "Round 12 lost 6."]
    assert merged(apart) == apart


def test_one_is_singular_and_long_text_is_cut() -> None:
    assert (noun(1, "training sample"), noun(2, "training sample")) == ("training sample", "training samples")
    assert shorter("x" * 60) == "x" * 60
    assert shorter("x" * 61) == "x" * 59 + "…"


def test_a_reason_beside_its_zone_does_not_name_the_zone_again() -> None:
    assert without_zone("the zone almost mastered is not learned from", "almost_mastered") == (
        "zone is not learned from"
    )
    assert without_zone("the zone learning is not learned from", "mastered") == (
        "the zone learning is not learned from"
    )
    assert without_zone("wrong answer", "learning") == "wrong answer"


def test_where_an_experiment_stopped_is_said_in_a_sentence() -> None:
    half = experiment(BASE, Round(1, "evaluate", True, adapter="a"), Round(2, "train", False))
    assert going.unfinished(half)
    assert going.stopped_words(half) == "Stopped in round 2, at train."
    begun = experiment(Round(0, "evaluate", False))
    assert going.stopped_words(begun) == "Stopped before the base was evaluated."
    assert not going.unfinished(experiment(BASE, Round(1, "train", False), running=True))
    assert not going.unfinished(experiment(BASE, Round(1, "evaluate", True, adapter="a")))


def test_a_round_that_ended_without_training_is_not_done_and_waits_for_nothing() -> None:
    nothing = Round(1, "filter", True)
    found = experiment(BASE, nothing)
    assert [look.state_words(found, one) for one in found.rounds] == ["done", "nothing trained"]
    assert look.state_words(found, Round(1, "evaluate", True, adapter="a")) == "done"
    assert (look.untrained(nothing), look.untrained(Round(1, "train", False))) == (
        "nothing was trained",
        "nothing trained yet",
    )


def test_the_newest_job_of_an_experiment_is_found_by_its_name_or_its_own_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path)
    monkeypatch.setattr(session, "workspace", lambda: workspace)
    monkeypatch.setattr(jobs, "workspace", lambda: workspace)
    jobs.forget()
    going._name.cache_clear()

    def add(job_id: str, kind: str, **spec: Any) -> None:
        folder = job_folder(workspace, job_id)
        folder.mkdir(parents=True)
        write_spec(folder, JobSpec(id=job_id, kind=kind, title="a job", spec=spec, created=MADE))

    add("20261101-000000-rest-00000001", "rest", name="bells")
    add("20261102-000000-rest-00000002", "rest", name="bells")
    add("20261103-000000-rest-00000003", "rest", name="")
    add("20261104-000000-train-00000004", "train", name="bells")
    newest = going.job_of("bells")
    assert newest is not None and newest.id == "20261102-000000-rest-00000002"
    own = going.job_of("20261103-000000-rest-00000003")
    assert own is not None and own.id == "20261103-000000-rest-00000003"
    assert going.job_of("nobody") is None
    jobs.forget()
    going._name.cache_clear()
