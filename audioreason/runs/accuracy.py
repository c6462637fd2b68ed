"""Questions about accuracy: the leaderboard, accuracy by group, outcomes by group, two runs item by item.

Every figure is a mean over items of an item's mean over its answered samples; server errors and items
without a gold choice leave the denominator and are counted. Knows nothing about texts or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.errors import RunError
from audioreason.items.facts import column_of
from audioreason.runs.snapshot import read_items
from audioreason.stats import wilson

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.runs.catalog import Catalog

# what predictions may be grouped and filtered by -> SQL; `i` is the item
COLUMNS: Mapping[str, str] = {
    "layer": "i.layer",
    "category": "i.layer",
    "subcategory": "i.subcategory",
    "modality": "i.modality",
    "language": "i.language",
    "part": "i.part",
    "source": "i.source",
    "family": "i.family",
    "difficulty": "i.difficulty",
    "choices": "len(i.choices)",
    "gold": "i.gold",
}
_WHOLE = (None, "full")
_RENAMED = ("family", "difficulty")  # columns of ours whose name tables use for other things too

_LEADERBOARD = """
WITH t AS (
    SELECT run_no, sum(items) AS items, sum(recorded) AS recorded, sum(answered) AS answered,
           sum(errors) AS errors, sum(rated) AS rated, sum(strict) AS strict, sum(official) AS official,
           sum(prompt_tokens) / nullif(sum(with_prompt_tokens), 0) AS prompt_tokens,
           sum(completion_tokens) / nullif(sum(with_completion_tokens), 0) AS completion_tokens,
           sum(seconds) / nullif(sum(with_seconds), 0) AS seconds
    FROM totals WHERE $split IS NULL OR part = $split GROUP BY run_no)
SELECT r.run_id, r.created, r.kind, r.status, r.dataset, r.dataset_hash, r.dataset_size, r.split, r.prompt,
       r.prompt_version, r.model, r.endpoint, r.samples, r.temperature, r.seed, r.ablation, r.scorer,
       coalesce(t.items, 0)::INTEGER AS n, coalesce(t.recorded, 0)::INTEGER AS recorded,
       coalesce(t.answered, 0)::INTEGER AS answered, coalesce(t.errors, 0)::INTEGER AS errors,
       coalesce(t.rated, 0)::INTEGER AS rated, coalesce(t.answered - t.rated, 0)::INTEGER AS unrated,
       t.strict / nullif(t.rated, 0) AS strict, t.official / nullif(t.rated, 0) AS official,
       t.prompt_tokens, t.completion_tokens, t.seconds
