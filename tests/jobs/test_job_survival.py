"""Kills at any moment, reboots, full disks, children that will not go, pids of strangers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from audioreason.errors import JobError
from audioreason.jobs import actions, processes
from audioreason.jobs import rows as table
from audioreason.jobs.endings import members_of
from audioreason.jobs.queue import reconcile
from audioreason.jobs.resuming import resumable
from audioreason.jobs.rows import queue_table
from audioreason.jobs.supervise import answers, free_port
from audioreason.jobs.watch import job, list_jobs, tail_log
from audioreason.workspace import Workspace
from tests.jobs.conftest import ROOT, everyone
from tests.jobs.helpers import gone, nothing_lives, until, until_counted, until_state, written

SUBMIT = (
    "import sys, time\n"
    "from audioreason.jobs import actions\n"
    "from audioreason.workspace import Workspace\n"
    "w = Workspace.open(sys.argv[1])\n"
    "print(actions.submit(w, 'count', {'count': 40, 'pause': 0.01, 'gpus': 1}), flush=True)\n"
    "time.sleep(60)\n"
)


def worker(workspace: Workspace, job_id: str) -> int | None:
    return next(row.pid for row in table.peek(workspace) if row.id == job_id)


def test_a_killed_worker_is_a_crash_and_resume_completes_it(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 40})
    until_counted(workspace, job_id, 25)
    os.kill(worker(workspace, job_id) or 0, signal.SIGKILL)
    until(lambda: job(workspace, job_id).state == "crashed")  # true before anybody reconciles
    view = until_state(workspace, job_id, "crashed")
    assert "ended without a word" in view.reason and view.done >= 3
    assert tail_log(workspace, job_id)[-1].text == "count: 40 to do"
    actions.resume(workspace, job_id)
    view = until_state(workspace, job_id, "finished")
    assert view.attempt == 2 and written(workspace, job_id) == list(range(40))
    assert [(phase.name, phase.attempt) for phase in view.phases] == [
        ("start", 1), ("count", 1), ("start", 2), ("count", 2)
    ]  # fmt: skip


def kill_at_a_random_moment(workspace: Workspace, victims: str, moment: float) -> None:
    """Submit from another process, kill it, the worker or both, and see that the job can be completed."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SUBMIT, str(workspace.root)], stdout=subprocess.PIPE, text=True
    )
    time.sleep(moment)
    row = next(iter(table.peek(workspace)), None)
    if victims in ("worker", "both") and row is not None and row.pid is not None:
        for process in members_of(workspace, row):
            process.kill()
    if victims in ("parent", "both"):
        parent.kill()
        parent.wait()
    time.sleep(0.05)
    jobs = list_jobs(workspace)
    if not jobs:
        if parent.poll() is None:  # it was only slower than the moment
            parent.stdout.readline()
            jobs = list_jobs(workspace)
        else:
            assert not everyone(workspace)
            return
    (view,) = jobs
    state = until_state(workspace, view.id, "finished", "crashed", "stopped", seconds=30).state
    if state != "finished":
        assert nothing_lives(workspace) and all(row.gpu_ids == () for row in table.peek(workspace))
        actions.resume(workspace, view.id)
        until_state(workspace, view.id, "finished")
    assert written(workspace, view.id) == list(range(40))
    parent.kill()
    parent.wait()
    until(lambda: not everyone(workspace), what="an orphan")
    assert all(row.gpu_ids == () for row in table.peek(workspace))


