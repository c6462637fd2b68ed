"""What the Jobs page is told when it polls: no more than has changed, and nothing but text and numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import feeds
from app.jobs import look, shown
from app.routes import routes
from audioreason.jobs import rows as table
from audioreason.jobs.spec import JobSpec, JobState, Phase, job_folder, write_spec, write_state
from audioreason.jobs.watch import JobView
from audioreason.workspace import Workspace

JOB = "20261123-050000-evaluate-0001"


@pytest.fixture
def jobs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with one finished job, which the feeds read."""
    monkeypatch.setattr(look, "workspace", lambda: workspace)
    monkeypatch.setattr(look, "_LOG_SHARE", 1e9)
    monkeypatch.setattr(look, "_accuracies", lambda every, moment: {})
    folder = job_folder(workspace, JOB)
    folder.mkdir(parents=True)
    spec = JobSpec(
        id=JOB,
        kind="evaluate",
        title="<b>baseline</b> on bells",
        spec={},
        spec_version=1,
        created=datetime(2026, 11, 23, tzinfo=UTC),
    )
    write_spec(folder, spec)
    phases = [Phase(name="generate", began=100.0, ended=110.0)]
    state = JobState(token="t", attempt=1, began=100.0, updated=110.0, ended=110.0, ending="finished")
    write_state(folder, state.model_copy(update={"phases": phases, "done": 12, "total": 12}))
    (folder / "log.txt").write_text("2026-11-23 05:00:00.000 INFO     generate: 12 to do\n")
    with table.queue_table(workspace) as connection:
        table.insert(connection, spec, "finished")
        table.update(connection, JOB, token="t", attempt=1, began=100.0, ended=110.0)
    look.forget()
    return workspace


def view(**changes: object) -> JobView:
    return JobView(id="j", kind="train", title="t", **{"state": "running", **changes})  # type: ignore[arg-type]


def test_a_timeline_leaves_out_the_time_between_attempts() -> None:
    phases = (
        Phase(name="train", attempt=1, began=1_000.0, ended=1_010.0),
        Phase(name="train", attempt=2, began=9_000.0, ended=9_020.0),
        Phase(name="score", attempt=2, began=9_025.0),
    )
    found = shown.timeline(view(phases=phases, eta=20.0), now=9_030.0)
    assert found is not None
    assert found["ticks"][-1] == [100.0, "60 s"]  # 10 + 20 s of train, 5 s between, 5 + 20 s of score
    train, score = ([bar[:3] for bar in row["bars"]] for row in found["rows"])
    assert train == [[0.0, 16.667, "past"], [16.667, 33.333, "past"]]
    assert score == [[58.333, 8.333, "now"], [66.667, 33.333, "next"]]
    assert found["now"] == 66.667


def test_a_job_that_has_not_begun_has_no_timeline() -> None:
    assert shown.timeline(view(state="queued")) is None


@pytest.mark.parametrize("seconds", [0.2, 7, 61, 3_000, 90_000, 3_000_000])
def test_a_time_axis_has_few_ticks_and_ends_behind_its_span(seconds: float) -> None:
    found = shown.timeline(view(phases=(Phase(name="p", began=0.0),)), now=seconds)
    assert found is not None
    assert 2 <= len(found["ticks"]) <= 8
    assert found["now"] <= 100.0


def test_a_matrix_counts_the_answers_of_all_its_parts() -> None:
    parts = [view(done=30, total=40, state="finished"), view(done=10, total=40), view(state="failed")]
    matrix = view(children=("a", "b", "c"), done=1, total=3, rate=2.0)
    assert shown.share(matrix, parts) == pytest.approx(40 / 120, abs=1e-4)
    words = [text for text, _ in shown.progress_line(matrix, parts)]
    assert words == ["2 of 3 jobs", "40 of 120", "2.0 /s", "40 s left", "1 failed"]


def test_a_finished_job_says_how_many_items_got_no_answer() -> None:
    strict = {"accuracy": 0.5, "ci95": [0.2, 0.8]}
    some = view(state="finished", total=12, done=12, result={"n": 12, "answered": 9, "strict": strict})
    assert ["3 not answered", "wrong"] in shown.ended_line(some)
    none = {"n": 12, "answered": 0, "strict": {"accuracy": None}}
    silent = view(state="finished", total=12, done=12, result=none)
    assert ["12 not answered", "wrong"] in shown.ended_line(silent)
    every = view(state="finished", total=12, done=12, result={"n": 12, "answered": 12, "strict": strict})
    assert not any("not answered" in text for text, _ in shown.ended_line(every))


