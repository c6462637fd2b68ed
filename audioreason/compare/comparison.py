"""Several runs against one of them: `compare` reads them once and answers everything a page shows.

Knows which items count where; the tests are in `stats`, one pair in `pair`, reading in `loading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from audioreason.compare.loading import SCORES, WHOLE, Facts, Floats, Integers, Loaded, Score, load
from audioreason.compare.pair import Aligned, Overlap, Pair, corrected, make_pair
from audioreason.errors import RunError
from audioreason.runs import Catalog
from audioreason.stats import clustered_wilson

if TYPE_CHECKING:
    import pandas as pd

EFFECT = 0.02  # the difference that a comparison should be able to see, as a fraction


class Errata(Protocol):
    """Who knows which items are marked wrong or ambiguous; `review.Annotations` does."""

    def errata(self, dataset_name: str) -> Mapping[str, Any]:
        """The marks by item id."""
        ...


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of a comparison.

    `leaderboard` has one row per run, in the order asked: run_id, label, n (items answered and rated),
    accuracy, low, high (95%, Wilson with the number of items that their clips make them worth), errors
    (items with nothing but server errors: they left the denominator), pending (not asked yet), tokens and
    seconds (means per answer), samples, dataset, dataset_hash, split, ablation. Each run counts all of its
    items there; a pair counts those that both answered. `note` says where runs differ in what they were
    asked. `errata` counts the items marked wrong or ambiguous that some run was asked.
    """

    baseline: str
    score: Score
    split: str
    without_errata: bool
    leaderboard: pd.DataFrame
    pairs: tuple[Pair, ...]
    prompts_tried: int
    errata: int
    note: str
    loaded: Loaded = field(repr=False)

    def pair(self, run_id: str) -> Pair:
        """One run against the baseline.

        Raises:
            RunError: if it is not one of the compared runs.
        """
        for pair in self.pairs:
            if pair.run_id == run_id:
                return pair
        raise RunError(f"The run {run_id!r} is not compared here.", "Name it among the runs.")

    def views(self) -> pd.DataFrame:
        """Every run on full and each split, by both scores, with and without errata: what one figure hides.

        Returns:
            Rows of run_id, label, split, score, errata ("with" or "without"), n, accuracy, low, high.
            Without marked items the rows "without" are left out.
        """
        import pandas as pd

        labels = dict(zip(self.leaderboard["run_id"], self.leaderboard["label"], strict=True))
        rows = []
        for run_id, scores in self.loaded.scores.items():
            for split in ("full", *self.loaded.parts):
                for without in (False, True) if self.errata else (False,):
                    kept = self.loaded.kept(scores, split, without)
                    for score in SCORES:
                        figures = _accuracy(scores.of(score)[kept], scores.cluster[kept])
                        rows.append(
                            {
                                "run_id": run_id,
                                "label": labels[run_id],
                                "split": split,
                                "score": score,
                                "errata": "without" if without else "with",
                                **figures,
                            }
                        )
        return pd.DataFrame(rows)

    def disagreements(self) -> dict[str, int]:
        """For each run, how many items strict and official score differently, among those it counts."""
        counts = {}
        for run_id, scores in self.loaded.scores.items():
            kept = self.loaded.kept(scores, self.split, self.without_errata) & ~np.isnan(scores.strict)
            counts[run_id] = int((np.abs(scores.strict - scores.official)[kept] > 1e-9).sum())
        return counts


def compare(
    catalog: Catalog,
    annotations: Errata | None,
    runs: Sequence[str],
    baseline: str,
    *,
    score: Score = "strict",
    split: str | None = None,
    without_errata: bool = False,
    effect: float = EFFECT,
) -> Comparison:
    """Compare runs with one of them.

    Args:
        catalog: where the runs are.
        annotations: who knows the errata; None if nobody does.
        runs: ids; the baseline is added if it is not among them.
        baseline: the run that the others are compared with.
        score: the rule that decides what is right.
        split: a part of the dataset; None or "full" for all of it.
        without_errata: leave out the items marked wrong or ambiguous.
        effect: the difference (fraction) that one would like to be able to see.

    Raises:
        RunError: if a run is unknown, the split is not theirs, or the score is neither.
    """
    if score not in SCORES:
        raise RunError(f"There is no score {score!r}.", "Choose strict or official.")
    wanted = tuple(dict.fromkeys(runs if baseline in runs else (baseline, *runs)))
    marked = _errata(catalog, annotations, wanted)
    loaded = load(catalog, wanted, baseline, split, marked, without_errata)
    labels = run_labels(loaded.facts)
    pairs = [
        _pair(loaded, run_id, labels, score, split, without_errata, effect)
        for run_id in wanted
        if run_id != baseline
    ]
    return Comparison(
        baseline=baseline,
        score=score,
        split="full" if split in WHOLE else str(split),
        without_errata=without_errata,
        leaderboard=_leaderboard(loaded, labels, score, split, without_errata),
        pairs=corrected(pairs),
        prompts_tried=loaded.prompts_tried,
        errata=max(int(scores.erratum.sum()) for scores in loaded.scores.values()),
        note=_note(loaded.facts, labels, baseline),
        loaded=loaded,
    )