FROM runs r LEFT JOIN t USING (run_no)
ORDER BY r.created DESC, r.run_id DESC
"""


@dataclass(frozen=True)
class Paired:
    """Two runs on the items that both answered and that asked the same thing in both.

    `table` has one row per item: item_id, cluster, part, layer, subcategory, modality, language, and for
    both runs (`_a`, `_b`) strict, official, samples, completion_tokens, seconds. `only_a` and `only_b` count
    items that the other run lacks, `changed` those whose question, choices or gold differ, `unanswered`
    those that one of them did not get an answer to. `note` says all this in a sentence, "" if there is
    nothing to say.
    """

    table: pd.DataFrame
    only_a: int
    only_b: int
    changed: int
    unanswered: int
    same_dataset: bool
    note: str


def leaderboard(catalog: Catalog, split: str | None = None) -> pd.DataFrame:
    """One row per run, newest first; see `Catalog.runs`."""
    frame = catalog.query(_LEADERBOARD, {"split": None if split in _WHOLE else split})
    return _with_intervals(frame, "rated")


def accuracy_by(
    catalog: Catalog,
    runs: str | Sequence[str],
    column: str,
    split: str | None = None,
    without: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """Accuracy of runs by a column of their items, one of `COLUMNS` or any that their tables had, `without`
    some items.

    Returns:
        One row per run and group: run_id, group, n (rated items), strict, official (fractions), their
        Wilson intervals (strict_low, strict_high, official_low, official_high), errors (items unanswered).

    Raises:
        RunError: if a run is unknown, or its items have no such column; the message names those they have.
    """
    numbers = catalog.run_numbers(runs)
    group = _group(catalog, numbers, column)
    frame = catalog.query(
        f"""
        SELECT r.run_id, {group.sql} AS "group", count(s.strict)::INTEGER AS n,
               avg(s.strict) AS strict, avg(s.official) AS official,
               count(*) FILTER (s.answered = 0)::INTEGER AS errors
        FROM runs r JOIN item_scores s USING (run_no) JOIN items i USING (run_no, item_no) {group.join}
        WHERE r.run_no IN (SELECT unnest($runs)) AND ($split IS NULL OR i.part = $split)
          AND i.item_id NOT IN (SELECT unnest($without::VARCHAR[]))
        GROUP BY ALL ORDER BY ALL
        """,  # noqa: S608 - our own SQL
        {"runs": numbers, "split": None if split in _WHOLE else split, "without": sorted(without)}
        | group.arguments,
    )
    return _with_intervals(frame, "n")


def outcomes_by(
    catalog: Catalog,
    runs: str | Sequence[str],
    column: str,
    split: str | None = None,
    without: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """How many predictions of each outcome each group has, `without` some items: run_id, group, outcome, n.

    Raises:
        RunError: as `accuracy_by`.
    """
    run_numbers = catalog.run_numbers(runs)
    group = _group(catalog, run_numbers, column)
    numbers = ", ".join(map(str, run_numbers)) or "NULL"
    # counted per item first: the join to items then meets thousands of rows instead of a million
    return catalog.query(
        f"""
        WITH p AS (
            SELECT run_no, item_no, outcome, count(*) AS n FROM predictions
            WHERE run_no IN ({numbers}) GROUP BY ALL)
        SELECT r.run_id, {group.sql} AS "group", p.outcome, sum(p.n)::INTEGER AS n
        FROM p JOIN runs r USING (run_no) JOIN items i USING (run_no, item_no) {group.join}
        WHERE ($split IS NULL OR i.part = $split) AND i.item_id NOT IN (SELECT unnest($without::VARCHAR[]))
        GROUP BY ALL ORDER BY ALL
        """,  # noqa: S608 - our own SQL and numbers
        {"split": None if split in _WHOLE else split, "without": sorted(without)} | group.arguments,
    )


def items_in_group(catalog: Catalog, run: str, column: str, group: str) -> tuple[str, ...]:
    """Ids of a run's items that are in one group of a column, as `accuracy_by` names it.

    Raises:
        RunError: as `accuracy_by`.
    """
    numbers = catalog.run_numbers(run)
    by = _group(catalog, numbers, column)
    frame = catalog.query(
        f"SELECT i.item_id FROM items i {by.join} WHERE i.run_no = $run AND {by.sql} = $group",  # noqa: S608
        {"run": numbers[0], "group": group} | by.arguments,
    )
    return tuple(map(str, frame["item_id"]))


def paired(catalog: Catalog, a: str, b: str, split: str | None = None) -> Paired:
    """Two runs item by item; see `Paired`.

    Raises:
        RunError: if a run is unknown.
    """
    (run_a,), (run_b,) = catalog.run_numbers(a), catalog.run_numbers(b)
    arguments = {"a": run_a, "b": run_b, "split": None if split in _WHOLE else split}
    counts = catalog.query(_OVERLAP, arguments).iloc[0]
    table = catalog.query(_PAIRED, arguments)
    facts = catalog.query(
        "SELECT run_no, dataset, dataset_hash, scorer FROM runs WHERE run_no IN ($a, $b)",
        {"a": run_a, "b": run_b},
    )
    asked = {row[0]: tuple(map(str, row[1:])) for row in facts.itertuples(index=False)}
    (name_a, hash_a, scorer_a), (name_b, hash_b, scorer_b) = asked[run_a], asked[run_b]
    same = hash_a == hash_b
    result = {name: int(counts[name]) for name in ("only_a", "only_b", "changed", "unanswered")}
    note = _note(a, b, (name_a, name_b), same, len(table), result)
    if scorer_a != scorer_b:
        note = f"{note} Scored by two versions of the scorer: run `audioreason score` on both.".strip()
    return Paired(table, **result, same_dataset=same, note=note)


def prompts_tried(catalog: Catalog, dataset: str) -> int:
    """How many different prompts were tried on a dataset, in runs and in the playground."""
    frame = catalog.query(
        """
        SELECT count(DISTINCT prompt_version) AS n FROM (
            SELECT prompt_version FROM runs WHERE dataset = $dataset
            UNION ALL SELECT prompt_version FROM playground WHERE dataset = $dataset)
        """,
        {"dataset": dataset},
    )
    return int(frame["n"].iloc[0])


def _with_intervals(frame: pd.DataFrame, count: str) -> pd.DataFrame:
    """`frame` with Wilson's interval beside strict and official, means over the items counted in `count`.

    Over several samples the count is rounded: an item's mean varies less than a single sample does, so the
    interval errs on the wide side.
    """
    interval = cache(wilson)  # many groups share their counts
    for score in ("strict", "official"):
        bounds = [
            interval(round(mean * n), n) if n else (None, None)
            for mean, n in zip(frame[score], frame[count], strict=True)
        ]
        frame[f"{score}_low"] = [low for low, _ in bounds]
        frame[f"{score}_high"] = [high for _, high in bounds]
    return frame


@dataclass(frozen=True)
class _Group:
    """How items are grouped: an expression, what is joined for it, and their arguments."""

    sql: str
    join: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def _group(catalog: Catalog, numbers: Sequence[int], column: str) -> _Group:
    """How the items of some runs are grouped by a column.

    Raises:
        RunError: if the items have no such column; the message names those they have.
    """
    plain = _Group(group_sql(column)) if column in COLUMNS else None
    if plain is not None and (column not in _RENAMED or _is_filled(catalog, numbers, column)):
        return plain
    values = _item_values(catalog, numbers, column)
    if plain is not None and not any(values.values()):
        return plain
    return _Group(
        "coalesce(v.value, 'none')",
        """LEFT JOIN (SELECT unnest($value_runs::INTEGER[]) AS run_no,
                             unnest($value_items::VARCHAR[]) AS item_id,
                             unnest($value_texts::VARCHAR[]) AS value) v
           ON v.run_no = i.run_no AND v.item_id = i.item_id""",
        {
            "value_runs": [number for number, _ in values],
            "value_items": [item_id for _, item_id in values],
            "value_texts": list(values.values()),
        },
    )


def _item_values(catalog: Catalog, runs: Sequence[int], column: str) -> dict[tuple[int, str], str | None]:
    """A column's value by (run number, item id), from the items as the runs keep them.

    Raises:
        RunError: if no item has the column and it is none of `COLUMNS`; the message names those there are.
    """
    found: dict[tuple[int, str], str | None] = {}
    names: dict[str, None] = {}
    places = catalog.query(
        "SELECT run_no, folder FROM runs WHERE run_no IN (SELECT unnest($runs))", {"runs": runs}
    )
    for number, folder in zip(places["run_no"], places["folder"], strict=True):
        for item in read_items(Path(folder)):
            found[int(number), item.id] = column_of(item, column)
            names |= dict.fromkeys(name.removeprefix("given_") for name in item.model_extra or {})
    if column not in COLUMNS and not any(value is not None for value in found.values()):
        own = [name for name in names if name not in COLUMNS]
        also = f"; its data also have {', '.join(own[:20])}" if own else ""
        raise RunError(
            f"Predictions cannot be grouped by {column!r}.", f"Choose one of {', '.join(COLUMNS)}{also}."
        )
    return found


def _is_filled(catalog: Catalog, numbers: Sequence[int], column: str) -> bool:
    query = f"SELECT count({COLUMNS[column]}) AS n FROM items i WHERE run_no IN (SELECT unnest($runs))"  # noqa: S608
    return int(catalog.query(query, {"runs": numbers})["n"].iloc[0]) > 0


def group_sql(column: str) -> str:
    """The SQL of a column that may be grouped by, as text; null reads "none".

    Raises:
        RunError: if the column is not one of `COLUMNS`.
    """
    if column not in COLUMNS:
        raise RunError(
            f"Predictions cannot be grouped by {column!r}.", f"Choose one of {', '.join(COLUMNS)}."
        )
    return f"coalesce({COLUMNS[column]}::VARCHAR, 'none')"


_OVERLAP = """
WITH a AS (SELECT i.item_id, i.fingerprint, s.answered FROM items i
           LEFT JOIN item_scores s USING (run_no, item_no)
           WHERE i.run_no = $a AND ($split IS NULL OR i.part = $split)),
     b AS (SELECT i.item_id, i.fingerprint, s.answered FROM items i
           LEFT JOIN item_scores s USING (run_no, item_no)
           WHERE i.run_no = $b AND ($split IS NULL OR i.part = $split))
