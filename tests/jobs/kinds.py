"""Kinds of jobs that misbehave as a test asks them to; a researcher's own kinds would look like this."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from typing import Any

from pydantic import BaseModel

from audioreason.errors import RunError
from audioreason.jobs.kinds import Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.jobs.spec import Needs
from audioreason.workspace import JsonlWriter, Workspace

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
TELL_TALE = """
import os, sys, time
key = os.environ["OPENAI_API_KEY"]
print("the child says", key, flush=True)
for part in ("by pieces ", key[:7], key[7:], "\\n"):
    os.write(2, part.encode())
    time.sleep(0.05)
"""


class CountSpec(BaseModel):
    """`count` lines are written to `out`, `pause` seconds apart; some things may go wrong."""

    count: int = 20
    pause: float = 0.02
    gpus: int = 0
    cpus: int = 1
    parts: int = 1
    part: int = 0
    fail: str = ""
    child: bool = False
    disguised: bool = False
    last_words: bool = False
    stubborn: bool = False
    file_limit: int = 0
    print_environment: bool = False
    secret: str = ""
    uses: str = ""
    address: str = ""


def run(spec: CountSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    out = workspace.root / f"{progress.folder.name}-lines.jsonl"  # results are never in a job's folder
    if spec.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (spec.file_limit, resource.RLIM_INFINITY))
    if spec.print_environment:
        for name, value in os.environ.items():
            print(name, "=", value, flush=True)
        subprocess.run([sys.executable, "-c", TELL_TALE], check=True)
        raise RunError(f"refused: {os.environ['OPENAI_API_KEY']}")
    if spec.child:  # two of them: one in the worker's group, one that left it
        for session in (False, True):
            child = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=session)
            (progress.folder / f"child-{session}").write_text(str(child.pid))
    if spec.last_words:  # of a child that is no longer the job's, and waits for the worker's death
        waiting = f"import os, time\nwhile os.getppid() == {os.getpid()}: time.sleep(0.01)\n"
        waiting += "print('after the worker')"
        subprocess.Popen([sys.executable, "-c", waiting], env={}, start_new_session=True)
        print("before the end", end="", flush=True)
    if spec.disguised:
        hidden = subprocess.Popen([sys.executable, "-c", STUBBORN], env={}, process_group=0)
        (progress.folder / "disguised").write_text(str(hidden.pid))
    if spec.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with JsonlWriter(out) as writer:
        before = len(out.read_bytes().splitlines())
        progress.phase("count", spec.count)
        for number in range(before, spec.count):
            if progress.should_stop() and not spec.stubborn:
                raise StoppedEarly(f"It stopped at {number}.")
            writer.append(b"%d" % number)
            progress.done(number + 1)
            progress.metrics(number, squared=float(number * number))
            time.sleep(spec.pause)
            if spec.fail == "crash" and progress.attempt == 1 and number == spec.count // 2:
                raise ValueError("a bug in a kind")
    if spec.fail == "state":  # nothing can be written there any more
        (progress.folder / "state.json").unlink()
        (progress.folder / "state.json").mkdir()
    return {"lines": spec.count, "gpus": os.environ["CUDA_VISIBLE_DEVICES"]}


def plan(spec: CountSpec, workspace: Workspace) -> Plan:
    return Plan(items=spec.count)


def needs(spec: CountSpec) -> Needs:
    return Needs(gpus=spec.gpus, cpus=spec.cpus)


def uses(spec: CountSpec, workspace: Workspace) -> list[str]:
    return [spec.uses] if spec.uses else []


def expand(spec: CountSpec) -> list[CountSpec]:
    if spec.parts == 1:
        return [spec]
    return [spec.model_copy(update={"parts": 1, "part": part}) for part in range(spec.parts)]


def serve(spec: CountSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Of use to others until somebody stops it."""
    progress.phase("serving")
    progress.address(spec.address or "http://127.0.0.1:1/v1")
    progress.ready()
    with JsonlWriter(progress.folder / "served") as served:
        served.append(b"%d" % progress.attempt)
    while not progress.wait_for_stop(0.02):
        pass
    raise StoppedEarly("It was asked to stop.")


KINDS = [
    Kind(
        name="count",
        title="Count",
        spec=CountSpec,
        run=run,
        plan=plan,
        needs=needs,
        expand=expand,
        uses=uses,
        grace=1.5,
    ),
    Kind(
        name="hold",
        title="Hold a GPU",
        spec=CountSpec,
        run=serve,
        plan=plan,
        needs=needs,
        preemptible=True,
        grace=3,
    ),
]
NEWER = Kind(name="count", title="Count", spec=CountSpec, run=run, plan=plan, version=7)