@pytest.mark.parametrize(("victims", "moment"), [("worker", 1.0), ("parent", 0.6), ("both", 0.9)])
def test_kills_leave_the_truth_and_resume_completes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, victims: str, moment: float
) -> None:
    monkeypatch.setenv("AUDIOREASON_GPUS", "1")
    kill_at_a_random_moment(workspace, victims, moment)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_kills_at_twenty_random_moments(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("AUDIOREASON_GPUS", "1")
    chance = random.Random(seed)
    kill_at_a_random_moment(workspace, chance.choice(["worker", "parent", "both"]), chance.uniform(0.2, 1.6))


@pytest.mark.parametrize("victims", ["lab", pytest.param("both", marks=pytest.mark.slow)])
def test_a_job_that_the_lab_started_outlives_a_killed_streamlit(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, victims: str
) -> None:
    monkeypatch.setattr(actions, "reconcile", lambda workspace: None)  # so that it waits for the lab
    job_id = actions.submit(workspace, "count", {"count": 400})
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.address=127.0.0.1"]
    command += [f"--server.port={port}", "--server.headless=true", "--browser.gatherUsageStats=false"]
    environment = os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root), "AUDIOREASON_NO_TOKEN": "1"}
    lab = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        # what the light in the header asks, which keeps the queue moving
        until(lambda: answers(f"http://127.0.0.1:{port}/api/machine"), seconds=90)
        until_counted(workspace, job_id, 3)
        pid = worker(workspace, job_id) or 0
        assert psutil.Process(pid).ppid() == lab.pid
        if victims == "both":
            os.kill(pid, signal.SIGKILL)
    finally:
        lab.kill()
        lab.wait()
    if victims == "both":
        until_state(workspace, job_id, "crashed")
        actions.resume(workspace, job_id)
    else:
        assert job(workspace, job_id).state == "running"
    until_state(workspace, job_id, "finished", seconds=60)
    assert written(workspace, job_id) == list(range(400))
    until(lambda: not everyone(workspace), what="an orphan")


def test_after_a_reboot_what_ran_is_a_crash_and_what_waited_starts(workspace: Workspace) -> None:
    ran = actions.submit(workspace, "count", {"count": 30, "cpus": 2})
    waited = actions.submit(workspace, "count", {"count": 2})
    until_counted(workspace, ran, 3)
    for process in everyone(workspace):
        process.kill()
    until(lambda: not everyone(workspace))
    with queue_table(workspace) as connection:
        table.update(connection, ran, started="another-boot/4711")
    assert "restarted" in until_state(workspace, ran, "crashed").reason
    until_state(workspace, waited, "finished")
    actions.resume(workspace, ran)
    until_state(workspace, ran, "finished")
    assert written(workspace, ran) == list(range(30))


def test_a_pid_that_now_belongs_to_a_stranger_is_left_alone(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 30})
    until_counted(workspace, job_id, 3)
    os.kill(worker(workspace, job_id) or 0, signal.SIGKILL)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        with queue_table(workspace) as connection:
            table.update(connection, job_id, pid=stranger.pid)
        until(lambda: job(workspace, job_id).state == "crashed")  # the kernel takes a moment to free the lock
        with queue_table(workspace) as connection:
            table.update(connection, job_id, stop_asked=1.0, wanted="stop")
        reconcile(workspace)
        assert job(workspace, job_id).state == "stopped"
        assert stranger.poll() is None
        boot, tick = str(processes.identity(stranger.pid)).split("/")
        for other in (f"{boot}/{int(tick) - 1}", f"another-boot/{tick}"):
            assert not processes.terminate(stranger.pid, other)
            assert not processes.belonging("", stranger.pid, other, processes.clock())
        assert stranger.poll() is None
        stranger.kill()


def test_stop_lets_the_work_reach_its_checkpoint(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 500})
    until_counted(workspace, job_id, 3)
    assert actions.stop(workspace, job_id) == [job_id]
    view = until_state(workspace, job_id, "stopped")
    assert view.reason == f"It stopped at {len(written(workspace, job_id))}."
    queued = [actions.submit(workspace, "count", {"count": 500, "cpus": 2}) for _ in range(2)][1]
    actions.stop(workspace, queued)
    assert job(workspace, queued).state == "stopped"


def test_work_and_children_that_ignore_sigterm_are_killed_after_the_grace_time(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 2000, "child": True, "stubborn": True})
    until_counted(workspace, job_id, 3)
    children = [int((workspace.jobs / job_id / f"child-{s}").read_text()) for s in (False, True)]
    actions.stop(workspace, job_id)
    assert job(workspace, job_id).state == "stopping"
    until_state(workspace, job_id, "stopped", seconds=15)
    assert all(gone(child) for child in children) and nothing_lives(workspace)


