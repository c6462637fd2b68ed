"""The real program, run as a researcher runs it: a process with a workspace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from audioreason.cli import main
from audioreason.workspace import Workspace

PROGRAM = (sys.executable, "-m", "audioreason")


class Program(Protocol):
    """See the fixture `program`."""

    def __call__(
        self, *arguments: str | Path, status: int = 0, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]: ...


def environment(workspace: Workspace) -> dict[str, str]:
    """The variables of a command that works in `workspace`."""
    return os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def program(workspace: Workspace) -> Program:
    """`program("runs", "--json")` in this workspace; it must end with `status`, without a traceback."""

    def run(
        *arguments: str | Path, status: int = 0, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            env=environment(workspace), capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done

    return run


class Say(Protocol):
    def __call__(self, *arguments: str | Path, status: int = 0) -> tuple[str, str]: ...


@pytest.fixture
def say(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Say:
    """`say("runs")`: the program in this process, in an empty folder; returns stdout and stderr."""
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(workspace.root))
    (tmp_path / "hier drüben").mkdir()
    monkeypatch.chdir(tmp_path / "hier drüben")

    def run(*arguments: str | Path, status: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["audioreason", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, (out, err)
        return out, err

    return run


def strict_json(text: str) -> Any:
    """What JSON says, refusing the NaN and Infinity that Python would read and nobody else."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)
