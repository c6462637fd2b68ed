"""Jobs on a real one-machine Ray cluster with token auth: true states, complete resume, nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from audioreason.errors import ItemError, JobError, PromptError
from audioreason.jobs import actions, cluster
from audioreason.jobs.watch import job as local_job
from audioreason.workspace import Workspace
from tests.jobs.conftest import ROOT
from tests.jobs.helpers import lines_file, until, until_counted, written
from tests.servers import closed_port

TOKEN = "a-token-of-this-test-0123456789abcdef0123456789"


@dataclass
class Head:
    """A Ray head on loopback; `restart` kills it and starts another at the same address."""

    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = [
            "--port=0",
            f"--dashboard-port={self.port}",
            "--min-worker-port=20100",
            "--max-worker-port=20400",
        ]
        size = ["--num-cpus=2", "--num-gpus=1", "--object-store-memory=100000000"]
        ports.append(f"--dashboard-agent-listen-port={closed_port()}")
        where = ["--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", f"--temp-dir={self.folder}"]
        self._ray(
            "start", "--head", "--include-dashboard=true", "--disable-usage-stats", *ports, *size, *where
        )
        until(self._answers, seconds=90, what="the head answers")

    def stop(self) -> None:
        """End every process of this head: some are known by their words, the renamed ones by their files."""
        here = str(self.folder)
        for process in psutil.process_iter():
            try:
                ours = here in " ".join(process.cmdline()) or any(
                    file.path.startswith(here) for file in process.open_files()
                )
                if ours and process.pid != os.getpid():
                    process.kill()
            except (psutil.Error, OSError):  # gone meanwhile, or not ours to look at
                continue

    def _answers(self) -> bool:
        try:
            cluster.Cluster(self.address).everything()
        except JobError:
            return False
        return True

    def _ray(self, *words: str) -> None:
        program = Path(sys.executable).with_name("ray")
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=180, check=False, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "token")
    patch.setenv("RAY_AUTH_TOKEN", TOKEN)
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("AUDIOREASON_JOB_KINDS", "tests.jobs.kinds:KINDS")
    patch.setenv("PYTHONPATH", str(ROOT))
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # a short path: Ray's sockets have 107 characters
    made = Head(closed_port(), folder)
    made.start()
    yield made
    made.stop()
    patch.undo()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab(head: Head, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("AUDIOREASON_RAY_ADDRESS", head.address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    return workspace


def until_cluster(workspace: Workspace, job_id: str, *states: str, seconds: float = 60.0) -> str:
    seen = ""

    def there() -> bool:
        nonlocal seen
        seen = cluster.job(workspace, job_id).state
        return seen in states

    until(there, seconds=seconds, what=f"{job_id} is {states}")
    return seen


def worker_of(job_id: str) -> psutil.Process:
    """The process that works on a job."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "audioreason.jobs.cluster_worker" in words and any(word.endswith(job_id) for word in words):
            return process
    raise AssertionError(f"nobody works on {job_id}")


@pytest.mark.slow
def test_a_job_runs_on_the_cluster_and_is_seen_as_any_other(lab: Workspace) -> None:
    (job_id,) = cluster.submit(lab, "count", {"count": 20, "gpus": 1})
    until_cluster(lab, job_id, "finished")
    view = cluster.job(lab, job_id)
    assert view.done == 20 and view.attempt == 1 and view.wants_gpus == 1
    assert written(lab, job_id) == list(range(20))
    assert "count: 20 to do" in cluster.logs(lab, job_id)
    assert [one.id for one in cluster.list_jobs(lab)] == [job_id]
    assert local_job(lab, job_id).state == "finished"  # the local list shows it, and takes no hand in it
    with pytest.raises(JobError, match="on a cluster"):
        actions.what_goes(lab, job_id)
    with pytest.raises(JobError, match="nothing to stop"):
        cluster.stop(lab, job_id)
    cluster.delete(lab, job_id)
    assert not (lab.jobs / job_id).exists() and cluster.list_jobs(lab) == []


