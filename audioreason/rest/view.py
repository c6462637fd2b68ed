"""What somebody who looks at a self-training experiment asks of its tables: figures, candidates, accuracy.

Reads; decides nothing. Knows nothing about pages, and runs no filter of its own: what was kept, and why not,
is what the round wrote down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from audioreason.errors import RunError
from audioreason.runs import records
from audioreason.stats import Difference, guess_share, paired_difference, wilson

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.runs import Catalog

_LIVE = 5_000  # rows of metrics kept, the last ones


@dataclass(frozen=True)
class Share:
    """`k` of `n` with Wilson's 95% interval, all fractions but the counts; `value` is None where n is 0."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """k / n."""
        return self.k / self.n if self.n else None


def share(k: int, n: int) -> Share:
    """`k` of `n` with its interval."""
    return Share(k, n, *wilson(k, n))


@dataclass(frozen=True)
class Figures:
    """What a round's candidates and problems come to.

    `counted` are the problems that a claim may rest on (four choices or more, in groups where hearing beats
    silence), `zones` and `guess` are over them: how many problems each zone holds, and the share of them
    that guessing alone would put there. `answered` leaves out candidates that a server error took.
    """

    problems: int
    counted: int
    candidates: int
    errors: int
    right: Share  # of answered candidates
    solved: Share  # problems that were right at least once
    zones: tuple[int, ...]
    guess: tuple[float, ...]
    kept: int
    kept_tokens: float | None  # median length of what was kept
    right_tokens: float | None  # median length of all right candidates
    estimated: bool = False  # some lengths are shares of what a server counted together


@dataclass(frozen=True)
class Histogram:
    """Problems with 0, 1, ... k right answers; `guess` is what guessing alone would give, `left_out` counts
    problems that a server error left with fewer answers than k."""

    counts: tuple[int, ...]
    guess: tuple[float, ...]
    left_out: int


@dataclass(frozen=True)
class Row:
    """A subcategory: its problems by zone."""

    subcategory: str
    layer: str
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """Problems."""
        return sum(self.counts)


@dataclass(frozen=True)
class Wanted:
    """Which candidates are listed: empty means any; `kept` is None for both."""

    zones: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    subcategories: tuple[str, ...] = ()
    kept: bool | None = None


@dataclass(frozen=True)
class Found:
    """One page of candidates (a dict a row, with subcategory), and how many there are in all."""

    rows: tuple[dict[str, Any], ...]
    total: int


@dataclass(frozen=True)
class Score:
    """A prompt's strict accuracy after a round, and its paired difference to the base, None for the base.

    Server errors and items without a gold choice leave `n`.
    """

    prompt: str
    round: int
    run_id: str
    n: int
    accuracy: float
    low: float
    high: float
    finished: bool
    change: Difference | None


def figures(problems: pd.DataFrame, candidates: pd.DataFrame, zones: Sequence[str]) -> Figures:
    """The figures of a round, from its two tables; `zones` from never right to always right."""
    counted = problems[problems["counts"].astype(bool) & (problems["n"] > 0)]
    answered = candidates["strict"].notna()
    right = candidates["strict"].fillna(False).astype(bool)
    kept = candidates["kept"].astype(bool)
    tried = problems[problems["n"] > 0]
    return Figures(
        problems=len(problems),
        counted=len(counted),
        candidates=len(candidates),
        errors=int((~answered).sum()),
        right=share(int(right.sum()), int(answered.sum())),
        solved=share(int((tried["k"] > 0).sum()), len(tried)),
        zones=zone_counts(counted, zones),
        guess=(),
        kept=int(kept.sum()),
        kept_tokens=_median(candidates.loc[kept, "tokens"]),
        right_tokens=_median(candidates.loc[right, "tokens"]),
        estimated="tokens_estimated" in candidates and bool(candidates["tokens_estimated"].any()),
    )


def zone_counts(problems: pd.DataFrame, zones: Sequence[str]) -> tuple[int, ...]:
    """How many problems each zone holds, in the order of `zones`."""
    found = problems["zone"].value_counts()
    return tuple(int(found.get(zone, 0)) for zone in zones)