def test_children_that_outlive_a_crash_are_ended_before_the_gpu_is_free(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOREASON_GPUS", "1")
    job_id = actions.submit(workspace, "count", {"count": 2000, "child": True, "gpus": 1})
    until_counted(workspace, job_id, 3)
    children = [int((workspace.jobs / job_id / f"child-{s}").read_text()) for s in (False, True)]
    os.kill(worker(workspace, job_id) or 0, signal.SIGKILL)
    assert not any(gone(child) for child in children)
    until_state(workspace, job_id, "crashed")
    assert all(gone(child) for child in children)


def test_a_child_that_wrote_over_its_environment_is_ended_with_its_dead_worker(workspace: Workspace) -> None:
    """As vLLM's processes do; only their session tells whose they are, once the worker has died."""
    job_id = actions.submit(workspace, "count", {"count": 2000, "disguised": True})
    until_counted(workspace, job_id, 3)
    child = int((workspace.jobs / job_id / "disguised").read_text())
    until(lambda: not Path(f"/proc/{child}/environ").read_bytes())
    os.kill(worker(workspace, job_id) or 0, signal.SIGKILL)
    until(lambda: job(workspace, job_id).state == "crashed")
    assert not gone(child)
    until_state(workspace, job_id, "crashed")
    assert gone(child)


def test_a_session_whose_number_was_given_away_is_a_strangers() -> None:
    """Its leader is dead, as after a worker's death; when its member began tells that it is not the job's."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
    leader = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    member = int(leader.communicate()[0])
    boot, _, tick = str(processes.identity(member)).partition("/")
    began = int(tick) / os.sysconf("SC_CLK_TCK")

    def found(started: str, last_alive: float | None) -> list[int]:
        return [process.pid for process in processes.belonging("", leader.pid, started, last_alive)]

    earlier = f"{boot}/{int(tick) - 100}"
    assert found(earlier, began + 1) == [member]
    assert found(earlier, began - 3 * processes.BEAT) == []  # the worker was long dead when it began
    assert found(f"another-boot/{int(tick) - 100}", began + 1) == []
    assert found(earlier, None) == []
    os.kill(member, signal.SIGKILL)


def test_setting_the_clock_makes_no_worker_a_stranger(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = actions.submit(workspace, "count", {"count": 200})
    until_counted(workspace, job_id, 3)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 7200)
    pid, started = next((row.pid, row.started) for row in table.peek(workspace))
    assert processes.is_same(pid, started) and job(workspace, job_id).state == "running"
    actions.stop(workspace, job_id)
    assert "stopped at" in until_state(workspace, job_id, "stopped").reason


def test_stop_now_does_not_wait(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 2000, "stubborn": True})
    until_counted(workspace, job_id, 3)
    began = time.monotonic()
    actions.stop(workspace, job_id, now=True)
    until_state(workspace, job_id, "stopped")
    assert time.monotonic() - began < 1.4


def test_a_running_job_is_deleted_only_when_it_may_be_stopped(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 2000, "child": True})
    until_counted(workspace, job_id, 3)
    removal = actions.what_goes(workspace, job_id)
    assert removal.running == (job_id,) and "1 running will be stopped first" in removal.sentence()
    with pytest.raises(JobError, match="is running"):
        actions.delete(workspace, job_id)
    assert job(workspace, job_id).state == "running"
    actions.delete(workspace, job_id, stop_first=True)
    assert list_jobs(workspace) == [] and not (workspace.jobs / job_id).exists()
    assert not everyone(workspace)


def test_a_full_disk_ends_a_job_with_a_sentence_and_resume_completes_it(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 3000, "pause": 0.0, "file_limit": 4000})
    view = until_state(workspace, job_id, "failed", "crashed")
    assert view.state == "failed" and "could not be written" in view.reason
    assert "Traceback" not in view.reason
    spec = workspace.jobs / job_id / "job.json"
    spec.write_text(spec.read_text().replace('"file_limit": 4000', '"file_limit": 0'))  # there is room again
    actions.resume(workspace, job_id)
    until_state(workspace, job_id, "finished")
    assert written(workspace, job_id) == list(range(3000))


def test_a_job_whose_end_fits_on_no_disk_is_a_crash_that_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither state.json nor the database could be written by the worker."""
    free = shutil.disk_usage(workspace.root)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    job_id = actions.submit(workspace, "count", {"count": 300, "pause": 0.0, "file_limit": 300})
    view = until_state(workspace, job_id, "failed", "crashed")
    assert view.state == "crashed" and "is full. Free some space" in view.reason
    assert nothing_lives(workspace)


def test_work_that_is_done_counts_though_its_folder_cannot_take_the_end(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 5, "fail": "state"})
    view = until_state(workspace, job_id, "failed", "crashed", "finished")
    assert view.state == "finished"
    assert view.reason.startswith("It finished its work. Its folder could not take this: ")
    assert nothing_lives(workspace)
    until(lambda: not everyone(workspace), what="an orphan")


