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
from audioreason.items.guard import (
    Guard,
    GuardReport,
    Hit,
    check_training,
    clear_of_benchmarks,
    hashed_names,
    load_guard,
)
from audioreason.items.loaders import ImportReport, import_folder, import_mmar
from audioreason.items.schema import CueKind, DatasetInfo, Event, Item, Kind
from audioreason.items.sources import canonical_source, cluster_of
from audioreason.items.splits import load_splits, split_items, split_names, split_of
from audioreason.items.validate import EXPLANATIONS, Finding, validate, validate_items

__all__ = [
    "EXPLANATIONS",
    "SAMPLE_RATE",
    "ClipInfo",
    "CueKind",
    "Dataset",
    "DatasetInfo",
    "DatasetSummary",
    "Event",
    "Finding",
    "Guard",
    "GuardReport",
    "Hit",
    "ImportReport",
    "Item",
    "Kind",
    "canonical_source",
    "check_training",
    "clear_of_benchmarks",
    "clip_info",
    "cluster_of",
    "dataset_hash",
    "hashed_names",
    "import_folder",
    "import_mmar",
    "items_hash",
    "list_datasets",
    "load_dataset",
    "load_guard",
    "load_splits",
    "prepare_clip",
    "read_clip",
    "read_dataset",
    "save_dataset",
    "split_items",
    "split_names",
    "split_of",
    "validate",
    "validate_items",
    "wav_bytes",
]
