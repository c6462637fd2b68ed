"""The tables of the experiment: figures that can be counted by hand, and files that do not fit together."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from audioreason.errors import RestError
from audioreason.rest.pocket import OTHER, PROMPT
from audioreason.rest.pocket_report import main, read, report

_DOCS = Path(__file__).parents[2] / "docs"
_BASE = [1, 1, 0, 0, 1, 0, 1, 1]


def _write(folder: Path, arm: str, seed: int, after: list[int], **changes: Any) -> None:
    items = [
        {"id": f"i{n}", "subcategory": ("Music Theory", "Imagination")[n % 2], "set": name}
        for n, name in enumerate(["fresh"] * 6 + ["shipped"] * 2)
    ]

    def tested(right: list[int]) -> dict[str, Any]:
        mean = {"fresh": sum(right[:6]) / 6, "shipped": sum(right[6:]) / 2}
        return {
            "right": dict.fromkeys((PROMPT, OTHER), right),
            "accuracy": dict.fromkeys((PROMPT, OTHER), mean),
        }

    zones = {"problems": 200, "learning": 50}
    learned = {
        "zones": {"four_choices": zones, "counted": zones},
        "training": {"examples": 1234},
        "summary": {"median_kept": 60, "median_right": 50},
        "seconds": {"problems": 1, "candidates": 2, "train": 3, "test": 4},
    }
    found = {
        "arm": arm,
        "seed": seed,
        "items": items,
        "rounds": [{"number": 0, **tested(_BASE)}, {"number": 1, **learned, **tested(after)}],
        **changes,
    }
    (folder / f"{arm}-{seed}.json").write_text(json.dumps(found))


def test_differences_losses_and_zones_are_what_the_files_say(tmp_path: Path) -> None:
    _write(tmp_path, "fixed", 0, [1, 1, 1, 0, 1, 0, 1, 1])  # one learned
    _write(tmp_path, "fixed", 1, [0, 1, 1, 1, 1, 0, 1, 0])  # two learned, two lost
    _write(tmp_path, "fixed+rehearsal", 0, _BASE)
    text = report(read(tmp_path))
    rows = [line.split(" | ") for line in text.splitlines()]
    (accuracy,) = [row for row in rows if row[:4] == ["| fixed", "1", "2", PROMPT]]
    assert accuracy[4].startswith("+16.7 (") and accuracy[5] == "+16.7, +16.7"
    assert accuracy[6].startswith("-25.0 (") and accuracy[7] == "+0.0, -50.0 |"
    (lost,) = [row for row in rows if row[:3] == ["| fixed", "1", "2"] and len(row) == 7 and "%" in row[3]]
    assert lost[3:5] == ["20.0%", "50.0%"]  # 2 of 10 right ones, 3 of 6 wrong ones, over both seeds
    assert "100 of 400, 25.0% (21.0 to 29.5)" in text and "1,234" in text
    (contrast,) = [row for row in rows if row[0] == "| fixed+rehearsal minus fixed"]
    assert contrast[2] == "1" and contrast[3].startswith("-12.5 (")  # of the seed that both have
    assert "Of 4 comparisons the smallest is p = " in text and "; after Holm p = 1.000." in text
    assert "0 of 8 |" in text  # the base said the same each time


def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RestError, match="There is no arm"):
        read(tmp_path)
    _write(tmp_path, "fixed", 0, _BASE)
    main([str(tmp_path)])
    assert "**Accuracy against the base, in points**" in capsys.readouterr().out
    _write(tmp_path, "fixed", 1, _BASE, items=[])
    with pytest.raises(RestError, match="different items"):
        read(tmp_path)
    (tmp_path / "fixed-1.json").write_text('{"arm": "fi')
    with pytest.raises(RestError, match=r"fixed-1\.json cannot be read"):
        read(tmp_path)


def test_every_figure_of_the_write_up_is_what_its_arms_came_to(tmp_path: Path) -> None:
    with tarfile.open(_DOCS / "self-training-arms.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    told = set((_DOCS / "self-training.md").read_text().splitlines())
    for rate, arms in (("rate-2e-4", 12), ("rate-1e-3", 6)):
        found = read(tmp_path / rate)
        assert len(found.found) == arms
        wanted = report(found)
        rows = wanted.splitlines()
        if rate == "rate-1e-3":  # its zones and times are the same problems' again
            rows = wanted[: wanted.index("**What was learned from**")].splitlines()
        base = rows.index("**Accuracy against the base, in points**")  # the base's rows are told in words
        assert {row for row in rows[base:] if row.startswith(("|", "Of "))} <= told
