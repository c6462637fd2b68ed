"""The published table that the lab's prompts come from, beside the researcher's own runs on MMAR.

Figures: Noronha, Au and Tripathi, "Structured Prompting vs. Self-Training for Audio Reasoning Under Limited
Data and Compute", Interspeech 2026, as given in the authors' public repository
(github.com/sujitnoronha/audio_reasoning_interspeech). They published accuracies over all 1,000 items and
three changes by subcategory; no predictions, no interval, no full breakdown. What they did not publish is
not here. Knows nothing about other papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audioreason.compare.comparison import compare
from audioreason.compare.loading import Score
from audioreason.compare.pair import SMALL
from audioreason.runs import Catalog, records
from audioreason.stats import wilson

if TYPE_CHECKING:
    import pandas as pd

ITEMS = 1000  # of MMAR, which every published figure is over
MODEL = "Qwen3-Omni-30B-A3B-Thinking"
_MOST = 100  # own runs shown, newest first


@dataclass(frozen=True)
class Published:
    """One row of the paper: `accuracy` as a fraction, `prompt` the lab's prompt of that strategy."""

    method: str
    group: str
    accuracy: float
    prompt: str | None


PUBLISHED = (
    Published("Baseline", "", 0.671, "baseline"),
    Published("Baseline, 4-bit", "", 0.657, None),
    Published("Expert analyst", "Structured prompting", 0.683, "expert-analyst"),
    Published("Category-aware", "Structured prompting", 0.681, "category-aware"),
    Published("Targeted hints", "Structured prompting", 0.674, "targeted-hints"),
    Published("Structured reasoning", "Structured prompting", 0.720, "structured-reasoning"),
    Published("MIPROv2", "Automated optimisation", 0.633, "mipro-v2"),
    Published("ReST, basic prompt", "Self-training, 4-bit", 0.647, None),
    Published("ReST, structured reasoning", "Self-training, 4-bit", 0.655, None),
)
# the only figures by subcategory in that source: method, subcategory (MMAR's name), change to the baseline
PUBLISHED_CHANGES = (
    ("Structured reasoning", "Correlation Analysis", 0.120),
    ("Structured reasoning", "Counting and Statistics", 0.131),
    ("ReST, basic prompt", "Music Theory", -0.154),
)
PUBLISHED_NOTE = (
    f"Published: {MODEL} on MMAR's 1,000 items; the paper gives no intervals. Those shown are Wilson 95%,"
    " computed by the lab from the published percentage and n = 1,000, each item counted as independent."
    " They compare no two rows: that takes both rows' answers, which were not published. By subcategory the"
    " authors' repository gives three changes only, and says that structured reasoning gained on 13 of 16"
    " and ReST lost on 10 of 16. (15.4 points of Music Theory are no whole number of its 63 items in today's"
    " MMAR: their copy may have been another.)"
)


@dataclass(frozen=True, eq=False)
class PaperTable:
    """The published rows and the researcher's own.

    `rows`: whose ("paper" or "yours"), group, method, prompt, run_id, model, n, accuracy, low, high, split,
    published (the accuracy published for the own run's prompt), remark. `breakdown`, one row per own run and
    subcategory: run_id, label, layer, subcategory, n, accuracy, low, high, small. `changes`, what is
    published by subcategory: method, subcategory, change. `notes` say what the figures are and are not.
    """

    rows: pd.DataFrame
    breakdown: pd.DataFrame
    changes: pd.DataFrame
    notes: tuple[str, ...]


def papers_table(
    catalog: Catalog,
    runs: Sequence[str] | None = None,
    *,
    score: Score = "strict",
    split: str | None = None,
) -> PaperTable:
    """The published table beside own runs on MMAR: `runs`, or all that have answers, newest first.

    Own runs are those on a dataset with "mmar" in its name. Fractions throughout.

    Raises:
        RunError: if a named run is unknown.
    """
    import pandas as pd

    known = {row["run_id"]: row for row in records(catalog.runs())}
    if runs is not None:
        catalog.run_numbers(runs)
    mine = [
        run_id
        for run_id in (known if runs is None else runs)
        if "mmar" in known[run_id]["dataset"].lower() and known[run_id]["rated"]
    ][:_MOST]
    rows = [_published(row) for row in PUBLISHED]
    notes = [PUBLISHED_NOTE]
    breakdown = pd.DataFrame(columns=list(_BREAKDOWN))
    if mine:
        found = compare(catalog, None, mine, mine[0], score=score, split=split)
        board = records(found.leaderboard)
        rows += [_own(own, known[own["run_id"]], split) for own in board]
        labels = {own["run_id"]: own["label"] for own in board}
        breakdown = _breakdown(catalog, labels, score, split)
        notes.append(
            f"Your runs: {score} score over what each run answered, 95% intervals that count the items of one"
            " clip together (by subcategory: Wilson)."
        )
    else:
        notes.append("No run on MMAR with answers is in this workspace yet.")
    changes = pd.DataFrame(PUBLISHED_CHANGES, columns=["method", "subcategory", "change"])
    return PaperTable(pd.DataFrame(rows), breakdown, changes, tuple(notes))


_BREAKDOWN = ("run_id", "label", "layer", "subcategory", "n", "accuracy", "low", "high", "small")


def _published(row: Published) -> dict[str, object]:
    low, high = wilson(round(row.accuracy * ITEMS), ITEMS)
    return {
        "whose": "paper",
        "group": row.group,
        "method": row.method,
        "prompt": row.prompt,
        "run_id": None,
        "model": MODEL,
        "n": ITEMS,
        "accuracy": row.accuracy,
        "low": low,
        "high": high,
        "split": "full",
        "published": None,
        "remark": "interval computed by the lab",
    }


def _own(own: dict[str, Any], recipe: dict[str, Any], split: str | None) -> dict[str, object]:
    published = {row.prompt: row.accuracy for row in PUBLISHED if row.prompt}
    return {
        "whose": "yours",
        "group": "Your runs",
        "method": own["label"],
        "prompt": recipe["prompt"],
        "run_id": own["run_id"],
        "model": recipe["model"],
        "n": own["n"],
        "accuracy": own["accuracy"],
        "low": own["low"],
        "high": own["high"],
        "split": own["split"] if split is None else split,
        "published": published.get(recipe["prompt"]),
        "remark": _remark(own["n"], own["errors"], recipe["model"]),
    }


def _remark(n: int, errors: int, model: str | None) -> str:
    """What keeps an own figure from being read beside the published ones."""
    parts = []
    if n < ITEMS:
        parts.append(f"{n:,} of 1,000 items")
    if errors:
        parts.append(f"{errors:,} unanswered")
    if model and "qwen3-omni" not in model.lower():
        parts.append("another model")
    return ", ".join(parts)


def _breakdown(catalog: Catalog, labels: dict[str, str], score: Score, split: str | None) -> pd.DataFrame:
    frame = catalog.accuracy_by(list(labels), "subcategory", split)
    layers = catalog.query(
        "SELECT subcategory, any_value(layer) AS layer FROM items"
        " WHERE list_contains($runs, run_no) GROUP BY subcategory",
        {"runs": catalog.run_numbers(list(labels))},
    )
    frame = frame.assign(
        label=frame["run_id"].map(labels),
        subcategory=frame["group"],
        layer=frame["group"].map(dict(zip(layers["subcategory"], layers["layer"], strict=True))),
        accuracy=frame[score],
        low=frame[f"{score}_low"],
        high=frame[f"{score}_high"],
        small=frame["n"] < SMALL,
    )
    return frame[list(_BREAKDOWN)].sort_values(["layer", "subcategory", "run_id"], ignore_index=True)
