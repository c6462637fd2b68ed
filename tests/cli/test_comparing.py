"""`compare`, `paper`, `stability` and `contribution` as processes: one set of numbers in every form."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from tests.cli.conftest import Program, strict_json
from tests.compare.conftest import Say, make_run, say
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Text

__all__ = ["make_run", "say"]  # fixtures of the comparing room


def test_every_form_of_a_comparison_has_the_same_numbers(
    program: Program, tiny_dataset: TinyDataset, say: Say, tmp_path: Path
) -> None:
    data = tiny_dataset(n=60)
    say(data, "before", set(range(20)))
    say(data, "after", set(range(5, 45)))
    report, chart = tmp_path / "report.html", tmp_path / "chart.svg"
    done = program(
        "compare", "before", "after", "--by", "subcategory", "--html", report, "--chart", chart, "--json"
    )
    value = strict_json(done.stdout)
    pair = value["pairs"][0]
    assert value["baseline"] == "before"
    assert (len(pair["grid"]["won"]), len(pair["grid"]["lost"])) == (25, 5)
    shown = f"{100 * pair['difference']['mean']:+.1f}"
    assert shown == "+33.3"
    assert shown in report.read_text()
    assert len(pair["by"]["subcategory"]) == 3
    assert chart.read_text().startswith("<svg")

    rows = list(csv.DictReader(io.StringIO(program("compare", "before", "after", "--csv").stdout)))
    assert rows[1]["small"] == ""  # the last column, with nothing of the line's end in it
    assert float(rows[1]["difference"]) == pair["difference"]["mean"]
    assert float(rows[1]["difference_low"]) == pair["difference"]["low"]
    assert shown in program("compare", "before", "after", "--markdown").stdout
    assert shown in program("compare", "before", "after", "--latex", "--score", "official").stdout
    people = program("compare", "after", "before", "--baseline", "before", "--by", "layer")
    assert pair["verdict"] in people.stdout
    assert re.search(r"Signal Layer +20 ", people.stdout)
    assert "prompts tried on this dataset: 1" in people.stderr


def test_mistyped_comparisons_say_what_to_do(program: Program, tiny_dataset: TinyDataset, say: Say) -> None:
    say(tiny_dataset(n=8), "before", {0})
    say(tiny_dataset(n=8), "after", {0, 1})
    assert "There is no run 'gone'" in program("compare", "before", "gone", status=1).stderr
    assert "split 'sealed'" in program("compare", "before", "after", "--split", "sealed", status=1).stderr
    assert "split by 'mood'" in program("compare", "before", "after", "--by", "mood", status=1).stderr
    assert "Choose one" in program("compare", "before", "after", "--json", "--csv", status=2).stderr
    assert ".svg, .png" in program("compare", "before", "after", "--chart", "x.pdf", status=2).stderr
    assert "eval --ablate" in program("contribution", "before", status=1).stderr
    assert "eval --permute" in program("stability", "before", status=1).stderr


def test_the_papers_table(program: Program) -> None:
    value = strict_json(program("paper", "--json").stdout)
    assert [row["accuracy"] for row in value["rows"]][:2] == [0.671, 0.657]
    assert "Structured reasoning" in program("paper").stdout


def test_permuted_and_ablated_runs_end_in_their_tables(program: Program, tiny_dataset: TinyDataset) -> None:
    tiny_dataset(n=8)
    with FakeServer(Text("ANSWER: (B)")) as server:
        asked = ("--dataset", "tiny", "--endpoint", server.base_url)
        value = strict_json(program("eval", *asked, "--permute", "4", "--run-id", "b", "--json").stdout)
        assert [run["run"] for run in value["runs"]] == [f"b-order{k}" for k in range(4)]
        assert value["stability"]["consistency"] == 0.0
        again = program("eval", "--run-id", "b", "--permute", "4", "--resume", "--endpoint", server.base_url)
        assert "Same choice in 0.0% of pairs of orders" in again.stdout
        program("eval", *asked, "--ablate", "noise", "--run-id", "deaf")
        program("eval", *asked, "--run-id", "real")
        assert strict_json(program("show", "deaf", "--json").stdout)["ablation"] == "noise"
    found = strict_json(program("contribution", "real", "--json").stdout)
    assert found["without"] == "deaf"
    assert found["difference"]["mean"] == 0
    assert "no difference that can be told from noise" in found["sentence"]
    assert "100.0%" in program("stability", "b-order1").stdout  # B was always chosen