@pytest.mark.slow
def test_a_killed_worker_is_a_crash_and_resume_completes_it(lab: Workspace) -> None:
    (job_id,) = cluster.submit(lab, "count", {"count": 200, "pause": 0.05})
    until_counted_slowly(lab, job_id, 5)
    worker_of(job_id).send_signal(signal.SIGKILL)
    until_cluster(lab, job_id, "crashed")
    cluster.resume(lab, job_id)
    assert until_cluster(lab, job_id, "finished", seconds=90) == "finished"
    assert written(lab, job_id) == list(range(200)) and cluster.job(lab, job_id).attempt == 2


@pytest.mark.slow
def test_a_stop_reaches_the_checkpoint(lab: Workspace) -> None:
    (job_id,) = cluster.submit(lab, "count", {"count": 2000, "pause": 0.02})
    until_counted_slowly(lab, job_id, 3)
    cluster.stop(lab, job_id)
    until_cluster(lab, job_id, "stopped")
    assert "lines" in cluster.job(lab, job_id).reason or cluster.job(lab, job_id).reason
    count = len(written(lab, job_id))
    assert written(lab, job_id) == list(range(count)) and 3 <= count < 2000


@pytest.mark.slow
def test_a_restarted_head_has_forgotten_the_job_and_resume_completes_it(lab: Workspace, head: Head) -> None:
    (job_id,) = cluster.submit(lab, "count", {"count": 300, "pause": 0.05})
    until_counted_slowly(lab, job_id, 5)
    head.stop()
    until(lambda: "cannot be reached" in cluster.job(lab, job_id).reason, seconds=60)
    assert cluster.job(lab, job_id).state == "running"  # nobody has proof of anything else
    head.start()
    until_cluster(lab, job_id, "crashed")
    assert "started anew" in cluster.job(lab, job_id).reason

    def goes_on() -> bool:
        try:
            cluster.resume(lab, job_id)
        except JobError as error:  # Ray ends what its dead head left, within seconds
            assert "still works" in error.message
            return False
        return True

    until(goes_on, seconds=60, what="the old worker is gone")
    until_cluster(lab, job_id, "finished", seconds=120)
    assert written(lab, job_id) == list(range(300))


@pytest.mark.slow
def test_a_wrong_token_and_a_wrong_address_are_one_sentence(
    lab: Workspace, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(JobError, match="wants another token"):
        cluster.submit(lab, "count", {})
    assert list(lab.jobs.glob("*")) == []


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "No cluster is named"),
        ("ray://127.0.0.1:10001", "is not the address"),
        ("http://127.0.0.1:1", "cannot be reached"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence_and_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    monkeypatch.setenv("AUDIOREASON_RAY_ADDRESS", address)
    with pytest.raises(JobError, match=re.escape(sentence)):
        cluster.submit(workspace, "count", {})
    assert not workspace.jobs.exists() or list(workspace.jobs.glob("*")) == []
    if address:
        with pytest.raises(JobError, match=re.escape(sentence)):
            cluster.list_jobs(workspace)
    else:
        assert cluster.list_jobs(workspace) == []


def test_what_the_shared_folder_lacks_is_said_before_anything_is_sent(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOREASON_RAY_ADDRESS", "http://127.0.0.1:1")
    with pytest.raises(ItemError, match="nowhere"):
        cluster.submit(workspace, "evaluate", {"dataset": "nowhere"})
    with pytest.raises(PromptError, match="unheard"):
        cluster.submit(workspace, "evaluate", {"prompts": ["unheard"]})


def until_counted_slowly(workspace: Workspace, job_id: str, count: int) -> None:
    """As `until_counted`, with the time that Ray takes to start a job."""
    out = lines_file(workspace, job_id)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if out.exists():
            until_counted(workspace, job_id, count)
            return
        time.sleep(0.1)
    raise AssertionError("Ray did not start the job")