def test_the_buttons_of_a_job_are_asked_for_again_only_when_they_are_others() -> None:
    begun = shown.signature(view(state="starting", done=0))
    assert shown.signature(view(state="running", done=7)) == begun
    assert shown.signature(view(state="stopping", done=7)) != begun
    assert shown.signature(view(state="finished", done=9)) != begun


def test_a_poll_leaves_out_what_the_browser_has(jobs: Workspace) -> None:
    first = feeds.told({"job": JOB})
    assert [row["id"] for row in first["list"]["ended"]] == [JOB]
    assert [line[2] for line in first["log"]["lines"]] == ["generate: 12 to do"]
    stamps = {"list": first["list"]["stamp"], "log": first["log"]["stamp"]}
    again = feeds.told({"job": JOB, **stamps})
    assert "list" not in again
    assert "log" not in again
    with (job_folder(jobs, JOB) / "log.txt").open("a") as log:
        log.write("2026-11-23 05:00:01.000 ERROR    it broke\n")
    grown = feeds.told({"job": JOB, **stamps})
    assert [line[1] for line in grown["log"]["lines"]] == ["INFO", "ERROR"]
    errors = feeds.told({"job": JOB, "level": "ERROR", **stamps})
    assert [line[2] for line in errors["log"]["lines"]] == ["it broke"]
    assert feeds.told({"job": JOB, "find": "BROKE"})["log"]["lines"] == errors["log"]["lines"]


def test_a_log_that_grows_all_the_time_is_not_searched_all_the_time(
    jobs: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_LOG_SHARE", 1e-9)
    logs = look.Logs()
    path = job_folder(jobs, JOB) / "log.txt"
    before = logs.read(JOB, "", "")
    path.write_text(path.read_text() * 2)
    assert logs.read(JOB, "", "") is before
    monkeypatch.setattr(look, "_LOG_SHARE", 1e9)
    assert len(logs.read(JOB, "", "").lines) == 2


@pytest.mark.parametrize("job_id", ["gone", "../../etc", "", "a" * 500])
def test_a_job_that_is_not_there_is_no_error(jobs: Workspace, job_id: str) -> None:
    found = feeds.told({"job": job_id})
    assert found.get("job", {}).get("signature", " gone").endswith("gone")


def test_feeds_answer_pages_of_this_lab_alone(jobs: Workspace) -> None:
    client = TestClient(Starlette(routes=routes()), base_url="http://127.0.0.1")
    answer = client.get("/api/jobs", params={"job": JOB})
    assert answer.headers["cache-control"] == "no-store"
    assert orjson.loads(answer.content)["job"]["id"] == JOB
    assert client.get(f"/api/jobs/{JOB}").json()["job"]["title"] == "<b>baseline</b> on bells"
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        assert client.get("/api/jobs", headers=headers).status_code == 403


def test_a_workspace_that_cannot_be_read_is_a_sentence(
    jobs: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Workspace.open(tmp_path / "broken")
    (broken.root / "lab.sqlite").write_bytes(b"no database at all" * 100)
    monkeypatch.setattr(look, "workspace", lambda: broken)
    look.forget()
    client = TestClient(Starlette(routes=routes()), base_url="http://127.0.0.1")
    assert "lab.sqlite" in client.get("/api/jobs").json()["problem"]
    look.forget()


@pytest.mark.parametrize(
    "path", [f"/api/audio/{'x' * 300}/x", f"/api/jobs/{'x' * 300}", "/api/audio/a%00b/x"]
)
def test_a_name_that_no_file_can_have_is_not_found(path: str) -> None:
    client = TestClient(
        Starlette(routes=routes()), base_url="http://127.0.0.1", raise_server_exceptions=False
    )
    answer = client.get(path)
    assert answer.status_code in (200, 404)  # feeds tell a problem in their own words
    assert "Traceback" not in answer.text and "Errno" not in answer.text
