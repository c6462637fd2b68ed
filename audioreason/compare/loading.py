"""What a comparison needs from the catalog, read once: every run's item scores, laid beside the baseline's.

Knows tables and arrays; knows nothing about tests or verdicts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from audioreason.errors import RunError
from audioreason.runs import Catalog
from audioreason.runs.accuracy import COLUMNS, group_sql

if TYPE_CHECKING:
    import pandas as pd

Score = Literal["strict", "official"]
SCORES: tuple[Score, ...] = ("strict", "official")
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
WHOLE = (None, "full")

# clusters travel as 64-bit hashes: text for 100 runs of 1,000 items would cost more than all statistics
_SCORES = """
SELECT i.run_no, b.item_no AS base_no, coalesce(b.fingerprint = i.fingerprint, false) AS same,
       (hash(i.cluster) >> 1)::BIGINT AS cluster, coalesce(list_position($parts, i.part), 0)::INTEGER AS part,
       list_contains($errata, i.item_id) AS erratum, s.run_no IS NOT NULL AS recorded,
       coalesce(s.answered, 0)::INTEGER AS answered, s.strict, s.official,
       s.completion_tokens AS tokens, s.seconds
FROM items i LEFT JOIN item_scores s USING (run_no, item_no)
LEFT JOIN items b ON b.run_no = $baseline AND b.item_id = i.item_id
WHERE list_contains($runs, i.run_no)
ORDER BY i.run_no, i.item_no
"""
_FACTS = """
SELECT run_no, run_id, dataset, dataset_hash, split, prompt, prompt_version, model, samples, ablation, scorer,
       kind
FROM runs WHERE list_contains($runs, run_no)
"""
_OUTCOMES = """
WITH kept AS (
    SELECT i.run_no, i.item_no, b.item_no AS base_no FROM items i
    JOIN items b ON b.run_no = $baseline AND b.item_id = i.item_id AND b.fingerprint = i.fingerprint
    WHERE list_contains($runs, i.run_no) AND i.run_no <> $baseline
      AND ($split IS NULL OR b.part = $split) AND NOT list_contains($errata, i.item_id)),
counted AS (
    SELECT run_no, item_no, outcome, count(*) AS n FROM predictions
    WHERE list_contains($runs, run_no) GROUP BY ALL)
SELECT k.run_no, c.outcome, 'run' AS side, sum(c.n)::INTEGER AS n
FROM kept k JOIN counted c ON c.run_no = k.run_no AND c.item_no = k.item_no GROUP BY ALL
UNION ALL
SELECT k.run_no, c.outcome, 'baseline' AS side, sum(c.n)::INTEGER AS n
FROM kept k JOIN counted c ON c.run_no = $baseline AND c.item_no = k.base_no GROUP BY ALL
"""


@dataclass(frozen=True)
class Facts:
    """A run's recipe, as far as a comparison speaks of it."""

    run_id: str
    dataset: str
    dataset_hash: str
    split: str | None
    prompt: str | None
    prompt_version: str | None
    model: str | None
    samples: int
    ablation: str | None
    scorer: str
    kind: str


@dataclass(frozen=True, eq=False)
class Scores:
    """One run's items, all arrays (items,). `base_no` is the item's place in the baseline, -1 if it has none.

    Scores are means over the answered samples, nan where there is none or no gold choice.
    """

    base_no: Integers
    same: Booleans  # asks what the baseline's item of this id asks
    cluster: Integers
    part: Integers  # place in `Loaded.parts` from 1, 0 for none
    erratum: Booleans
    recorded: Booleans
    answered: Integers
    strict: Floats
    official: Floats
    tokens: Floats
    seconds: Floats

    def of(self, score: Score) -> Floats:
        """The scores of one rule."""
        return self.strict if score == "strict" else self.official


@dataclass(frozen=True, eq=False)
class Loaded:
    """All runs of a comparison, in the order asked, the baseline among them."""

    facts: dict[str, Facts]
    scores: dict[str, Scores]
    baseline: str
    parts: tuple[str, ...]
    item_ids: npt.NDArray[np.object_]  # the baseline's
    groups: dict[str, npt.NDArray[np.object_]]  # column -> the baseline's items' groups, as text
    clusters: Integers  # the baseline's
    outcomes: dict[str, pd.DataFrame]  # of each run and the baseline on what they share: side, outcome, n
    prompts_tried: int

    def kept(self, scores: Scores, split: str | None, without_errata: bool) -> Booleans:
        """Which items of a run belong to a split, with or without those marked as errata."""
        mask = np.ones(scores.part.size, dtype=bool)
        if split not in WHOLE:
            mask &= scores.part == self.parts.index(str(split)) + 1
        return mask & ~scores.erratum if without_errata else mask


