"""Runs whose right and wrong answers are chosen by hand, so that every difference is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import pytest

from audioreason.items import Dataset
from audioreason.runs import Prediction, RunRecord
from tests.runs.conftest import MakeRun, answer, failure, make_run

__all__ = ["make_run"]


class Say(Protocol):
    """See the fixture `say`."""

    def __call__(
        self,
        dataset: Dataset,
        run_id: str,
        right: Collection[int],
        failed: Collection[int] = (),
        **changes: Any,
    ) -> RunRecord: ...


@pytest.fixture
def say(make_run: MakeRun) -> Say:
    """`say(dataset, run_id, right)`: a run that answers the items at these places right, the rest wrong."""

    def make(
        dataset: Dataset,
        run_id: str,
        right: Collection[int],
        failed: Collection[int] = (),
        **changes: Any,
    ) -> RunRecord:
        predictions = [
            failure(item.id)
            if place in failed
            else answer(item.id, item.answer if place in right else wrong_of(dataset, place))
            for place, item in enumerate(dataset.items)
        ]
        return make_run(dataset, predictions, run_id, **changes)

    return make


def wrong_of(dataset: Dataset, place: int) -> str:
    """A wrong choice of an item."""
    item = dataset.items[place]
    return next(choice for choice in item.choices if choice != item.answer)


def samples_of(dataset: Dataset, rights: Mapping[int, int], samples: int) -> list[Prediction]:
    """`samples` predictions for each item, of which the given number (default 0) are right."""
    return [
        answer(item.id, item.answer if sample < rights.get(place, 0) else wrong_of(dataset, place), sample)
        for place, item in enumerate(dataset.items)
        for sample in range(samples)
    ]


class Marks:
    """Errata as the review room gives them: marks by item id."""

    def __init__(self, *item_ids: str) -> None:
        self.item_ids = item_ids

    def errata(self, dataset_name: str) -> Mapping[str, str]:
        """The marked items, whatever the dataset."""
        return dict.fromkeys(self.item_ids, "wrong")
