"""An evaluation that is killed and resumed, and one that is watched while it runs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audioreason.evaluate import evaluate
from audioreason.runs import run_folder, run_status, score_report
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Request, Text
from tests.test_evaluate import FAST, PROMPT, echo, texts

_CHILD = """
import sys
from audioreason.evaluate import evaluate
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.items import load_dataset
from audioreason.runs import run_folder
from audioreason.workspace import Workspace
from tests.test_evaluate import FAST, PROMPT
workspace = Workspace.open(sys.argv[1])
endpoint = Endpoint(name="fake", base_url=sys.argv[2], model="fake-model", transport="input_audio")
evaluate(workspace, load_dataset(workspace, "tiny"), PROMPT, endpoint, FAST, run_id="killed", seed=9,
         concurrency=4, resume=run_folder(workspace, "killed").exists())
"""


def killed_until_finished(workspace: Workspace, server: FakeServer, moments: list[float]) -> int:
    """Evaluate in children, killing each some seconds after its first request; then let one end."""
    folder = run_folder(workspace, "killed")
    command = [sys.executable, "-c", _CHILD, str(workspace.root), server.base_url]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = 0
    for moment in [*moments, None]:
        before = server.requests[-1].number if server.requests else 0
        child = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment)
        try:
            if moment is not None:
                while (
                    child.poll() is None and (server.requests[-1].number if server.requests else 0) == before
                ):
                    time.sleep(0.005)
                time.sleep(moment)
                killed += child.poll() is None
                child.send_signal(signal.SIGKILL)
            status = child.wait(120)
        finally:
            child.kill()
        if moment is None:
            assert status == 0
        elif run_status(folder) == "finished":
            break
    return killed


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_and_resume_equals_an_undisturbed_run(
    workspace: Workspace, tiny_dataset: TinyDataset, kills: int
) -> None:
    data = tiny_dataset(n=48)
    pause = 0.15 if kills == 3 else 0.6
    moments = [random.uniform(0, pause * 48 / 4 / kills * 0.8) for _ in range(kills)]

    def reply(request: Request) -> Text:
        return Text(echo(request).content, after=random.uniform(0.5, 1.5) * pause)

    with FakeServer(reply) as server:
        killed = killed_until_finished(workspace, server, moments)
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="whole", seed=9)
    assert killed == kills, "the run ended before the last kill"
    assert run_status(run_folder(workspace, "killed")) == "finished"
    assert texts(workspace, "killed") == texts(workspace, "whole")
    assert len(texts(workspace, "killed")) == 48
    assert not (run_folder(workspace, "killed") / "predictions.jsonl").exists()
    assert score_report(workspace, "killed")["strict"] == score_report(workspace, "whole")["strict"]


def test_the_catalog_follows_an_evaluation_from_another_thread(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    from audioreason.runs import Catalog

    data = tiny_dataset(n=12)
    seen: list[tuple[str, int]] = []

    def reply(request: Request) -> Text:
        return Text(echo(request).content, after=0.1)

    with FakeServer(reply) as server:
        worker = threading.Thread(
            target=evaluate, args=(workspace, data, PROMPT, server.endpoint, FAST),
            kwargs={"run_id": "r", "concurrency": 2},
        )  # fmt: skip
        worker.start()
        catalog = Catalog(workspace)
        while worker.is_alive():
            catalog.refresh()
            seen += [(row.status, row.recorded) for row in catalog.runs().itertuples()]
            time.sleep(0.05)
        worker.join()
    catalog.refresh()
    last = catalog.runs().iloc[0]
    assert (last["status"], last["recorded"]) == ("finished", 12)
    counts = [count for _, count in seen]
    assert counts == sorted(counts)
    assert any(status == "running" and 0 < count < 12 for status, count in seen)
