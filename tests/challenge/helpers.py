"""A finished run whose answers a test writes itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset, DatasetInfo, Item, save_dataset
from audioreason.items.splits import split_of
from audioreason.runs import Prediction, RunRecord, RunWriter, dataset_ref, score_run
from audioreason.workspace import Workspace

RUBRIC = tuple(
    {"name": f"Point {n}", "scoring_point": f"Award 1 point for {n}.", "choices": [0, 1]} for n in range(5)
)


def judged_dataset(
    workspace: Workspace, name: str = "judged", rubric: Sequence[dict[str, object]] = RUBRIC
) -> Dataset:
    """Four items with a rubric of five points; "yes" is right."""
    items = [
        Item(
            id=f"item-{n}", question=f"Question {n}?", choices=("yes", "no"), answer="yes",
            rubric=tuple(rubric), thinking="An expert listens.", subcategory="Counting" if n < 2 else "Style",
        )
        for n in range(4)
    ]  # fmt: skip
    return save_dataset(workspace.datasets / name, DatasetInfo(name=name), items, workspace.cache)


def judged_run(
    workspace: Workspace, run_id: str = "run", rubric: Sequence[dict[str, object]] = RUBRIC
) -> str:
    """Three right answers to them, one wrong."""
    dataset = judged_dataset(workspace, "judged" if rubric else "bare", rubric)
    replies = [f"<think>Because {n}.</think>{a}" for n, a in enumerate(["yes", "yes", "yes", "no"])]
    return answered_run(workspace, dataset, replies, run_id=run_id)


def answered_run(
    workspace: Workspace,
    dataset: Dataset,
    replies: Sequence[str],
    *further: Prediction,
    run_id: str = "run",
    samples: int = 1,
) -> str:
    """A run in which the first items got these replies, and then these predictions were made."""
    record = RunRecord(
        run_id=run_id,
        created=datetime.now(UTC),
        kind="eval",
        dataset=dataset_ref(dataset),
        n_items=len(dataset.items),
        sampling=Sampling(samples=samples),
    )
    with RunWriter.create(workspace, record, dataset.items, split_of(dataset)) as writer:
        for item, reply in zip(dataset.items, replies, strict=False):
            writer.append(Prediction(item.id, content=reply, finish_reason="stop"))
        for prediction in further:
            writer.append(prediction)
        writer.finish()
    score_run(workspace, run_id)
    return run_id
