"""Fixtures of the jobs' tests: the test kinds, a machine with two CPU slots and no GPU, no orphans."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from audioreason.jobs import rows as table
from audioreason.jobs.endings import members_of
from audioreason.jobs.processes import TOKEN_VARIABLE, kill
from audioreason.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every process of these tests sees."""
    monkeypatch.setenv("AUDIOREASON_JOB_KINDS", "tests.jobs.kinds:KINDS")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("AUDIOREASON_CPU_JOBS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("AUDIOREASON_GPUS", raising=False)


@pytest.fixture
def fake_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what stands in for vLLM and nvidia-smi; the process that it starts ignores SIGTERM."""
    home = tmp_path / "fake"
    home.mkdir()
    program = Path(__file__).with_name("fake_vllm.py")
    for name in ("vllm", "nvidia-smi"):
        executable = tmp_path / "bin" / name
        executable.parent.mkdir(exist_ok=True)
        python = shlex.quote(sys.executable)
        executable.write_text(f'#!/bin/sh\nFAKE_NAME={name} exec {python} {program} "$@"\n')
        executable.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("AUDIOREASON_VLLM", str(tmp_path / "bin" / "vllm"))
    monkeypatch.setenv("FAKE_VLLM", str(home))
    return home


@pytest.fixture
def fake_gpu(fake_vllm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same on a machine with one GPU of 80 GiB, whose memory `memory.json` says and servers hold."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (fake_vllm / "memory.json").write_text('{"total": 81920}')
    return fake_vllm


@pytest.fixture(autouse=True)
def nobody_stays(workspace: Workspace) -> Iterator[None]:
    """Whatever a test did, its workers are gone after it."""
    yield
    kill(everyone(workspace))


def everyone(workspace: Workspace) -> list[psutil.Process]:
    """Every process of any job of this workspace, workers and what they started."""
    found = {}
    for row in table.peek(workspace):
        for process in members_of(workspace, row):
            found[process.pid] = process
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get(TOKEN_VARIABLE) and environment.get("AUDIOREASON_WORKSPACE") == str(
            workspace.root
        ):
            found[process.pid] = process
    found.pop(os.getpid(), None)
    return list(found.values())
