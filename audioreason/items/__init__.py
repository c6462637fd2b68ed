"""Items: questions with clips. Datasets, clips prepared for models, checks, imports, splits, the guard."""

from audioreason.items.dataset import (
    Dataset,
    DatasetSummary,
    dataset_hash,
    items_hash,
    list_datasets,
    load_dataset,
    read_dataset,
    save_dataset,
)
from audioreason.items.schema import CueKind, DatasetInfo, Event, Item, Kind

__all__ = [
    "CueKind",
    "Dataset",
    "DatasetInfo",
    "DatasetSummary",
    "Event",
    "Item",
    "Kind",
    "dataset_hash",
    "items_hash",
    "list_datasets",
    "load_dataset",
    "read_dataset",
    "save_dataset",
]
