"""What stands in a job's log: no key, in whatever pieces it comes, and the last words of the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.inference.endpoint import Endpoint, save_endpoint, server_key
from audioreason.jobs import actions
from audioreason.jobs.local import start_sieve
from audioreason.jobs.logs import tail
from audioreason.jobs.redact import redact, secret_values
from audioreason.jobs.sieve import LineCutter, Sieve
from audioreason.jobs.watch import job
from audioreason.workspace import Workspace
from tests.jobs.helpers import until, until_counted, until_state

KEY = "sk-abcabcabd"


@given(
    st.lists(st.sampled_from(["sk-", "abc", "abd", "s", "x", "\n", KEY]), max_size=30).map("".join),
    st.lists(st.integers(min_value=0, max_value=90)),
)
def test_a_key_is_taken_out_however_the_stream_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    sieve = Sieve([("A_KEY", KEY)])
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    written = b"".join(sieve.feed(data[start:end]) for start, end in pairwise(places)) + sieve.rest()
    assert written == data.replace(KEY.encode(), b"[removed: value of A_KEY]")


def test_a_line_that_looks_like_no_key_is_written_at_once() -> None:
    sieve = Sieve([("A_KEY", KEY)])
    assert sieve.feed(b"50%") == b"50%"
    assert sieve.feed(b" of sk-a") == b" of "
    assert sieve.feed(b"udio\n") == b"sk-audio\n"


def test_a_key_in_the_secrets_file_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".streamlit").mkdir()
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.write_text(f'MY_SERVER_KEY = "{KEY}"\ncolour = "green-and-blue"\n')
    monkeypatch.chdir(tmp_path)
    assert redact(f"{KEY} in green-and-blue") == "[removed: value of MY_SERVER_KEY] in green-and-blue"
    secrets.write_text("not toml")
    assert KEY not in dict(secret_values()).values()


def test_the_last_words_of_a_killed_worker_and_its_children_reach_the_log(workspace: Workspace) -> None:
    job_id = actions.submit(workspace, "count", {"count": 2000, "last_words": True})
    until_counted(workspace, job_id, 2)
    os.kill(job(workspace, job_id).pid or 0, signal.SIGKILL)
    until_state(workspace, job_id, "crashed")
    log = workspace.jobs / job_id / "log.txt"
    until(lambda: "after the worker" in log.read_text())
    assert "before the end" in log.read_text()


def test_keys_that_the_lab_knows_are_removed_whatever_they_look_like(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOREASON_WORKSPACE", str(workspace.root))
    monkeypatch.setenv("AUDIOREASON_TOKEN", "lab-tok")
    for number, (name, value) in enumerate({"PLAIN": "seven77", "SLASHED": "/begins/with/a/slash"}.items()):
        monkeypatch.setenv(name, value)
        save_endpoint(workspace, Endpoint(name=name, base_url=f"http://host:{number + 1}", api_key_env=name))
        assert redact(f"x{value}y") == f"x[removed: value of {name}]y"
    assert "lab-tok" not in redact("token=lab-tok")
    key = server_key(workspace, "job-1").read_text()
    assert redact(f"Bearer {key}") == "Bearer [removed: value of keys/job-1]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "/wJalrXUtnFEMI/K7MDENG"),
        ("OPENAI_APIKEY2", "plain-value-1"),
        ("VLLMPASS", "plain-value-2"),
        ("MY_SERVER_AUTH", "plain-value-3"),
    ],
)
def test_a_value_is_taken_for_a_key_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert value not in redact(f"it is {value}!")
    monkeypatch.setenv(name, "/tmp")  # a folder is not
    assert redact("in /tmp/x") == "in /tmp/x"


def test_a_key_that_is_made_while_the_sieve_runs_is_removed(workspace: Workspace) -> None:
    environment = os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root)}
    with (workspace.root / "log").open("wb") as log, start_sieve(workspace.root, environment, log) as pipe:
        pipe.write(b"first\n")
        pipe.flush()
        until(lambda: (workspace.root / "log").read_text() == "first\n")
        key = server_key(workspace, "later").read_text()
        pipe.write(f"its key is {key}\n".encode())
    until(lambda: (workspace.root / "log").read_text().count("\n") == 2)
    assert (workspace.root / "log").read_text() == "first\nits key is [removed: value of keys/later]\n"


@given(st.lists(st.sampled_from([b"ab", b"\n", b"x" * 30]), max_size=30), st.integers(1, 40))
def test_a_line_is_cut_however_the_stream_comes(pieces: list[bytes], most: int) -> None:
    cutter = LineCutter(most)
    written = b"".join(map(cutter.feed, pieces))
    *lines, last = b"".join(pieces).split(b"\n")
    *kept, rest = written.split(b"\n")
    assert rest == last[:most]
    for line, one in zip(lines, kept, strict=True):
        missing = len(line) + 1 - most
        assert one == (line if missing <= 0 else line[:most] + b" [cut: %d bytes more]" % missing)


def test_a_bar_that_is_drawn_again_is_no_long_line() -> None:
    cutter = LineCutter(4)
    assert b"".join(cutter.feed(b"50%\r") for _ in range(9)) == b"50%\r" * 9


def test_a_long_log_is_rotated_and_its_end_is_read_across(tmp_path: Path) -> None:
    code = "from audioreason.jobs import sieve; sieve.MOST_BYTES = 100_000; sieve.main()"
    log = tmp_path / "log.txt"
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-c", code, str(log)], stdin=subprocess.PIPE, stdout=file)
    assert process.stdin is not None
    for number in range(30_000):
        process.stdin.write(b"line %d\n" % number)
    process.stdin.write(b"y" * 5_000_000)
    process.stdin.close()
    assert process.wait() == 0
    sizes = [path.stat().st_size for path in (tmp_path / "log.1.txt", log)]
    assert sum(sizes) < 1_500_000
    assert sorted(path.name for path in tmp_path.glob("log*")) == ["log.1.txt", "log.txt"]


def test_the_end_of_a_log_reaches_into_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "log.1.txt").write_text("one\ntwo\n")
    (tmp_path / "log.txt").write_text("three\n")
    assert [line.text for line in tail(tmp_path / "log.txt", 2)] == ["two", "three"]
    assert [line.text for line in tail(tmp_path / "log.txt")] == ["one", "two", "three"]
