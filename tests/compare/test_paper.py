"""The paper's table says what was published, no more, and own runs beside it what a comparison says."""

from __future__ import annotations

import pytest

from audioreason.compare import compare, papers_table
from audioreason.runs import Catalog
from audioreason.stats import wilson
from audioreason.workspace import Workspace
from tests.compare.conftest import Say
from tests.conftest import TinyDataset
from tests.runs.conftest import PROMPT

PUBLISHED = [67.1, 65.7, 68.3, 68.1, 67.4, 72.0, 63.3, 64.7, 65.5]


def test_every_published_row_is_there_with_an_interval_that_is_ours(workspace: Workspace) -> None:
    table = papers_table(Catalog(workspace))
    assert [round(100 * value, 1) for value in table.rows["accuracy"]] == PUBLISHED
    for row in table.rows.itertuples():
        assert (row.low, row.high) == pytest.approx(wilson(round(1000 * row.accuracy), 1000))
    assert set(table.rows["remark"]) == {"interval computed by the lab"}
    assert "computed by the lab" in table.notes[0]
    assert table.breakdown.empty  # the published breakdown is not known, so it is not shown
    assert len(table.changes) == 3
    assert "No run on MMAR" in table.notes[1]


def test_own_runs_stand_beside_it_with_the_numbers_of_a_comparison(
    workspace: Workspace, tiny_dataset: TinyDataset, say: Say
) -> None:
    data = tiny_dataset("mmar", n=30, kind="benchmark")
    say(
        data, "mine", set(range(12)), failed={29}, prompt=PROMPT.model_copy(update={"name": "targeted-hints"})
    )
    say(tiny_dataset("other", n=30), "elsewhere", set(range(12)))
    catalog = Catalog(workspace)
    table = papers_table(catalog)
    own = table.rows[table.rows["whose"] == "yours"]
    assert list(own["run_id"]) == ["mine"]
    row = own.iloc[0]
    board = compare(catalog, None, ["mine"], "mine").leaderboard.iloc[0]
    assert (row.accuracy, row.low, row.high, row.n) == (board.accuracy, board.low, board.high, 29)
    assert row.published == 0.674
    assert row.remark == "29 of 1,000 items, 1 unanswered, another model"
    assert list(table.breakdown["subcategory"]) == ["Style", "Speaker Analysis", "Counting"]
    assert table.breakdown["n"].sum() == 29
    assert table.breakdown["small"].all()
