"""Does a run's choice survive another order of the choices, and does it need the sound?

`choice_stability` reads the runs of `eval --permute`, `audio_contribution` a run and its twin of
`eval --ablate`. Knows nothing about how they were made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from audioreason.compare.comparison import compare
from audioreason.compare.loading import WHOLE, Score
from audioreason.compare.pair import SMALL, Pair
from audioreason.errors import RunError
from audioreason.runs import Catalog, RunRecord, load_record, recipe_differences
from audioreason.runs.accuracy import group_sql
from audioreason.stats import clustered_wilson, consistency

if TYPE_CHECKING:
    import pandas as pd

_ANSWERS = """
SELECT i.run_no, i.item_id, i.cluster, {column} AS "group", p.sample, p.choice AS place, i.gold,
       i.choices[p.choice + 1] AS chosen, p.strict
FROM predictions p JOIN items i USING (run_no, item_no)
WHERE list_contains($runs, i.run_no) AND p.outcome <> 'server_error' AND p.strict IS NOT NULL
  AND ($split IS NULL OR i.part = $split)
"""
_SAME = ("dataset_hash", "prompt_version", "model", "seed", "samples")


@dataclass(frozen=True, eq=False)
class Stability:
    """How steady the choices are when their order changes.

    `runs` are the compared runs by their order; `n` items that at least two of them answered. `consistency`
    is the mean over items of the share of pairs of orders that give the same choice (by its text, not its
    place), with a clustered 95% interval; `always` the share of items right under every order answered.
    `positions` has one row per place: position, chosen (share of the answers that chose it), gold (share of
    the questions whose right choice stood there), accuracy there.
    """

    runs: tuple[str, ...]
    n: int
    consistency: float
    low: float
    high: float
    always: float
    positions: pd.DataFrame
    groups: pd.DataFrame = field(repr=False)  # group, n, consistency, low, high, always, small


@dataclass(frozen=True)
class _ItemSteadiness:
    group: str
    cluster: str
    consistency: float
    always: bool


def choice_stability(
    catalog: Catalog, runs: Sequence[str], *, by: str = "subcategory", split: str | None = None
) -> Stability:
    """How far the choices of runs that asked in different orders agree; one run stands for its whole set.

    Raises:
        RunError: if a run is unknown or was not asked in a given order, or there are fewer than two.
    """
    import pandas as pd

    named = orders_of(catalog, runs[0]) if len(runs) == 1 else tuple(dict.fromkeys(runs))
    records = [load_record(catalog.workspace, run_id) for run_id in named]
    plain = [record.run_id for record in records if record.permutation is None]
    if plain or len(named) < 2:
        raise RunError(
            f"The run {plain[0]} was not asked in a given order of the choices."
            if plain
            else f"There is no other order of {runs[0]} to compare with.",
            "Make such runs with: audioreason eval --permute 4",
        )
    ordered = tuple(record.run_id for record in sorted(records, key=lambda record: record.permutation or 0))
    frame = catalog.query(
        _ANSWERS.format(column=group_sql(by)),
        {"runs": catalog.run_numbers(ordered), "split": None if split in WHOLE else split},
    )
    items = _steadiness(frame)
    rows = [
        {"group": name, **_share(members), "small": len(members) < SMALL}
        for name, members in sorted(_grouped(items).items())
    ]
    whole = _share(items)
    return Stability(
        runs=ordered,
        n=whole["n"],
        consistency=whole["consistency"],
        low=whole["low"],
        high=whole["high"],
        always=whole["always"],
        positions=_positions(frame),
        groups=pd.DataFrame(rows, columns=["group", "n", "consistency", "low", "high", "always", "small"]),
    )


def orders_of(catalog: Catalog, run_id: str) -> tuple[str, ...]:
    """The runs that asked what this one asked, itself included, each in another order of the choices.

    Raises:
        RunError: if the run is unknown.
    """
    record = load_record(catalog.workspace, run_id)
    found = {record.permutation: run_id}
    for other in _twins(catalog, record, "permutation"):
        if other.permutation is not None:
            found.setdefault(other.permutation, other.run_id)
    return tuple(found[order] for order in sorted(found, key=lambda order: -1 if order is None else order))


@dataclass(frozen=True, eq=False)
class Contribution:
    """What hearing the clips adds: `pair` is the run against its ablated twin, `table` the same by group."""

    run_id: str
    without: str
    ablation: str
    pair: Pair
    table: pd.DataFrame
    sentence: str


def audio_contribution(
    catalog: Catalog,
    run_id: str,
    without: str | None = None,
    *,
    by: str = "subcategory",
    score: Score = "strict",
    split: str | None = None,
) -> Contribution:
    """Accuracy with the clips minus without, paired; `without` is the newest ablated twin if not named.

    Raises:
        RunError: if a run is unknown, the run itself is ablated, or nobody made a twin.
    """
    record = load_record(catalog.workspace, run_id)
    if record.ablation:
        raise RunError(f"The run {run_id} did not hear the clips itself.", "Name the run that did.")
    if without is None:
        twins = [twin for twin in _twins(catalog, record, "ablation") if twin.ablation]
        if not twins:
            raise RunError(
                f"No run asked what {run_id} asked without its clips.",
                "Make one with the same options and: audioreason eval --ablate silence",
            )
        without = twins[0].run_id
    ablation = load_record(catalog.workspace, without).ablation
    if not ablation:
        raise RunError(f"The run {without} heard the real clips.", "Name a run made with --ablate.")
    pair = compare(catalog, None, (without, run_id), without, score=score, split=split).pair(run_id)
    return Contribution(run_id, without, ablation, pair, pair.by(by), _sentence(pair, ablation))


def _sentence(pair: Pair, ablation: str) -> str:
    instead = {"text": "the text alone", "swap": "another clip"}.get(ablation, ablation)
    if pair.n == 0:
        return pair.verdict
    size = f"{100 * pair.difference.mean:+.1f} points over {instead}".replace("-", "\N{MINUS SIGN}")
    if not pair.difference.significant:
        return f"Hearing the clips makes no difference that can be told from noise: {size}."
    return f"Hearing the clips {'adds' if pair.difference.mean > 0 else 'costs'}: {size}."


def _twins(catalog: Catalog, record: RunRecord, differs_in: str) -> list[RunRecord]:
    """Runs whose recipe differs from this one's in nothing but that field, newest first."""
    catalog.run_numbers(record.run_id)  # says why, if the run cannot be read
    table = catalog.runs()
    me = table[table["run_id"] == record.run_id].iloc[0]
    alike = table[table["run_id"] != record.run_id]
    for column in _SAME:
        value = me[column]
        alike = alike[alike[column].isna() if value is None or value != value else alike[column] == value]
    others = [load_record(catalog.workspace, str(run_id)) for run_id in alike["run_id"]]
    return [
        other
        for other in others
        if all(line.startswith(differs_in) for line in recipe_differences(record, other))
    ]


