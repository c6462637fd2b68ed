"""ReST's filter at the published size: 4,153 problems, 16 candidates each, texts of some 100 words."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from audioreason.rest.filter import filter_config, select
from bench.report import write

PROBLEMS, SAMPLES = 4_153, 16
TARGET = 2.0  # seconds


def tables(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates and problems with the published share of right answers, about 65%."""
    random = np.random.default_rng(seed)
    vocabulary = np.array([f"word{n}" for n in range(2_000)], dtype=object)
    share = random.beta(1.2, 0.65, PROBLEMS)
    right = random.random((PROBLEMS, SAMPLES)) < share[:, None]
    lengths = random.integers(60, 160, PROBLEMS * SAMPLES)
    texts = [" ".join(random.choice(vocabulary, int(length))) for length in lengths]
    outcome = np.where(right.ravel(), "correct", "wrong")
    outcome[random.random(outcome.size) < 0.02] = "truncated"
    ids = np.repeat([f"item-{n:05d}" for n in range(PROBLEMS)], SAMPLES)
    candidates = pd.DataFrame(
        {
            "item_id": ids,
            "sample": np.tile(np.arange(SAMPLES), PROBLEMS),
            "strict": pd.array(right.ravel(), dtype="boolean"),
            "outcome": outcome,
            "choice": pd.array(np.zeros(ids.size, dtype=int), dtype="Int64"),
            "tokens": pd.array([len(text) // 4 for text in texts], dtype="Int64"),
            "chars": [len(text) for text in texts],
            "text": texts,
        }
    )
    problems = pd.DataFrame(
        {
            "item_id": [f"item-{n:05d}" for n in range(PROBLEMS)],
            "subcategory": [f"subcategory {n % 16}" for n in range(PROBLEMS)],
            "layer": [f"layer {n % 4}" for n in range(PROBLEMS)],
            "family": None,
            "n_choices": 4,
        }
    )
    return candidates, problems


def main() -> None:
    """Both presets, and the strategy that keeps every right candidate."""
    candidates, problems = tables()
    rows = []
    for name, rules in (
        ("paper", filter_config("paper")),
        ("code", filter_config("code")),
        ("all right ones", filter_config("paper", {"strategy": "all"})),
    ):
        start, busy = time.perf_counter(), time.process_time()
        made = select(candidates, problems, rules)
        seconds, used = time.perf_counter() - start, time.process_time() - busy
        rows.append(
            {
                "rules": name,
                "candidates": len(candidates),
                "kept": made.summary["kept"],
                "seconds": round(seconds, 2),
                "CPU seconds": round(used, 2),
                "of the target of 2 s": f"{100 * used / TARGET:.0f}%",
            }
        )
    write("rest", rows)


if __name__ == "__main__":
    main()
