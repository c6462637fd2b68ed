"""Runs of the tiny dataset, made by hand: what a model said is known, so every figure is too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset
from audioreason.items.splits import split_of
from audioreason.runs import (
    EndpointRef,
    Prediction,
    PromptRef,
    RunRecord,
    RunWriter,
    dataset_ref,
    load_record,
    run_folder,
    score_run,
)
from audioreason.runs.storage import merged_predictions
from audioreason.workspace import Workspace

PROMPT = PromptRef(name="baseline", version="0123456789ab", system="Listen.", user="{{ question }}")
ENDPOINT = EndpointRef(name="fake", base_url="http://127.0.0.1:1/v1", model="fake-model", transport="file")


def make_record(dataset: Dataset, run_id: str = "run-a", samples: int = 1, **changes: Any) -> RunRecord:
    """A record for all items of a dataset."""
    fields: dict[str, Any] = {
        "run_id": run_id,
        "created": datetime(2026, 11, 23, 1, 1, tzinfo=UTC),
        "kind": "eval",
        "dataset": dataset_ref(dataset),
        "prompt": PROMPT,
        "endpoint": ENDPOINT,
        "sampling": Sampling(samples=samples),
        "n_items": len(dataset.items),
    }
    return RunRecord(**fields | changes)


def answer(item_id: str, text: str | None, sample: int = 0, **changes: Any) -> Prediction:
    """A prediction whose content is `text`."""
    fields: dict[str, Any] = {
        "seed": 7,
        "content": text,
        "reasoning": "I listened.",
        "finish_reason": "stop",
        "prompt_tokens": 40,
        "completion_tokens": 9,
        "seconds": 0.25,
        "created": "2026-11-23T01:02:03.000+00:00",
    }
    return Prediction(item_id, sample, **fields | changes)


def failure(item_id: str, sample: int = 0) -> Prediction:
    """A prediction that the server did not make."""
    return Prediction(
        item_id, sample, error="fake failed (HTTP 500).", error_kind="http_500", seconds=0.1, attempt=5
    )


def right(dataset: Dataset, index: int) -> str:
    """The right answer of an item as its text."""
    return dataset.items[index].answer


def wrong(dataset: Dataset, index: int) -> str:
    """A wrong answer of an item as its text."""
    item = dataset.items[index]
    return next(choice for choice in item.choices if choice != item.answer)


def mixed(data: Dataset) -> list[Prediction]:
    """Right, wrong, error, unresolved, then all right."""
    predictions = [answer(item.id, item.answer) for item in data.items]
    predictions[1] = answer(data.items[1].id, wrong(data, 1), completion_tokens=90)
    predictions[2] = failure(data.items[2].id)
    predictions[3] = answer(data.items[3].id, "I hear a zebra bark.", reasoning="Stripes, surely.")
    return predictions


def stored(workspace: Workspace, run_id: str = "run-a") -> list[Prediction]:
    """Everything a run holds, in the order of its items."""
    record = load_record(workspace, run_id)
    writer = RunWriter.resume(workspace, run_id)
    with writer:
        order = [(item.id, sample) for item in writer.items for sample in range(record.samples)]
    return list(merged_predictions(run_folder(workspace, run_id), order))


class MakeRun(Protocol):
    """Writes a finished, scored run; see the fixture `make_run`."""

    def __call__(
        self, dataset: Dataset, predictions: Sequence[Prediction], run_id: str = "run-a", **changes: Any
    ) -> RunRecord: ...


@pytest.fixture
def make_run(workspace: Workspace) -> MakeRun:
    """`make_run(dataset, predictions, run_id, **record fields)`: a finished run with scores."""

    def make(
        dataset: Dataset, predictions: Sequence[Prediction], run_id: str = "run-a", **changes: Any
    ) -> RunRecord:
        record = make_record(dataset, run_id, **changes)
        with RunWriter.create(workspace, record, dataset.items, split_of(dataset)) as writer:
            for prediction in predictions:
                writer.append(prediction)
            writer.finish()
        score_run(workspace, run_id)
        return record

    return make
