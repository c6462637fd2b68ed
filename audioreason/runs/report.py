"""The report of one run (`audioreason score RUN --json`): both scores, with intervals, over all and by group.

Works on finished, running and stopped runs, from stored answers only. Knows nothing about other runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from audioreason.answers import SCORER_VERSION
from audioreason.errors import RunError
from audioreason.runs.derive import Scored, scored
from audioreason.runs.record import load_record, run_folder, run_status
from audioreason.runs.storage import read_parquet
from audioreason.stats import wilson
from audioreason.workspace import Workspace

# the report's name of a group (MMAR's word) -> column of items.parquet
GROUPS = {"category": "layer", "subcategory": "subcategory", "modality": "modality", "language": "language"}
NO_GROUP = "none"  # MMAR's language is null where nobody speaks
_COLUMNS = ("item_id", "part", *GROUPS.values())


@dataclass(frozen=True)
class _ItemScore:
    """Means over the answered samples of one item, as fractions; None if none came, or gold is unknown."""

    groups: dict[str, str]
    answered: bool
    strict: float | None
    official: float | None


def score_report(workspace: Workspace, run_id: str, split: str | None = None) -> dict[str, Any]:
    """Accuracy of a run, strict and official, over all and by group.

    Returns:
        `n` items, `answered` of them (at least one sample came back), `errors` that a server answered with
        nothing but errors, `pending` not asked yet, `unrated` answered but without a gold choice (they are in
        no accuracy); `strict` and `official` with `correct` (a sum of per-item means if there are several
        samples), `accuracy` over answered items with Wilson's interval `ci95`, and `accuracy_all` over all;
        `by` group the same as fractions of the `n` answered there; `outcomes` of all predictions;
        `reveals`: what the prompt told the model about the benchmark (category, subcategory);
        `disagreements`: ids where strict and official differ.

    Raises:
        RunError: if the run is unknown or cannot be read, or has no such split.
    """
    record = load_record(workspace, run_id)
    folder = run_folder(workspace, run_id)
    items = _items_of(list(read_parquet(folder / "items.parquet", _COLUMNS)), split, run_id)

    samples: dict[str, list[Scored]] = defaultdict(list)
    for row in scored(workspace, run_id):
        if row.item_id in items:
            samples[row.item_id].append(row)
    scores = [
        _ItemScore(
            items[item_id],
            any(row.outcome != "server_error" for row in rows),
            _mean(row.strict for row in rows),
            _mean(row.official for row in rows),
        )
        for item_id, rows in samples.items()
    ]
    answered = [score for score in scores if score.answered]
    rated = [score for score in answered if score.strict is not None]
    unrated = len(answered) - len(rated)
    return {
        "run": run_id,
        "dataset": record.dataset.name,
        "split": split or record.split or "full",
        "status": run_status(folder),
        "scorer": SCORER_VERSION,
        "samples": record.samples,
        "n": len(items),
        "answered": len(answered),
        "errors": len(scores) - len(answered),
        "pending": len(items) - len(scores),
        "unrated": unrated,
        "strict": _accuracy(rated, len(items) - unrated, lambda score: score.strict),
        "official": _accuracy(rated, len(items) - unrated, lambda score: score.official),
        "by": {heading: _by_group(rated, heading) for heading in GROUPS},
        "reveals": list(record.prompt.reveals) if record.prompt else [],
        "outcomes": dict(Counter(row.outcome for rows in samples.values() for row in rows).most_common()),
        "disagreements": [
            item_id
            for item_id in items
            if any(row.strict is not None and row.strict != row.official for row in samples[item_id])
        ],
    }


def items_in_split(workspace: Workspace, run_id: str, split: str | None) -> set[str]:
    """Ids of a run's items in a split.

    Raises:
        RunError: if the run has no such split.
    """
    folder = run_folder(workspace, run_id)
    return set(_items_of(list(read_parquet(folder / "items.parquet", _COLUMNS)), split, run_id))


def _items_of(rows: Sequence[dict[str, Any]], split: str | None, run_id: str) -> dict[str, dict[str, str]]:
    """Groups of each item in the split, by id."""
    if split not in (None, "full"):
        parts = sorted({row["part"] for row in rows if row["part"]})
        if split not in parts:
            raise RunError(
                f"The run {run_id} has no items of the split {split!r}.",
                f"It has {', '.join(parts)}." if parts else "Its dataset has no split.",
            )
        rows = [row for row in rows if row["part"] == split]
    return {
        row["item_id"]: {heading: row[column] or NO_GROUP for heading, column in GROUPS.items()}
        for row in rows
    }


def _mean(values: Iterable[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _accuracy(
    rated: Sequence[_ItemScore], n: int, value: Callable[[_ItemScore], float | None]
) -> dict[str, Any]:
    total = sum(value(score) or 0.0 for score in rated)
    correct = int(total) if total == int(total) else total
    return {
        "correct": correct,
        "accuracy": total / len(rated) if rated else None,
        # over several samples the count is rounded: an item's mean varies less than a single sample does,
        # so the interval errs on the wide side
        "ci95": list(wilson(round(total), len(rated))),
        "accuracy_all": total / n if n else None,
    }


def _by_group(rated: Sequence[_ItemScore], heading: str) -> dict[str, dict[str, Any]]:
    members: dict[str, list[_ItemScore]] = defaultdict(list)
    for score in rated:
        members[score.groups[heading]].append(score)
    return {
        name: {
            "n": len(group),
            "strict": sum(score.strict or 0.0 for score in group) / len(group),
            "official": sum(score.official or 0.0 for score in group) / len(group),
        }
        for name, group in sorted(members.items())
    }
