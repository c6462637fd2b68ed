"""Runs: what was asked, what came back, and every question about it.

record     run.json and the prediction                 writer    the only thing that writes predictions
storage    JSONL and Parquet, merged                   snapshot  the items as they were
derive     scores from stored answers                  report    one run's accuracy, for `score --json`
judged     what could not be read, and what a language model reads in it
catalog    all runs as tables: `accuracy`, `listing` (with `filtering`) and `playground` hold its questions,
           `loading`, `live` and `tables` keep it in step with the disk
scratch    playground generations                      transfer  import and export
desk       drafts, saved prompts, pinned items        cells     text that no spreadsheet runs
"""

from audioreason.runs.accuracy import COLUMNS, Paired
from audioreason.runs.catalog import Catalog, records
from audioreason.runs.derive import Scored, score_prediction, score_run, scored
from audioreason.runs.filtering import Filter
from audioreason.runs.judged import Judged, Unread, judge_unread, judged, judged_report, judged_stamp, unread
from audioreason.runs.listing import SORTS, Detail, Page
from audioreason.runs.record import (
    DatasetRef,
    EndpointRef,
    Prediction,
    PromptRef,
    RunRecord,
    dataset_ref,
    endpoint_ref,
    git_commit,
    load_record,
    new_run_id,
    package_versions,
    prompt_ref,
    recipe_differences,
    run_folder,
    run_status,
)
from audioreason.runs.report import score_report
from audioreason.runs.scratch import Generation, append_generation, compact, delete_generations
from audioreason.runs.snapshot import read_items
from audioreason.runs.transfer import FORMATS, ImportOutcome, export_run, import_predictions
from audioreason.runs.writer import RunWriter

__all__ = [
    "COLUMNS",
    "FORMATS",
    "SORTS",
    "Catalog",
    "DatasetRef",
    "Detail",
    "EndpointRef",
    "Filter",
    "Generation",
    "ImportOutcome",
    "Judged",
    "Page",
    "Paired",
    "Prediction",
    "PromptRef",
    "RunRecord",
    "RunWriter",
    "Scored",
    "Unread",
    "append_generation",
    "compact",
    "dataset_ref",
    "delete_generations",
    "endpoint_ref",
    "export_run",
    "git_commit",
    "import_predictions",
    "judge_unread",
    "judged",
    "judged_report",
    "judged_stamp",
    "load_record",
    "new_run_id",
    "package_versions",
    "prompt_ref",
    "read_items",
    "recipe_differences",
    "records",
    "run_folder",
    "run_status",
    "score_prediction",
    "score_report",
    "score_run",
    "scored",
    "unread",
]