SELECT count(*) FILTER (b.item_id IS NULL) AS only_a, count(*) FILTER (a.item_id IS NULL) AS only_b,
       count(*) FILTER (a.fingerprint <> b.fingerprint) AS changed,
       count(*) FILTER (a.fingerprint = b.fingerprint
                        AND (coalesce(a.answered, 0) = 0 OR coalesce(b.answered, 0) = 0)) AS unanswered
FROM a FULL JOIN b USING (item_id)
"""

_PAIRED = """
SELECT i.item_id, i.cluster, i.part, i.layer, i.subcategory, i.modality, i.language,
       sa.strict AS strict_a, sb.strict AS strict_b, sa.official AS official_a, sb.official AS official_b,
       sa.answered AS samples_a, sb.answered AS samples_b,
       sa.completion_tokens AS completion_tokens_a, sb.completion_tokens AS completion_tokens_b,
       sa.seconds AS seconds_a, sb.seconds AS seconds_b
FROM items i JOIN item_scores sa USING (run_no, item_no)
JOIN items j ON j.run_no = $b AND j.item_id = i.item_id AND j.fingerprint = i.fingerprint
JOIN item_scores sb ON sb.run_no = j.run_no AND sb.item_no = j.item_no
WHERE i.run_no = $a AND sa.strict IS NOT NULL AND sb.strict IS NOT NULL
  AND ($split IS NULL OR i.part = $split)
ORDER BY i.item_no
"""


def _note(a: str, b: str, datasets: tuple[str, str], same: bool, n: int, counts: dict[str, Any]) -> str:
    parts = []
    if datasets[0] != datasets[1]:
        parts.append(f"{a} was asked {datasets[0]} and {b} was asked {datasets[1]}")
    elif not same:
        parts.append(f"the runs were asked two versions of {datasets[0]}")
    for count, sentence in (
        (counts["only_a"], f"only in {a}"),
        (counts["only_b"], f"only in {b}"),
        (counts["changed"], "with another question, choices or answer"),
        (counts["unanswered"], "without an answer in one of them"),
    ):
        if count:
            parts.append(f"{count} {'item' if count == 1 else 'items'} {sentence}")
    return f"Compared on the {n} items that both answered: {'; '.join(parts)}." if parts else ""
