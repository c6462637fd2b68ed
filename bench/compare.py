"""How fast runs compare: two runs of 1,000 items with everything the page shows, and a hundred runs.

CPU time stands beside the clock: it is what the work costs on a machine that does other things too.
Targets (issue 8), warm: two runs, whole page <= 300 ms; a hundred runs <= 1 s. The workspace is the one of
`bench.catalog` without its run of 900 samples.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from audioreason.compare import Comparison, compare, papers_table
from audioreason.compare.tables import comparison_as
from audioreason.runs import Catalog
from audioreason.workspace import Workspace
from bench import catalog as made
from bench.report import write

ROUNDS = 9
COLUMNS = ("subcategory", "layer", "modality", "language", "difficulty", "gold")


def main() -> None:
    """Build the workspace, measure each question warm, and write the medians."""
    folder = Path(tempfile.mkdtemp(prefix="audioreason-bench-"))
    try:
        workspace = Workspace.open(folder)
        made.build(workspace, candidates=0, generations=100)
        write("compare", measure(Catalog(workspace)))
    finally:
        shutil.rmtree(folder)


def measure(catalog: Catalog) -> list[dict[str, object]]:
    """One row per question: median and worst of some warm rounds in ms, and its target."""
    runs = [f"20261101-{number:04d}-prompt-{number}" for number in range(made.RUNS)]

    def page(names: list[str]) -> Comparison:
        """What the page shows of them: all figures, and one pair by every column."""
        found = compare(catalog, None, names, names[0])
        pair = found.pairs[0]
        for column in COLUMNS:
            pair.by(column)
        pair.outcome_shift()
        found.views()
        return found

    hundred = compare(catalog, None, runs, runs[0])
    questions: dict[str, tuple[Callable[[], object], str]] = {
        "two runs of 1,000: compare": (lambda: compare(catalog, None, runs[:2], runs[0]), "<= 300"),
        "two runs of 1,000: everything the page shows": (lambda: page(runs[:2]), "<= 300"),
        "eight runs: everything the page shows": (lambda: page(runs[:8]), ""),
        "100 runs of 1,000: compare": (lambda: compare(catalog, None, runs, runs[0]), "<= 1000"),
        "100 runs of 1,000: everything the page shows": (lambda: page(runs), "<= 1000"),
        "100 runs as CSV": (lambda: comparison_as(hundred, "csv"), ""),
        "the paper's table": (lambda: papers_table(catalog), ""),
    }
    rows: list[dict[str, object]] = []
    for name, (ask, target) in questions.items():
        ask()
        seconds, busy = [], []
        for _ in range(ROUNDS):
            start, used = time.perf_counter(), time.process_time()
            ask()
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - used)
        rows.append(
            {
                "what": name,
                "median ms": round(statistics.median(seconds) * 1000, 1),
                "worst ms": round(max(seconds) * 1000, 1),
                "CPU ms": round(statistics.median(busy) * 1000, 1),
                "target": target,
            }
        )
    return rows


if __name__ == "__main__":
    main()
