"""The server of a self-training loop ends with the loop, all of it, however the loop ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from audioreason.engines.tied import tied
from audioreason.errors import JobError
from audioreason.jobs.serving import serving
from audioreason.jobs.supervise import answers
from audioreason.rest.config import RestConfig
from audioreason.workspace import Workspace
from tests.jobs.helpers import gone, until

LOOP = """
import sys, time
from pathlib import Path
from audioreason.jobs.serving import serving
from audioreason.rest.config import RestConfig
from audioreason.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
config = RestConfig(name="e", engine=sys.argv[2], gpus=1 if sys.argv[2] == "vllm" else 0)
with serving(workspace, config)(Path(sys.argv[3]), None, "m") as endpoint:
    print("\\nserves", endpoint.root_url, flush=True)
    time.sleep(600)
"""
NEW_SESSION = (
    "import subprocess, sys, time\n"
    "import time\n"
    "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
)


@dataclass
class Loop:
    """A process that serves a model and does nothing with it."""

    process: subprocess.Popen[str]
    address: str
    family: list[psutil.Process]  # the server, and all that belongs to it


@pytest.fixture
def loop(workspace: Workspace) -> Iterator[Callable[[str, str], Loop]]:
    """Starts a loop with an engine and a model; what it leaves is ended after the test."""
    started: list[Loop] = []

    def start(engine: str, model: str) -> Loop:
        command = [sys.executable, "-c", LOOP, str(workspace.root), engine, model]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = next(line.split()[1] for line in process.stdout if line.startswith("serves "))
        family = psutil.Process(process.pid).children(recursive=True)
        started.append(Loop(process, address, family))
        return started[-1]

    yield start
    for one in started:
        for process in (one.process, *one.family):
            with contextlib.suppress(psutil.NoSuchProcess):  # psutil signals no stranger of the same number
                process.kill()
        one.process.communicate()


@pytest.mark.parametrize("own_session", [False, True])
def test_a_killed_loop_takes_vllm_and_what_vllm_started_with_it(
    fake_vllm: Path, loop: Callable[[str, str], Loop], own_session: bool
) -> None:
    if own_session:
        (fake_vllm / "starts").write_text("a life before\n")  # what an even life starts leaves the session
    begun = loop("vllm", str(fake_vllm))
    child = int((fake_vllm / "grandchild").read_text())
    assert child in {one.pid for one in begun.family} and answers(f"{begun.address}/health")
    assert (os.getsid(child) == child) is own_session

    begun.process.kill()

    until(lambda: all(gone(one.pid) for one in begun.family), what="a process of vLLM stayed behind")
    assert not answers(f"{begun.address}/health")


@pytest.mark.slow
def test_a_killed_loop_takes_the_local_engine_with_it(loop: Callable[[str, str], Loop]) -> None:
    from audioreason.engines.launch import pocket_folder

    begun = loop("local", str(pocket_folder()))
    assert begun.family and answers(f"{begun.address}/health")
    begun.process.kill()
    until(lambda: all(gone(one.pid) for one in begun.family), what="the engine stayed behind")


def test_vllm_and_what_it_started_are_gone_when_the_loop_is_through_with_it(
    workspace: Workspace, fake_vllm: Path
) -> None:
    serve = serving(workspace, RestConfig(name="e", engine="vllm", gpus=1))
    with serve(fake_vllm, None, "m") as endpoint:
        child = int((fake_vllm / "grandchild").read_text())
        assert answers(f"{endpoint.root_url}/health") and not gone(child)
    assert gone(child) and not answers(f"{endpoint.root_url}/health")


def test_vllm_that_cannot_serve_is_one_sentence_with_its_status(
    workspace: Workspace, fake_vllm: Path
) -> None:
    (fake_vllm / "fail").write_text("99")
    serve = serving(workspace, RestConfig(name="e", engine="vllm", gpus=1))
    with (
        pytest.raises(
            JobError,
            match=r"vLLM ended with status 1 before it could serve .*/fake: ValueError: not enough memory",
        ),
        serve(fake_vllm, None, "m"),
    ):
        pass


def run_tied(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        tied(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_program_that_ends_by_itself_takes_along_what_it_started_and_its_status_is_known() -> None:
    with run_tied(sys.executable, "-c", NEW_SESSION + "sys.exit(5)") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.wait(30) == 5 and gone(child)
    with run_tied(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait(30) == 128 + signal.SIGKILL
    with run_tied("/no/such/program") as process:
        assert process.stderr is not None
        assert process.wait(30) == 127 and "/no/such/program cannot be started" in process.stderr.read()


def test_a_deaf_program_is_killed_after_its_time() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code = deaf + NEW_SESSION + "time.sleep(600)"
    short = "import sys; from audioreason.engines import tied; tied.GRACE = 0.5; tied.main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", short, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        child = int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(30) == 0 and gone(child)