def run_labels(facts: Mapping[str, Facts]) -> dict[str, str]:
    """What each run is called: its prompt and what was done to the clip, with as much as tells them apart."""
    labels = {
        run_id: " ".join(filter(None, (one.prompt or run_id, one.ablation and f"({one.ablation})")))
        for run_id, one in facts.items()
    }
    for more in ("model", "run_id"):
        taken = list(labels.values())
        if len(set(taken)) == len(taken):
            break
        labels = {
            run_id: f"{label} {getattr(facts[run_id], more) or ''}".strip()
            if taken.count(label) > 1
            else label
            for run_id, label in labels.items()
        }
    return labels


def _errata(catalog: Catalog, annotations: Errata | None, runs: Sequence[str]) -> frozenset[str]:
    if annotations is None:
        return frozenset()
    numbers = catalog.run_numbers(runs)
    found = catalog.query(
        "SELECT DISTINCT dataset FROM runs WHERE list_contains($runs, run_no)", {"runs": numbers}
    )
    return frozenset(item_id for name in found["dataset"] for item_id in annotations.errata(str(name)))


def _accuracy(values: Floats, clusters: Integers) -> dict[str, Any]:
    """n, accuracy and interval over the values that are known."""
    known = ~np.isnan(values)
    n = int(known.sum())
    if n == 0:
        return {"n": 0, "accuracy": float("nan"), "low": float("nan"), "high": float("nan")}
    low, high = clustered_wilson(values[known], clusters[known])
    return {"n": n, "accuracy": float(values[known].mean()), "low": low, "high": high}


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _leaderboard(
    loaded: Loaded, labels: Mapping[str, str], score: Score, split: str | None, without_errata: bool
) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for run_id, scores in loaded.scores.items():
        kept, facts = loaded.kept(scores, split, without_errata), loaded.facts[run_id]
        rows.append(
            {
                "run_id": run_id,
                "label": labels[run_id],
                **_accuracy(scores.of(score)[kept], scores.cluster[kept]),
                "errors": int((scores.recorded & (scores.answered == 0))[kept].sum()),
                "pending": int((~scores.recorded)[kept].sum()),
                "tokens": _mean(scores.tokens[kept]),
                "seconds": _mean(scores.seconds[kept]),
                "samples": facts.samples,
                "dataset": facts.dataset,
                "dataset_hash": facts.dataset_hash,
                "split": facts.split or "full",
                "ablation": facts.ablation,
            }
        )
    return pd.DataFrame(rows)


def _pair(
    loaded: Loaded,
    run_id: str,
    labels: Mapping[str, str],
    score: Score,
    split: str | None,
    without_errata: bool,
    effect: float,
) -> Pair:
    base, run = loaded.scores[loaded.baseline], loaded.scores[run_id]
    base_kept, run_kept = (loaded.kept(one, split, without_errata) for one in (base, run))
    place = np.full(base.base_no.size, -1)  # of each of the baseline's items in the run
    met = run.base_no >= 0
    place[run.base_no[met]] = np.flatnonzero(met)
    common = (place >= 0) & base_kept
    same = common & run.same[place]
    rated = same & ~np.isnan(base.of(score)) & ~np.isnan(run.of(score)[place])
    gone_base = same & (base.answered == 0)
    gone_run = same & ~gone_base & (run.answered[place] == 0)
    facts = loaded.facts
    overlap = Overlap(
        only_run=int((run_kept & ~met).sum()),
        only_baseline=int((base_kept & (place < 0)).sum()),
        changed=int((common & ~same).sum()),
        run_unanswered=int(gone_run.sum()),
        baseline_unanswered=int(gone_base.sum()),
        unrated=int((same & ~gone_base & ~gone_run & ~rated).sum()),
        same_dataset=facts[run_id].dataset_hash == facts[loaded.baseline].dataset_hash,
    )
    there = place[rated]
    return make_pair(
        run_id,
        loaded.baseline,
        (labels[loaded.baseline], labels[run_id]),
        Aligned(
            item_ids=loaded.item_ids[rated],
            baseline=base.of(score)[rated],
            run=run.of(score)[there],
            clusters=loaded.clusters[rated],
            kept=rated,
            all_groups=loaded.groups,
        ),
        overlap,
        loaded.outcomes[run_id],
        samples=(facts[loaded.baseline].samples, facts[run_id].samples),
        costs={
            "tokens": (_mean(base.tokens[rated]), _mean(run.tokens[there])),
            "seconds": (_mean(base.seconds[rated]), _mean(run.seconds[there])),
        },
        effect=effect,
        remarks=_remarks(facts[loaded.baseline], facts[run_id], labels),
    )


def _remarks(baseline: Facts, run: Facts, labels: Mapping[str, str]) -> list[str]:
    """What else the reader must know about two recipes."""
    found = []
    if baseline.scorer != run.scorer:
        found.append("Scored by two versions of the scorer: run `audioreason score` on both.")
    found += [
        f"{labels[one.run_id]} did not hear the real clips ({one.ablation})."
        for one in (baseline, run)
        if one.ablation
    ]
    if (
        baseline.model
        and run.model
        and baseline.model != run.model
        and baseline.prompt_version != run.prompt_version
    ):
        found.append("Model and prompt both differ: this difference has two causes.")
    return found


def _note(facts: Mapping[str, Facts], labels: Mapping[str, str], baseline: str) -> str:
    others = [
        labels[run_id] for run_id, one in facts.items() if one.dataset_hash != facts[baseline].dataset_hash
    ]
    if not others:
        return ""
    listed = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    return (
        f"Not all runs were asked the same items: {listed} had another dataset than {labels[baseline]}, or"
        " another version of it. Accuracies are over each run's own items; differences over those they share."
    )
