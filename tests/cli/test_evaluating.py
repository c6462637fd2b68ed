"""`eval` as a process: against a server, interrupted and resumed, and with the engine it starts by itself."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from audioreason.inference.endpoint import Endpoint, save_endpoint
from audioreason.items import save_dataset
from audioreason.workspace import Workspace
from tests.cli.conftest import PROGRAM, Program, Say, environment, strict_json
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Reply, Request, Status, Text

SAMPLING = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.05,
    "repetition_penalty": 1.1,
    "max_tokens": 77,
}


def options(values: dict[str, float]) -> list[str]:
    return [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def chats(server: FakeServer) -> list[dict]:
    """The bodies of the items' requests, without the question that tries the transport."""
    return [body for body in server.bodies if "seed" in body and "How many tones" in str(body["messages"])]


def test_the_papers_defaults_arrive_and_unset_options_are_left_to_the_server(
    program: Program, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=2)
    with FakeServer(Text("ANSWER: one")) as server:
        program("eval", "--dataset", "tiny", "--endpoint", server.base_url)
        bodies = chats(server)
    assert len(bodies) == 2
    assert all((body["temperature"], body["max_tokens"]) == (0.1, 10_000) for body in bodies)
    assert not {"top_p", "top_k", "min_p", "repetition_penalty"} & set().union(*bodies)


def test_every_option_arrives_and_the_report_counts_each_item_once(
    program: Program, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=8)
    with FakeServer(Text("ANSWER: two"), models=("a", "b")) as server:
        done = program(
            "eval", "--dataset", "tiny", "--prompt", "v1", "--endpoint", server.base_url, "--model", "b",
            "--samples", "2", "--limit", "5", "--concurrency", "3", "--seed", "4", "--run-id", "mine",
            "--json", *options(SAMPLING),
        )  # fmt: skip
        bodies = chats(server)
    report = strict_json(done.stdout)
    assert (report["run"], report["n"], report["answered"]) == ("mine", 5, 5)
    assert all({name: body[name] for name in SAMPLING} == SAMPLING for body in bodies)
    assert {body["model"] for body in bodies} == {"b"}
    assert len(bodies) == 10 and len({body["seed"] for body in bodies}) == 10
    assert server.most_in_flight <= 3


