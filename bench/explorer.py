"""How fast the explorer's questions are answered: 100 runs of 1,000 items and one of 1,000,000 candidates.

Targets (issue 7), warm: overview <= 300 ms, list <= 150 ms. Those are for the whole way into the browser
(`bench.errors` takes that); here stands what the queries spend of it. The workspace is `bench.catalog`'s.
"""

from __future__ import annotations

import importlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from audioreason.review import Annotations, explorer
from audioreason.runs import Catalog, Filter
from audioreason.workspace import Workspace
from bench.catalog import BIG, build
from bench.report import write

ROUNDS = 9
CANDIDATES = 1_000  # of each of 1,000 items
SMALL = "20261101-0050-prompt-50"
TAGS = 200
ERRATA = frozenset(f"item-{k:04d}" for k in range(0, 1_000, 50))


def main() -> None:
    """Build the workspace, measure each question warm, and write the medians."""
    folder = Path(tempfile.mkdtemp(prefix="audioreason-bench-"))
    try:
        workspace = Workspace.open(folder / "workspace")
        build(workspace, candidates=CANDIDATES)
        write("explorer", measure(workspace))
    finally:
        shutil.rmtree(folder)


def measure(workspace: Workspace) -> list[dict[str, object]]:
    """One row per question: median and worst of some warm rounds in ms, and its target.

    The processor's time, over all threads, stands beside: it hardly depends on what else the machine does.
    """
    importlib.import_module("pandas")  # a second of importing that every page has paid already
    catalog, book = Catalog(workspace), Annotations(workspace)
    catalog.refresh()
    rows: list[dict[str, object]] = []

    def timed(what: str, ask: Callable[[], object], target: str = "") -> None:
        ask()
        taken, computed = [], []
        for _ in range(ROUNDS):
            start, used = time.perf_counter(), time.process_time()
            ask()
            taken.append((time.perf_counter() - start) * 1000)
            computed.append((time.process_time() - used) * 1000)
        row = {
            "what": what,
            "median ms": round(statistics.median(taken), 1),
            "worst ms": round(max(taken), 1),
        }
        rows.append({**row, "cpu ms": round(statistics.median(computed), 1), "target": target})

    for run, size in ((SMALL, "1,000"), (BIG, "1,000,000")):
        timed(f"overview of {size}", lambda run=run: explorer.overview(catalog, run), "<= 300")
        timed(
            f"overview of {size}, explore, without errata",
            lambda run=run: explorer.overview(catalog, run, "explore", ERRATA),
            "<= 300",
        )
    places = explorer.find(catalog, Filter(runs=(BIG,)), limit=TAGS).rows
    for item_id, sample in zip(places["item_id"], places["sample"], strict=True):
        book.set_tag(BIG, item_id, int(sample), "wrong count", True)
    wrong = Filter(runs=(BIG,), outcome=("wrong",))
    one = Filter(runs=(BIG,), outcome=("wrong",), subcategory=("Subcategory 03",), part=("explore",))
    lists: dict[str, Filter] = {
        "list of 1,000,000": Filter(runs=(BIG,)),
        "list of failures": wrong,
        "list of failures of one subcategory, explore": one,
        "list by agreement": Filter(runs=(BIG,), agreement=(0.25, 0.3)),
        "list by length": Filter(runs=(BIG,), chars=(1_000, 1_031)),
        "list of one confusion": Filter(runs=(BIG,), gold_text="choice 1", given_text="choice 2"),
        "list of one choice given": Filter(runs=(BIG,), choice=2),
        "list of a tag": Filter(runs=(BIG,), only=explorer.tagged(book, BIG, "wrong count")),
        "list without errata": Filter(runs=(BIG,), without=ERRATA),
    }
    for what, where in lists.items():
        timed(what, lambda where=where: explorer.find(catalog, where), "<= 150")
    untagged = Filter(runs=(BIG,), never=explorer.tagged(book, BIG))
    timed("list of what has no tag", lambda: explorer.find(catalog, untagged), "<= 150")
    cell = Filter(runs=(BIG,), items=tuple(f"item-{k:04d}" for k in range(0, 1_000, 2)))
    timed("list of a cell of 500 items", lambda: explorer.find(catalog, cell), "<= 150")
    timed("list of failures, 500,000 down", lambda: explorer.find(catalog, wrong, offset=500_000), "<= 150")
    timed("list of failures, by length", lambda: explorer.find(catalog, wrong, "length", True), "<= 150")
    timed("confusions of 1,000,000", lambda: explorer.confusions(catalog, BIG))
    timed("habits of 1,000,000", lambda: explorer.biases(catalog, BIG))
    timed("agreement of one run with 100", lambda: explorer.agreement(catalog, SMALL))
    timed("tags by subcategory", lambda: explorer.tag_table(catalog, book, BIG))
    timed("tags of a run", lambda: book.tags_of(BIG))
    timed("version of the annotations", book.version)
    return rows


if __name__ == "__main__":
    main()
