"""Exports hold a comparison's own numbers, run nothing anywhere, and stay within bounds."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest
import soundfile

from audioreason.compare import Comparison, compare
from audioreason.compare.charts import chart_as, cost_chart, differences_chart, leaderboard_chart
from audioreason.compare.html import html_report
from audioreason.compare.summary import summary
from audioreason.compare.tables import (
    comparison_as,
    comparison_table,
    paper_as,
    percent,
    points,
    span,
    to_csv,
)
from audioreason.items import Dataset
from audioreason.runs import Catalog
from audioreason.runs.desk import opened
from audioreason.workspace import Workspace
from tests.compare.conftest import Say
from tests.conftest import TinyDataset
from tests.runs.conftest import PROMPT, MakeRun, answer

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def catalog(workspace: Workspace) -> Catalog:
    return Catalog(workspace)


@pytest.fixture
def data(tiny_dataset: TinyDataset) -> Dataset:
    return tiny_dataset(n=66, kind="benchmark")


@pytest.fixture
def found(data: Dataset, say: Say, catalog: Catalog) -> Comparison:
    say(data, "before", set(range(30)), failed={65})
    say(
        data,
        "after",
        set(range(4, 50)),
        prompt=PROMPT.model_copy(update={"name": "=2+5", "version": "f" * 12}),
    )
    return compare(catalog, None, ["before", "after"], "before")


def test_csv_holds_the_numbers_of_the_comparison(found: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_as(found, "csv", "subcategory"))))
    pair = found.pairs[0]
    after = next(row for row in rows if row["run_id"] == "after" and row["group"] == "all")
    board = found.leaderboard.set_index("run_id").loc["after"]
    for name in ("n", "accuracy", "low", "high"):
        assert float(after[name]) == board[name]
    difference = pair.difference
    assert [float(after[f"difference{end}"]) for end in ("", "_low", "_high")] == [
        difference.mean,
        difference.low,
        difference.high,
    ]
    assert (float(after["p"]), int(after["won"]), int(after["lost"])) == (difference.p, 20, 4)
    groups = {row["group"]: row for row in rows if row["group"] != "all"}
    for group in pair.by("subcategory").itertuples():
        row = groups[group.group]
        assert [
            float(row[name]) for name in ("difference", "difference_low", "difference_high", "p_holm")
        ] == [
            group.delta,
            group.low,
            group.high,
            group.p_holm,
        ]
        assert float(row["low"]) < float(row["accuracy"]) < float(row["high"])


def test_a_spreadsheet_runs_nothing(found: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_as(found, "csv"))))
    assert rows[1]["label"] == "'=2+5"
    frame = comparison_table(found)
    for start in "=+-@\t\r":
        hostile = frame.assign(label=f"{start}cmd")
        assert next(csv.DictReader(io.StringIO(to_csv(hostile))))["label"] == f"'{start}cmd".replace(
            "\r", "\n"
        )
    assert "'" not in rows[1]["difference"]  # a negative number is a number


def test_markdown_and_latex_show_the_same_numbers_with_intervals(found: Comparison) -> None:
    difference = found.pairs[0].difference
    board = found.leaderboard.set_index("run_id").loc["after"]
    cells = [percent(board.accuracy), span(board.low, board.high, percent), points(difference.mean) + "*"]
    markdown = comparison_as(found, "markdown")
    row = next(line for line in markdown.splitlines() if "=2+5" in line)
    assert [cell.strip().replace("\\", "") for cell in row.strip("|").split("|")][2:5] == cells
    assert span(difference.low, difference.high, points) in row
    latex = comparison_as(found, "latex", "layer")
    assert percent(board.accuracy).replace("%", r"\%") in latex
    assert latex.count("&") == 9 * 6 - 6  # heading, two runs, three groups, of nine columns
    assert "−" not in latex


def test_names_break_no_table(data: Dataset, say: Say, make_run: MakeRun, catalog: Catalog) -> None:
    say(data, "before", set(range(30)))
    name = "a|b & 5% <i>_x_</i>"
    predictions = [answer(item.id, item.answer) for item in data.items]
    make_run(data, predictions, "odd", prompt=PROMPT.model_copy(update={"name": name, "version": "e" * 12}))
    odd = compare(catalog, None, ["odd"], "before")
    assert r"a\|b &amp; 5% &lt;i>\_x\_&lt;/i>" in comparison_as(odd, "markdown")
    assert r"a|b \& 5\% <i>\_x\_</i>" in comparison_as(odd, "latex")


def test_charts_carry_their_data_and_need_nobody(found: Comparison) -> None:
    pair = found.pairs[0]
    document = json.loads(chart_as(differences_chart(pair, "subcategory"), "json"))
    deltas = {row["group"]: row["delta"] for row in document["data"]["values"]}
    assert deltas == {row.group: 100 * row.delta for row in pair.by("subcategory").itertuples()}
    svg = chart_as(leaderboard_chart(found), "svg").decode()
    assert "=2+5" in svg
    accuracy = found.leaderboard.set_index("run_id").loc["after", "accuracy"]
    assert f"{100 * accuracy:.1f}%" in svg
    assert chart_as(cost_chart(found), "png").startswith(b"\x89PNG")


def test_json_says_everything(found: Comparison) -> None:
    value = json.loads(json.dumps(summary(found, "layer"), default=str))
    pair = value["pairs"][0]
    assert pair["difference"]["mean"] == found.pairs[0].difference.mean
    assert pair["left_out"]["baseline_unanswered"] == 1
    assert len(pair["by"]["layer"]) == 3
    assert {row["split"] for row in value["views"]} == {"full", "explore", "sealed"}


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        assert not [name for name in values if name.startswith("on") or name == "style"]
        self.sources += [str(values[name]) for name in ("src", "href") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""


def test_the_report_stands_alone_with_the_flips_sound(
    found: Comparison, catalog: Catalog, workspace: Workspace
) -> None:
    pair = found.pairs[0]
    text = html_report(catalog, found)
    page = Page(text)
    assert "default-src 'none'" in page.policy
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in page.policy
    assert all(source.startswith("data:") for source in page.sources)
    part = dict(zip(pair.aligned.item_ids, pair.aligned.groups("part"), strict=True))
    shown = [item_id for item_id in pair.flips if part[item_id] == "explore"]
    sounds = [source for source in page.sources if source.startswith("data:audio/ogg")]
    assert len(sounds) == len(shown) == page.tags.count("article")
    samples, sr = soundfile.read(io.BytesIO(base64.b64decode(sounds[0].split(",")[1])))
    assert sr == 16_000
    assert len(samples) / sr == pytest.approx(0.6, abs=0.05)
    assert points(pair.difference.mean) in text
    assert f"{len(pair.flips) - len(shown)} of them are sealed and left out" in text
    assert not opened(workspace, "tiny")


def test_sealed_items_are_shown_only_when_asked_for_and_that_is_recorded(
    found: Comparison, catalog: Catalog, workspace: Workspace
) -> None:
    pair = found.pairs[0]
    text = html_report(catalog, found, sealed=True)
    assert all(item_id in text for item_id in pair.flips)
    part = dict(zip(pair.aligned.item_ids, pair.aligned.groups("part"), strict=True))
    assert opened(workspace, "tiny") == {item_id for item_id in pair.flips if part[item_id] == "sealed"}


def test_the_reports_sound_is_bounded_and_what_is_missing_is_said(
    found: Comparison, catalog: Catalog
) -> None:
    text = html_report(catalog, found, flips=5, audio_bytes=30_000, sealed=True)
    page = Page(text)
    assert page.tags.count("article") == 5
    sounds = [source for source in page.sources if source.startswith("data:audio")]
    assert 0 < len(sounds) < 5
    assert sum(map(len, sounds)) <= 30_000
    assert f"{5 - len(sounds)} come without sound" in text
    assert "5 of 24 flips" in text


def test_what_a_model_wrote_is_text(data: Dataset, say: Say, make_run: MakeRun, catalog: Catalog) -> None:
    say(data, "before", set())
    predictions = [answer(item.id, f"ANSWER: {item.answer}", reasoning=HOSTILE) for item in data.items]
    make_run(
        data, predictions, "after", prompt=PROMPT.model_copy(update={"name": HOSTILE, "version": "f" * 12})
    )
    text = html_report(catalog, compare(catalog, None, ["after"], "before"), flips=2)
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_the_papers_table_exports_too(workspace: Workspace) -> None:
    from audioreason.compare import papers_table

    table = papers_table(Catalog(workspace))
    assert "| paper | Structured reasoning | 1,000 | 72.0% | 69.1% to 74.7% |" in paper_as(table, "markdown")
    assert len(list(csv.DictReader(io.StringIO(paper_as(table, "csv"))))) == 9