def test_chosen_items_are_asked_about_alone_and_a_resume_remembers_them(
    program: Program, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    ids = [item.id for item in tiny_dataset(n=8).items]
    (tmp_path / "pinned.txt").write_text("\n".join(ids[2:5]))
    with FakeServer(Text("ANSWER: one")) as server:
        ask = ("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "pins")
        report = strict_json(program(*ask, "--items", str(tmp_path / "pinned.txt"), "--json").stdout)
        assert (report["n"], len(chats(server))) == (3, 3)
        program("eval", "--run-id", "pins", "--resume")
        assert len(chats(server)) == 3
        refused = program("eval", "--run-id", "pins", "--resume", "--items", ids[0], status=1)
        assert "choice of items" in refused.stderr
        assert ids[0] in program(*ask[:-1], "other", "--items", f"{ids[0]}x", status=1).stderr


def test_several_predictions_of_an_item_are_asked_for_in_one_request(
    say: Say, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=2)
    with FakeServer(Text("ANSWER: one")) as server:
        ask = ("eval", "--dataset", "tiny", "--samples", "5", "--per-request", "3", "--run-id", "threes")
        say(*ask, "--endpoint", server.base_url, "--temperature", "0.9")
        assert sorted(body.get("n", 1) for body in chats(server)) == [2, 2, 3, 3]
        again = ("eval", "--run-id", "threes", "--resume")
        refused = say(*again, "--per-request", "2", status=1)
        assert "began with 3 predictions a request" in refused[1]
        greedy = say(*ask[:-1], "greedy", "--endpoint", server.base_url, "--temperature", "0")
        assert "each request asks for one" in greedy[1]
        assert len(chats(server)) == 4 + 10


def test_a_taken_run_id_fails_before_an_engine_is_started(
    program: Program, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=1)
    with FakeServer(Text("ANSWER: one")) as server:
        program("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "mine")
    refused = program("eval", "--dataset", "tiny", "--run-id", "mine", status=1)
    assert "There is a run mine already" in refused.stderr and "starting" not in refused.stderr


def test_an_interrupted_eval_says_how_to_go_on_and_resumes_with_its_own_settings(
    program: Program, workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=12)
    with FakeServer(Text("ANSWER: two", after=0.3)) as server:
        command = [
            *PROGRAM, "eval", "--dataset", "tiny", "--prompt", "v1", "--endpoint", server.base_url,
            "--concurrency", "2", "--seed", "4", "--limit", "9", "--run-id", "half", "--json",
            *options(SAMPLING),
        ]  # fmt: skip
        child = subprocess.Popen(
            command, env=environment(workspace), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            deadline = time.monotonic() + 60
            while len(chats(server)) < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
            child.send_signal(signal.SIGINT)
            stdout, stderr = child.communicate(timeout=60)
        finally:
            child.kill()
        assert child.returncode == 130, stderr
        assert "audioreason eval --run-id half --resume" in stderr
        first = strict_json(stdout)
        assert 0 < first["answered"] < 9 and first["pending"] == 9 - first["answered"]

        server.reply = Text("ANSWER: two")
        report = strict_json(program("eval", "--run-id", "half", "--resume", "--json").stdout)
        bodies = chats(server)
        program("eval", "--run-id", "half", "--resume", "--temperature", "0.2", status=1)
    assert (report["n"], report["answered"], report["pending"]) == (9, 9, 0)
    assert all({name: body[name] for name in SAMPLING} == SAMPLING for body in bodies)
    assert len({body["seed"] for body in bodies}) == 9
    answered = [program("show", "half", item.id, "--json").stdout for item in data.items[:2]]
    assert all(len(strict_json(text)) == 1 for text in answered)


def test_a_saved_endpoint_is_found_by_its_name(
    program: Program, workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=2)
    with FakeServer(Text("ANSWER: one"), models=("a", "b")) as server:
        save_endpoint(
            workspace, Endpoint(name="lab server", base_url=server.base_url, model="b"), default=False
        )
        program("eval", "--dataset", "tiny", "--endpoint", "lab server")
        assert {body["model"] for body in chats(server)} == {"b"}


def test_a_run_without_one_answer_is_reported_without_nan(
    program: Program, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=2, clips=False)
    with FakeServer() as server:
        ask = ("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "deaf", "--json")
        done = program(*ask, status=1)
    assert "0 of 2 predictions have an answer" in done.stderr and "has no clip" in done.stderr
    report = strict_json(program("score", "deaf", "--json").stdout)
    assert (report["n"], report["answered"], report["errors"]) == (2, 0, 2)
    assert report["strict"]["accuracy"] is None
    (row,) = strict_json(program("runs", "--json").stdout)
    assert (row["run_id"], row["strict"]) == ("deaf", None)
    assert "deaf" in program("runs").stdout
    assert "no clip" in program("show", "deaf", "tiny-000").stdout


def test_every_request_refused_is_not_success(program: Program, tiny_dataset: TinyDataset) -> None:
    tiny_dataset(n=3)
    with FakeServer(Text("ANSWER: one"), models=("m",), require_key="sk-other") as server:
        ask = ("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "r")
        refused = program(*ask, "--model", "m", status=1)
        assert "refused the key (HTTP 401)" in refused.stderr and "Traceback" not in refused.stderr


def test_few_refused_are_told_with_the_reason_and_most_refused_end_otherwise(
    say: Say, tiny_dataset: TinyDataset
) -> None:
    tiny_dataset(n=4)
    hard = ["clip 2?"]

    def reply(request: Request) -> Reply:
        refused = any(words in request.text for words in hard)
        return Status(400, "maximum context length is 512 tokens") if refused else Text("ANSWER: one")

    with FakeServer(reply) as server:
        ask = ("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id")
        _, err = say(*ask, "few")
        assert "few: 3 of 4 answered by fake-model" in err
        assert "1 prediction without an answer (bad_request). The first: " in err
        assert "512 tokens" in err and "--max-model-len" in err
        assert "Ask again with: audioreason eval --run-id few --resume" in err
        assert "512 tokens" in say("score", "few")[1]
        hard += ["clip 0?", "clip 1?"]
        _, err = say(*ask, "most", status=1)
        assert "1 of 4 predictions have an answer" in err and "512 tokens" in err
        assert "audioreason eval --run-id most --resume" in err


def test_a_server_that_dies_is_not_success(program: Program, tiny_dataset: TinyDataset) -> None:
    tiny_dataset(n=6)
    server = FakeServer()

    def dies(request: Request) -> Reply:
        if request.number == 7:  # after two of the probe
            server._loop.call_soon_threadsafe(server._stop.set)
        return Text("ANSWER: one", after=0.05)

    server.reply = dies
    with server:
        ask = ("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "r")
        ended = program(*ask, "--concurrency", "1", "--server-wait", "0.5", status=1)
    assert "Waiting for the server, 0.5 s at most" in ended.stderr
    assert "of 6 predictions have an answer" in ended.stderr
    assert "audioreason eval --run-id r --resume" in ended.stderr
    (row,) = strict_json(program("runs", "--json").stdout)
    assert row["status"] == "stopped" and 3 <= row["answered"] < 6
    with FakeServer(Text("ANSWER: one")) as other:
        program("eval", "--run-id", "r", "--resume", "--endpoint", other.base_url)
    (row,) = strict_json(program("runs", "--json").stdout)
    assert (row["status"], row["answered"]) == ("finished", 6)


def test_unrated_items_are_counted_beside_every_accuracy(
    say: Say, workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=4)
    items = [item.model_copy(update={"answer": "seven"}) if n else item for n, item in enumerate(data.items)]
    save_dataset(data.root, data.info, items, workspace.cache)
    with FakeServer(Text("ANSWER: one")) as server:
        _, err = say("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "r")
    said = "Unrated: 3 answered items, whose gold answer is none of the choices"
    assert said in err and said in say("score", "r")[1]
    listed = say("runs")[0].splitlines()
    assert listed[0].split()[6:8] == ["answered", "unrated"] and listed[1].split()[6:8] == ["4", "3"]


def test_stop_texts_arrive_and_a_resume_remembers_them(say: Say, tiny_dataset: TinyDataset) -> None:
    tiny_dataset(n=2)
    with FakeServer(Text("ANSWER: one")) as server:
        ask = ("eval", "--dataset", "tiny", "--endpoint", server.base_url, "--run-id", "r")
        say(*ask, "--stop", "END", "--stop", "###", "--no-repeat-ngram-size", "5")
        assert all((b["stop"], b["no_repeat_ngram_size"]) == (["END", "###"], 5) for b in chats(server)[-2:])
        say("eval", "--run-id", "r", "--resume")


def test_a_model_that_nobody_serves_is_refused_before_an_engine_starts(program: Program) -> None:
    done = program("eval", "--model", "Qwen/Qwen3-Omni", status=1)
    assert "Qwen/Qwen3-Omni" in done.stderr and "--endpoint" in done.stderr
    assert "starting" not in done.stderr


@pytest.mark.parametrize("option", ["--top-p=0", "--repetition-penalty=0", "--temperature=-1", "--samples=0"])
def test_an_impossible_setting_is_a_mistyped_command(program: Program, option: str) -> None:
    assert option.split("=")[0] in program("eval", option, status=2).stderr


def test_eval_without_an_endpoint_starts_the_engine_says_so_and_leaves_none_behind(
    program: Program, workspace: Workspace
) -> None:
    done = program(
        "eval", "--limit", "8", "--run-id", "embedded", "--max-tokens", "400", "--json", seconds=280
    )
    report = strict_json(done.stdout)
    assert (report["n"], report["answered"]) == (8, 8)
    assert "starting the embedded Pocket Listener" in done.stderr
    assert "stopped" in done.stderr
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(workspace.root) in (process.info["cmdline"] or ())
    ]
    assert left == []
    record = strict_json(program("show", "embedded", "--json").stdout)
    assert record["endpoint"]["model"] == "pocket-listener"
