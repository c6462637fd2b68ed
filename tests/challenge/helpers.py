"""A finished run whose answers a test writes itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from audioreason.items import Dataset
from audioreason.items.splits import split_of
from audioreason.runs import Prediction, RunRecord, RunWriter, dataset_ref, score_run
from audioreason.workspace import Workspace


def answered_run(
    workspace: Workspace, dataset: Dataset, replies: Sequence[str], *further: Prediction, run_id: str = "run"
) -> str:
    """A run in which the first items got these replies, and then these predictions were made."""
    record = RunRecord(
        run_id=run_id,
        created=datetime.now(UTC),
        kind="eval",
        dataset=dataset_ref(dataset),
        n_items=len(dataset.items),
    )
    with RunWriter.create(workspace, record, dataset.items, split_of(dataset)) as writer:
        for item, reply in zip(dataset.items, replies, strict=False):
            writer.append(Prediction(item.id, content=reply, finish_reason="stop"))
        for prediction in further:
            writer.append(prediction)
        writer.finish()
    score_run(workspace, run_id)
    return run_id
