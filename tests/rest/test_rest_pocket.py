"""The experiment at pocket size runs through on a CPU, small: both kinds of problems, with rehearsal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioreason.rest.pocket import main


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["fixed+rehearsal", "curriculum"])
def test_an_arm_goes_from_the_base_to_its_last_round(tmp_path: Path, arm: str) -> None:
    main(["--out", str(tmp_path), "--arm", arm, "--tiny", "--learning-rates", "1e-3", "5e-4"])
    found = json.loads((tmp_path / f"{arm}-0.json").read_text())
    base, last = found["rounds"]
    assert base["number"] == 0 and last["number"] == 1
    assert len(last["right"]["structured-reasoning"]) == len(found["items"]) == 18
    assert last["training"]["examples"] > 0 and last["zones"]["all"]["problems"] == 10
    assert found["sizes"]["learning_rates"] == [1e-3, 5e-4]
    assert ("curriculum" in last) == (arm == "curriculum")
