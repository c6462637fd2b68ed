"""A link may lead to a run of this very second, while pages keep the list of runs for a second."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from app import session
from app.errors import look
from app.rest import look as rest_look
from audioreason.items import load_dataset
from audioreason.rest import outline
from audioreason.rest.config import RestConfig
from audioreason.rest.record import Round, write_config, write_round
from audioreason.runs import Catalog
from audioreason.runs.transfer import import_predictions
from audioreason.workspace import Workspace


def test_a_run_that_came_after_the_list_was_read_is_found(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "catalog", lambda: Catalog(workspace))
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: 1e9))  # the same second
    assert look.run("new") is None
    item = load_dataset(workspace, "soundcheck").items[0]
    file = tmp_path / "answers.jsonl"
    file.write_bytes(orjson.dumps({"id": item.id, "answer_prediction": item.answer}))
    import_predictions(workspace, file, "soundcheck", "new")
    found = look.run("new")
    assert found is not None and found["run_id"] == "new"


def test_a_round_that_ended_after_the_list_was_read_has_its_accuracy(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "catalog", lambda: Catalog(workspace))
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: 2e9))
    config = RestConfig(name="exp", eval_prompts=["baseline"])
    write_config(workspace, config)
    base = Round(number=0, phase="evaluate", over=True, evaluations={"baseline": "ended"})
    write_round(workspace, "exp", base)
    found = outline.read(workspace, "exp")
    assert rest_look.scores(found) == []
    item = load_dataset(workspace, "soundcheck").items[0]
    file = tmp_path / "answers.jsonl"
    file.write_bytes(orjson.dumps({"id": item.id, "answer_prediction": item.answer}))
    import_predictions(workspace, file, "soundcheck", "ended")
    (score,) = rest_look.scores(found)
    assert (score.run_id, score.n, score.accuracy) == ("ended", 1, 1.0)