@pytest.mark.parametrize("polled", [True, False])
def test_a_folder_removed_while_its_job_runs_is_said_and_does_not_come_back(
    workspace: Workspace, polled: bool
) -> None:
    job_id = actions.submit(workspace, "count", {"count": 2000 if polled else 40, "child": True})
    until_counted(workspace, job_id, 3)
    children = [int((workspace.jobs / job_id / f"child-{s}").read_text()) for s in (False, True)]
    shutil.rmtree(workspace.jobs / job_id)
    assert job(workspace, job_id).state == "stopping" and "was removed" in job(workspace, job_id).reason
    if not polled:
        until(lambda: table.peek(workspace)[0].state != "running")
    view = until_state(workspace, job_id, "stopped", "failed", "crashed", "finished")
    assert view.state == ("stopped" if polled else "finished")
    assert "was removed while its job ran" in view.reason
    assert all(gone(child) for child in children)
    assert not (workspace.jobs / job_id).exists()
    assert not resumable(workspace, job_id).possible
    if polled:
        with pytest.raises(JobError, match="is gone, and with it what the job was to do"):
            actions.resume(workspace, job_id)
    actions.delete(workspace, job_id)
    assert list_jobs(workspace) == []


def test_a_job_killed_after_its_folder_was_removed_says_what_happened(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 2000})
    until_counted(workspace, job_id, 3)
    shutil.rmtree(workspace.jobs / job_id)
    os.kill(worker(workspace, job_id) or 0, signal.SIGKILL)
    view = until_state(workspace, job_id, "failed", "crashed")
    assert (view.state, view.reason) == (
        "failed", "Its folder was removed while it ran. Delete it, and submit it again."
    )  # fmt: skip


def test_a_bug_in_a_kind_is_a_sentence_and_its_traceback_is_in_the_log_only(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 10, "fail": "crash"})
    view = until_state(workspace, job_id, "failed")
    assert view.reason == "It failed: ValueError: a bug in a kind" and view.hint == "The log has the details."
    lines = tail_log(workspace, job_id, level="error")
    assert any("Traceback" in line.text for line in lines)
    assert "Traceback" not in (workspace.jobs / job_id / "state.json").read_text()
    actions.resume(workspace, job_id)
    until_state(workspace, job_id, "finished")
    assert written(workspace, job_id) == list(range(10))


def test_a_job_of_a_newer_lab_is_refused_with_a_sentence(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOREASON_JOB_KINDS", "tests.jobs.kinds:NEWER")
    monkeypatch.setenv("AUDIOREASON_CPU_JOBS", "1")
    blocker = actions.submit(workspace, "count", {"count": 20})
    newer = actions.submit(workspace, "count", {"count": 1})
    monkeypatch.setenv("AUDIOREASON_JOB_KINDS", "tests.jobs.kinds:KINDS")
    actions.stop(workspace, blocker)
    until_state(workspace, blocker, "stopped")
    view = until_state(workspace, newer, "failed", "finished")
    if view.state == "finished":  # the blocker's own end started it, with the newer lab's kinds
        with queue_table(workspace) as connection:
            table.update(connection, newer, state="stopped")
    else:
        assert "of version 7, and this lab knows count up to version 1" in view.reason
    with pytest.raises(JobError, match="of version 7, and this lab knows count up to version 1"):
        actions.resume(workspace, newer)
    spec = workspace.jobs / newer / "job.json"
    spec.write_text(spec.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(JobError, match="newer version of the lab"):
        actions.resume(workspace, newer)
    assert job(workspace, newer).state in ("failed", "stopped")


def test_no_key_of_the_environment_is_in_any_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-test-4b7d0f7d5f3a4e6c"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(JobError, match="the value of OPENAI_API_KEY"):
        actions.submit(workspace, "count", {"secret": f"Bearer {key}"})
    job_id = actions.submit(workspace, "count", {"print_environment": True})
    view = until_state(workspace, job_id, "failed")
    assert view.reason == "refused: [removed: value of OPENAI_API_KEY]"
    told = (workspace.jobs / job_id / "log.txt").read_text()
    assert "the child says [removed: value of OPENAI_API_KEY]\n" in told
    assert "by pieces [removed: value of OPENAI_API_KEY]\n" in told
    files = [path for path in Path(workspace.root).rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [path for path in files if key.encode() in path.read_bytes()]
