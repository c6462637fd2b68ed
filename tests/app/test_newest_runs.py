"""A link may lead to a run of this very second, while pages keep the list of runs for a second."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from app import session
from app.errors import look
from audioreason.items import load_dataset
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
