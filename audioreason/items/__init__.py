"""Items: questions with clips. Datasets, clips prepared for models, checks, imports, splits, the guard."""

from audioreason.items.clips import SAMPLE_RATE, ClipInfo, clip_info, prepare_clip, read_clip, wav_bytes
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
    "SAMPLE_RATE",
    "ClipInfo",
    "CueKind",
    "Dataset",
    "DatasetInfo",
    "DatasetSummary",
    "Event",
    "Item",
    "Kind",
    "clip_info",
    "dataset_hash",
    "items_hash",
    "list_datasets",
    "load_dataset",
    "prepare_clip",
    "read_clip",
    "read_dataset",
    "save_dataset",
    "wav_bytes",
]