def histogram(problems: pd.DataFrame, samples: int) -> Histogram:
    """Problems by how many of `samples` answers were right, beside what guessing alone would give."""
    whole = problems[problems["n"] == samples]
    counts = np.bincount(whole["k"].astype(int), minlength=samples + 1)[: samples + 1]
    guess = np.zeros(samples + 1)
    for options, many in zip(
        *np.unique(whole["n_choices"].to_numpy(dtype=int), return_counts=True), strict=True
    ):
        if options > 0:
            guess += many * np.array([guess_share(int(options), samples, k, k) for k in range(samples + 1)])
    left_out = int((problems["n"] != samples).sum())
    return Histogram(tuple(int(c) for c in counts), tuple(float(g) for g in guess), left_out)


def by_subcategory(problems: pd.DataFrame, zones: Sequence[str]) -> list[Row]:
    """Problems by subcategory and zone, by layer and name."""
    named = problems.assign(
        subcategory=problems["subcategory"].fillna("none"), layer=problems["layer"].fillna("")
    )
    rows = []
    for (layer, name), group in named.groupby(["layer", "subcategory"], sort=True):
        rows.append(Row(str(name), str(layer), zone_counts(group, zones)))
    return rows


def find(candidates: pd.DataFrame, problems: pd.DataFrame, wanted: Wanted, limit: int, offset: int) -> Found:
    """One page of the candidates that `wanted` leaves, in the problems' order and by sample."""
    frame = joined(candidates, problems)
    mask = np.ones(len(frame), dtype=bool)
    for column, values in (
        ("zone", wanted.zones),
        ("reason", wanted.reasons),
        ("subcategory", wanted.subcategories),
    ):
        if values:
            mask &= frame[column].isin(values).to_numpy()
    if wanted.kept is not None:
        mask &= frame["kept"].astype(bool).to_numpy() == wanted.kept
    page = frame[mask].iloc[offset : offset + limit]
    rows = page.astype(object).where(page.notna(), None).to_dict(orient="records")
    return Found(tuple({str(name): value for name, value in row.items()} for row in rows), int(mask.sum()))


def joined(candidates: pd.DataFrame, problems: pd.DataFrame) -> pd.DataFrame:
    """Candidates with the subcategory and layer of their problems."""
    kind = problems.drop_duplicates("item_id").set_index("item_id")
    return candidates.assign(
        subcategory=candidates["item_id"].map(kind["subcategory"]).fillna("none"),
        layer=candidates["item_id"].map(kind["layer"]).fillna(""),
    )


def reasons(candidates: pd.DataFrame) -> dict[str, int]:
    """How many candidates were left out for each reason, the commonest first."""
    rejected = candidates[~candidates["kept"].astype(bool)]
    return {str(name): int(count) for name, count in rejected["reason"].value_counts().items()}


def scores(catalog: Catalog, rounds: Iterable[tuple[int, dict[str, str]]]) -> list[Score]:
    """Accuracy after each round with every prompt, against the base with the same prompt.

    Args:
        catalog: where the runs are.
        rounds: number and run ids by prompt; runs that are not there yet are left out.

    Raises:
        RunError: if a run cannot be read.
    """
    table = {str(row["run_id"]): row for row in records(catalog.runs())}
    base: dict[str, str] = {}
    found = []
    for number, runs in sorted(rounds):
        for prompt, run_id in runs.items():
            row = table.get(run_id)
            if row is None or not row["rated"]:
                continue
            change = None
            if number == 0:
                base[prompt] = run_id
            elif prompt in base:
                change = _change(catalog, base[prompt], run_id)
            found.append(
                Score(
                    prompt,
                    number,
                    run_id,
                    int(row["rated"]),
                    float(row["strict"]),
                    float(row["strict_low"]),
                    float(row["strict_high"]),
                    str(row["status"]) == "finished",
                    change,
                )
            )
    return found


def _change(catalog: Catalog, base: str, run_id: str) -> Difference:
    pairs = catalog.paired(base, run_id).table
    return paired_difference(
        pairs["strict_a"].to_numpy(dtype=float),
        pairs["strict_b"].to_numpy(dtype=float),
        list(pairs["cluster"]),
    )


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """A table of a round.

    Raises:
        RunError: if it cannot be read, or lacks a column.
    """
    import pandas as pd

    hint = "Run the round's filter again: audioreason rest filter."
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise RunError(f"{path} cannot be read ({str(error).splitlines()[0][:200]}).", hint) from error
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise RunError(f"{path} has no column {missing[0]}.", hint)
    return frame


def metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a training's metrics.jsonl, at most the last 5,000; a torn last line is left out."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what has no newline is being written
    rows = []
    for line in lines[-_LIVE:]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RunError(f"{path} cannot be read ({error}).", "The training can be resumed.") from error
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