def load(
    catalog: Catalog,
    runs: Sequence[str],
    baseline: str,
    split: str | None,
    errata: Collection[str],
    without_errata: bool,
) -> Loaded:
    """Read the runs; `errata` are the ids of items marked wrong or ambiguous.

    Raises:
        RunError: if a run is unknown, or none has items in the split.
    """
    numbers = dict(zip(runs, catalog.run_numbers(runs), strict=True))
    base = numbers[baseline]
    found = catalog.query(
        "SELECT DISTINCT part FROM items WHERE list_contains($runs, run_no) AND part IS NOT NULL ORDER BY 1",
        {"runs": list(numbers.values())},
    )
    parts = tuple(str(part) for part in found["part"])
    if split not in WHOLE and split not in parts:
        raise RunError(
            f"None of these runs has items of the split {split!r}.",
            f"They have {', '.join(parts)}." if parts else "Their dataset has no split.",
        )
    arguments: dict[str, Any] = {
        "runs": list(numbers.values()),
        "baseline": base,
        "parts": list(parts) or [""],
        "errata": sorted(errata) or [""],
        "split": None if split in WHOLE else split,
    }
    facts = {row["run_no"]: row for row in catalog.query(_FACTS, arguments).to_dict("records")}
    left_out = arguments["errata"] if without_errata else [""]
    outcomes = catalog.query(_OUTCOMES, arguments | {"errata": left_out})
    of = dict(tuple(outcomes.groupby("run_no")))
    items = _baseline_items(catalog, base)
    here = _facts(facts[base])
    return Loaded(
        facts={run_id: _facts(facts[number]) for run_id, number in numbers.items()},
        scores=_scores(catalog.query(_SCORES, arguments), numbers),
        baseline=baseline,
        parts=parts,
        item_ids=items["item_id"].to_numpy(dtype=object),
        groups={column: items[column].to_numpy(dtype=object) for column in COLUMNS},
        clusters=items["cluster"].to_numpy(dtype=np.int64),
        outcomes={run_id: of.get(number, outcomes[:0]) for run_id, number in numbers.items()},
        prompts_tried=catalog.prompts_tried(here.dataset),
    )


def _baseline_items(catalog: Catalog, run_no: int) -> pd.DataFrame:
    columns = ", ".join(f'{group_sql(column)} AS "{column}"' for column in COLUMNS)
    return catalog.query(
        f"SELECT i.item_no, i.item_id, (hash(i.cluster) >> 1)::BIGINT AS cluster, {columns} FROM items i"  # noqa: S608
        " WHERE i.run_no = $run ORDER BY i.item_no",
        {"run": run_no},
    )


def _scores(frame: pd.DataFrame, numbers: dict[str, int]) -> dict[str, Scores]:
    """The rows of each run, which lie together."""
    order = frame["run_no"].to_numpy()
    columns = {
        "base_no": frame["base_no"].fillna(-1).to_numpy(dtype=np.int64),
        **{name: frame[name].to_numpy(dtype=bool) for name in ("same", "erratum", "recorded")},
        **{name: frame[name].to_numpy(dtype=np.int64) for name in ("cluster", "part", "answered")},
        **{name: frame[name].to_numpy(dtype=float) for name in ("strict", "official", "tokens", "seconds")},
    }
    result = {}
    for run_id, number in numbers.items():
        rows = slice(int(np.searchsorted(order, number)), int(np.searchsorted(order, number, side="right")))
        result[run_id] = Scores(**{name: values[rows] for name, values in columns.items()})
    return result


def _facts(row: dict[object, object]) -> Facts:
    def text(name: str) -> str | None:
        value = row[name]
        return value if isinstance(value, str) else None

    return Facts(
        run_id=str(row["run_id"]),
        dataset=str(row["dataset"]),
        dataset_hash=str(row["dataset_hash"]),
        split=text("split"),
        prompt=text("prompt"),
        prompt_version=text("prompt_version"),
        model=text("model"),
        samples=int(str(row["samples"])),
        ablation=text("ablation"),
        scorer=str(row["scorer"]),
        kind=str(row["kind"]),
    )
