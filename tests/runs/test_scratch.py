"""Playground generations: kept with their recipe, read back, compacted, deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audioreason.inference.endpoint import Sampling
from audioreason.items import Item
from audioreason.runs import (
    Catalog,
    DatasetRef,
    Generation,
    append_generation,
    compact,
    delete_generations,
    records,
)
from audioreason.runs import scratch as scratch_module
from audioreason.runs.scratch import generations_at, read_generations, scratch_files
from audioreason.workspace import Workspace
from tests.runs.conftest import ENDPOINT, PROMPT

ITEM = Item(
    id="i-1", question="What is heard?", choices=("a dog", "a cat"), answer="a cat", layer="Signal Layer"
)
TODAY = datetime(2026, 11, 23, 12, tzinfo=UTC)


def generation(
    name: str, created: datetime = TODAY, content: str | None = "a cat", **changes: object
) -> Generation:
    """A playground generation about `ITEM`."""
    fields: dict[str, object] = {
        "id": name,
        "created": created,
        "dataset": DatasetRef(name="tiny", hash="abc"),
        "item": ITEM,
        "prompt": PROMPT,
        "endpoint": ENDPOINT,
        "sampling": Sampling(temperature=0.9, top_k=20),
        "seed": 11,
        "content": content,
        "completion_tokens": 5,
        "seconds": 1.5,
    }
    return Generation.model_validate(fields | changes)


def everything(workspace: Workspace) -> list[Generation]:
    return [
        found
        for path in scratch_files(workspace)
        for _, _, found in read_generations(path)
        if found is not None
    ]


def test_a_generation_comes_back_with_its_whole_recipe(workspace: Workspace) -> None:
    made = generation("g1", reasoning="meow \0 ☃", prompt_tokens=30)
    append_generation(workspace, made)
    assert [path.name for path in scratch_files(workspace)] == ["2026-11-23.jsonl"]
    assert everything(workspace) == [made]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(content=st.none() | st.text(max_size=60))
def test_any_text_survives(workspace: Workspace, content: str | None) -> None:
    made = generation("g1", content=content)
    path = workspace.scratch / "x.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made.to_line() + b"\n")
    assert [found for _, _, found in read_generations(path)] == [made]
    assert generations_at(path, [0]) == {0: made}


def test_the_first_generation_of_a_day_compacts_the_days_before(workspace: Workspace) -> None:
    made = [generation(f"g{day}{i}", TODAY + timedelta(days=day)) for day in range(3) for i in range(2)]
    for one in made:
        append_generation(workspace, one)
    assert [path.name for path in scratch_files(workspace)] == [
        "2026-11-23.parquet",
        "2026-11-24.parquet",
        "2026-11-25.jsonl",
    ]
    assert everything(workspace) == made


def test_a_crash_while_compacting_loses_and_doubles_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_generation(workspace, generation("g1", TODAY - timedelta(days=400)))

    class Died(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        with pytest.raises(Died):
            compact(workspace)
    catalog = Catalog(workspace)
    assert list(catalog.playground()["id"]) == ["g1"]
    assert compact(workspace) == 1
    assert [found.id for found in everything(workspace)] == ["g1"]
    catalog.refresh()
    assert list(catalog.playground()["id"]) == ["g1"]


def test_an_entry_that_is_no_generation_is_kept_reported_and_left_out(workspace: Workspace) -> None:
    append_generation(workspace, generation("g1", TODAY - timedelta(days=400)))
    (day,) = scratch_files(workspace)
    with day.open("ab") as file:
        file.write(b'{"id": "half"}\n')
    catalog = Catalog(workspace)
    assert list(catalog.playground()["id"]) == ["g1"]
    assert "1 entries of" in catalog.problems()[0]
    compact(workspace)
    catalog.refresh()
    assert list(catalog.playground()["id"]) == ["g1"]
    assert "1 entries of" in catalog.problems()[0]


def test_the_catalog_shows_generations_newest_first_and_scored(workspace: Workspace) -> None:
    catalog = Catalog(workspace)
    assert catalog.playground().empty
    append_generation(workspace, generation("old", TODAY - timedelta(days=1), "a dog"))
    append_generation(workspace, generation("new", TODAY, "I think it is (B) a cat"))
    later = TODAY + timedelta(seconds=1)
    append_generation(workspace, generation("failed", later, None, error="gone", error_kind="timeout"))
    catalog.refresh()
    frame = catalog.playground()
    assert list(frame["id"]) == ["failed", "new", "old"]
    assert list(frame["outcome"]) == ["server_error", "correct", "wrong"]
    assert [row["choice_text"] for row in records(frame)] == [None, "a cat", "a dog"]
    assert frame.iloc[1]["prompt_version"] == PROMPT.version
    append_generation(workspace, generation("newer", TODAY + timedelta(seconds=2), dataset=None))
    catalog.refresh()
    assert list(catalog.playground(limit=2)["id"]) == ["newer", "failed"]
    assert list(catalog.playground(dataset="tiny", limit=1, offset=1)["id"]) == ["new"]
    assert catalog.playground(item_id="other").empty
    assert catalog.prompts_tried("tiny") == 1


def test_what_came_from_a_recording_can_be_deleted(workspace: Workspace) -> None:
    mine = ITEM.model_copy(update={"id": "recording-1"})
    for day in range(2):
        created = TODAY + timedelta(days=day)
        append_generation(workspace, generation(f"keep{day}", created))
        append_generation(workspace, generation(f"drop{day}", created, item=mine))
    catalog = Catalog(workspace)
    assert len(catalog.playground()) == 4
    assert delete_generations(workspace, lambda found: found.item.id == "recording-1") == 2
    assert sorted(found.id for found in everything(workspace)) == ["keep0", "keep1"]
    catalog.refresh()
    assert sorted(catalog.playground()["id"]) == ["keep0", "keep1"]
    assert delete_generations(workspace, lambda found: False) == 0


def _append_many(root: Path, name: str) -> None:
    workspace = Workspace.open(root)
    for number in range(20):
        append_generation(workspace, generation(f"{name}-{number}"))


def test_processes_append_side_by_side(workspace: Workspace) -> None:
    processes = [
        get_context("spawn").Process(target=_append_many, args=(workspace.root, name)) for name in ("a", "b")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len({found.id for found in everything(workspace)}) == 40


def test_a_scratch_that_is_held_too_long_is_said_in_a_sentence(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audioreason.errors import WorkspaceError
    from audioreason.workspace import FileLock

    lock = FileLock(workspace.scratch / "lock")
    assert lock.acquire()
    monkeypatch.setattr(scratch_module, "_LOCK_SECONDS", 0.05)
    with pytest.raises(WorkspaceError, match="Another process has been writing"):
        append_generation(workspace, generation("g1"))
    lock.release()