def _steadiness(frame: pd.DataFrame) -> list[_ItemSteadiness]:
    """Each item that at least two orders answered: samples of the same number are compared across orders."""
    answers: dict[str, dict[int, list[str | None]]] = defaultdict(lambda: defaultdict(list))
    about: dict[str, tuple[str, str]] = {}
    right: dict[str, bool] = defaultdict(lambda: True)
    for row in frame.to_dict("records"):
        item_id = row["item_id"]
        answers[item_id][row["sample"]].append(row["chosen"] if isinstance(row["chosen"], str) else None)
        about[item_id] = (row["group"], row["cluster"])
        right[item_id] &= bool(row["strict"])
    found = []
    for item_id, samples in answers.items():
        shares = [consistency(choices) for choices in samples.values() if len(choices) > 1]
        if shares:
            found.append(_ItemSteadiness(*about[item_id], float(np.mean(shares)), right[item_id]))
    return found


def _grouped(items: Sequence[_ItemSteadiness]) -> dict[str, list[_ItemSteadiness]]:
    groups: dict[str, list[_ItemSteadiness]] = defaultdict(list)
    for item in items:
        groups[item.group].append(item)
    return groups


def _share(items: Sequence[_ItemSteadiness]) -> dict[str, Any]:
    values, clusters = [item.consistency for item in items], [item.cluster for item in items]
    # shares near 1 need an interval that stays below it
    low, high = clustered_wilson(values, clusters)
    return {
        "n": len(items),
        "consistency": float(np.mean(values)) if values else float("nan"),
        "low": low,
        "high": high,
        "always": float(np.mean([item.always for item in items])) if items else float("nan"),
    }


def _positions(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = []
    total = max(len(frame), 1)
    places = [*frame["place"].dropna(), *frame["gold"].dropna()]
    for place in range(int(max(places, default=-1)) + 1):
        here = frame[frame["gold"] == place]
        rows.append(
            {
                "position": place,
                "chosen": float((frame["place"] == place).sum() / total),
                "gold": len(here) / total,
                "accuracy": float(here["strict"].mean()) if len(here) else float("nan"),
            }
        )
    return pd.DataFrame(rows, columns=["position", "chosen", "gold", "accuracy"])
