"""Model servers as jobs: health, endpoint, restart, the end of the whole group, vLLM's preflight."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from audioreason.engines.gpus import Gpu
from audioreason.errors import JobError
from audioreason.inference.endpoint import default_endpoint, load_endpoints
from audioreason.jobs import actions
from audioreason.jobs import rows as table
from audioreason.jobs.kinds.serve import ServeSpec
from audioreason.jobs.supervise import answers, free_port
from audioreason.jobs.vllm import VllmForm, check_start, preflight, vllm_command
from audioreason.jobs.watch import job, tail_log
from audioreason.workspace import Workspace
from tests.jobs.helpers import gone, until, until_state

H100 = Gpu("0", "NVIDIA H100", 81_559, 600)


@pytest.fixture
def fake(fake_vllm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake vllm's folder, on a machine with one GPU."""
    monkeypatch.setenv("AUDIOREASON_GPUS", "1")
    return fake_vllm


def serve(workspace: Workspace, **values: object) -> str:
    return actions.submit(
        workspace, "serve", {"engine": "vllm", "model": "fake/model", "name": "fake", **values}
    )


def grandchild(home: Path) -> int:
    return int((home / "grandchild").read_text())


def test_a_server_becomes_an_endpoint_when_healthy_and_leaves_nothing_when_stopped(
    workspace: Workspace, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-test-4b7d0f7d5f3a4e6c"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    job_id = serve(workspace)
    until(lambda: job(workspace, job_id).ready)
    (endpoint,) = load_endpoints(workspace)
    assert (endpoint.name, endpoint.model) == ("fake", "model")
    assert default_endpoint(workspace) == endpoint and answers(f"{endpoint.root_url}/health")
    assert job(workspace, job_id).gpus == ("0",)
    (words,) = [json.loads(line) for line in (fake / "starts").read_text().splitlines()]
    assert words[:2] == ["serve", "fake/model"]
    assert words[words.index("--allowed-local-media-path") + 1] == str(workspace.cache / "clips")
    child = grandchild(fake)
    assert not gone(child)
    actions.stop(workspace, job_id)
    until_state(workspace, job_id, "stopped")
    assert gone(child) and not answers(f"{endpoint.root_url}/health")
    assert load_endpoints(workspace) == () and default_endpoint(workspace) is None
    lines = tail_log(workspace, job_id, level="warning", search="[vllm]")
    assert [line.level for line in lines] == ["WARNING"] and "[removed: value of OPENAI_API_KEY]" in lines[
        0
    ].text
    assert not [p for p in workspace.root.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]


def test_a_server_gets_a_key_of_its_own_that_is_neither_shown_nor_on_its_command_line(
    workspace: Workspace, fake: Path
) -> None:
    job_id = serve(workspace)
    until(lambda: job(workspace, job_id).ready)
    (endpoint,) = load_endpoints(workspace)
    key = endpoint.api_key()
    assert key is not None and len(key) >= 32 and (fake / "key").read_text() == key
    assert endpoint.api_key_file is not None and endpoint.api_key_file.stat().st_mode & 0o777 == 0o600
    assert key not in (fake / "starts").read_text()
    holds = [p for p in workspace.root.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
    assert holds == [endpoint.api_key_file]
    assert tail_log(workspace, job_id, search="own key [removed: value of AUDIOREASON_ENGINE_KEY]")
    actions.stop(workspace, job_id)
    until_state(workspace, job_id, "stopped")
    assert not endpoint.api_key_file.exists()


def test_a_server_that_crashes_is_started_again_at_the_same_address(workspace: Workspace, fake: Path) -> None:
    (fake / "fail").write_text("2")
    job_id = serve(workspace)
    until(lambda: job(workspace, job_id).ready)
    assert len((fake / "starts").read_text().splitlines()) == 3
    (endpoint,) = load_endpoints(workspace)
    child = grandchild(fake)
    (fake / "crash").touch()
    until(lambda: len((fake / "starts").read_text().splitlines()) == 4)
    until(lambda: job(workspace, job_id).ready)
    assert gone(child), "what the crashed server left behind would keep its GPU memory"
    assert load_endpoints(workspace) == (endpoint,)
    names = [phase.name for phase in job(workspace, job_id).phases]
    assert names == [
        "start", "loading model", "wait 1 s to restart", "loading model (1 restart)", "wait 2 s to restart",
        "loading model (2 restarts)", "serving", "wait 4 s to restart", "loading model (3 restarts)",
        "serving",
    ]  # fmt: skip
    assert tail_log(workspace, job_id, search="not enough memory")


def test_a_server_that_never_comes_up_is_given_up_with_its_last_words(
    workspace: Workspace, fake: Path
) -> None:
    (fake / "fail").write_text("99")
    job_id = serve(workspace, attempts=2)
    view = until_state(workspace, job_id, "failed")
    assert "vLLM ended with status 1 before it could serve fake/model (after 1 restart)" in view.reason
    assert "ValueError: not enough memory for one block" in view.reason
    assert load_endpoints(workspace) == ()


def test_a_worker_killed_with_its_server_running_leaves_no_orphan(workspace: Workspace, fake: Path) -> None:
    (fake / "deaf").touch()
    job_id = serve(workspace)
    until(lambda: job(workspace, job_id).ready)
    endpoint = load_endpoints(workspace)[0]
    (row,) = table.peek(workspace)
    assert default_endpoint(workspace) == endpoint
    os.kill(row.pid or 0, signal.SIGKILL)
    # nobody has looked at the jobs yet
    until(lambda: gone(grandchild(fake)), what="vLLM stayed behind")
    assert not answers(f"{endpoint.root_url}/health")
    assert load_endpoints(workspace) == () and default_endpoint(workspace) is None
    until_state(workspace, job_id, "crashed")
    actions.resume(workspace, job_id)
    until(lambda: job(workspace, job_id).ready)
    assert load_endpoints(workspace)[0].base_url == endpoint.base_url
    actions.stop(workspace, job_id, now=True)
    until_state(workspace, job_id, "stopped")
    assert gone(grandchild(fake))


@pytest.mark.slow
def test_the_local_engine_as_a_job_answers_an_evaluation(workspace: Workspace) -> None:
    server = actions.submit(workspace, "serve", {"name": "pocket"})
    asked = actions.submit(
        workspace, "evaluate", {"endpoints": ["pocket"], "limit": 3, "max_tokens": 200}, after=[server]
    )
    view = until_state(workspace, asked, "finished", "failed", seconds=180)
    assert view.state == "finished", view.reason
    assert view.result is not None and view.result["answered"] == 3
    actions.stop(workspace, server)
    until_state(workspace, server, "stopped")


def test_the_command_is_a_list_and_never_opens_the_disk(workspace: Workspace, fake: Path) -> None:
    form = VllmForm(
        model="Qwen/Q; rm -rf /",
        tensor_parallel=2,
        data_parallel=4,
        reasoning_parser="qwen3",
        quantisation="fp8",
        extra_args=["--enforce-eager"],
    )
    command = vllm_command(form, "q", 8000, workspace.cache / "clips")
    assert command[1:3] == ["serve", "Qwen/Q; rm -rf /"]
    text = " ".join(command)
    for words in (
        "--host 127.0.0.1 --port 8000",
        "--tensor-parallel-size 2 --data-parallel-size 4",
        "--reasoning-parser qwen3 --quantization fp8",
        '--limit-mm-per-prompt {"audio":1,"image":1,"video":1} --enforce-eager',
        "--max-model-len 16384 --gpu-memory-utilization 0.9 --dtype auto",
    ):
        assert words in text
    with pytest.raises(JobError, match="whole disk"):
        vllm_command(form, "q", 8000, Path("/"))
    for word in ("--allowed-local-media-path=/", "--allowed-local", "--trust-remote-code", "--host=0.0.0.0"):
        with pytest.raises(ValidationError, match="is not taken"):
            VllmForm(model="m", extra_args=[word])


@pytest.mark.parametrize(
    "words",
    [
        ["--tool-parser-plugin", "evil.py"],
        ["--reasoning-parser-plugin=evil.py"],
        ["--middleware", "evil.Middleware"],
        ["--worker-extension-cls", "evil.Worker"],
        ["--worker-cls=evil.Worker"],
        ["--logits-processors", "evil:Processor"],
        ["--allowed-origins", '["*"]'],
        ["--uds", "/tmp/open"],
        ["--speculative-config", '{"model": "m", "trust_remote_code": true}'],
        ["--speculative-config", '{"method": "custom_class", "model": "evil.Proposer"}'],
        ["--speculative-config.trust_remote_code", "true"],
        ["--compilation-config", '{"backend": "evil.compile"}'],
        ["--hf-overrides", "{}"],
        ["--load-format", "pt"],
        ["--distributed-executor-backend", "evil.Executor"],
        ["--tool_parser_plugin", "evil.py"],
        ["--tool-parser-pl", "evil.py"],
        ["--an-option-of-tomorrow", "x"],
        ["another/model"],
        ["--enforce-eager", "another/model"],
        ["--"],
        ["-tp", "2"],
    ],
)
def test_arguments_that_load_code_or_open_the_server_are_refused(words: list[str]) -> None:
    with pytest.raises(ValidationError, match="is not taken"):
        VllmForm(model="m", extra_args=words)


def test_arguments_that_set_speed_and_memory_are_passed_on() -> None:
    words = ["--enforce-eager", "--max-num-seqs", "64", "--max_num_batched_tokens=8192", "-O2", "--seed=-1"]
    words += ["--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}']
    assert VllmForm(model="m", extra_args=words).extra_args == words
    for wrong in (["--max-num-seqs"], ["--max-num-seqs", "many"], ["--enforce-eager=1"]):
        with pytest.raises(ValidationError):
            VllmForm(model="m", extra_args=wrong)
    for field in ("model", "reasoning_parser"):
        with pytest.raises(ValidationError, match="does not begin with a dash"):
            VllmForm(**{"model": "m", field: "--middleware=evil"})  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["--api-key", "--api-key=sk-1234567890", "--api_key", "--hf-token=hf_123"])
def test_a_key_among_the_arguments_is_refused_without_repeating_it(workspace: Workspace, word: str) -> None:
    with pytest.raises(JobError) as refused:
        serve(workspace, extra_args=[word, "sk-1234567890"])
    assert "would stand on a command line and in a file" in str(refused.value)
    assert "Value error" not in str(refused.value) and "1234567890" not in str(refused.value)
    assert not list(workspace.root.glob("jobs/*"))


@pytest.fixture
def model(tmp_path: Path) -> Callable[[float], Path]:
    """A folder like Qwen3-Omni's with sparse weights of so many GiB."""

    def build(gib: float) -> Path:
        folder = tmp_path / f"model-{gib}"
        folder.mkdir()
        text = {"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128}
        (folder / "config.json").write_text(json.dumps({"thinker_config": {"text_config": text}}))
        with (folder / "model.safetensors").open("wb") as weights:
            weights.truncate(int(gib * 2**30))
        return folder

    return build


def test_preflight_shows_its_arithmetic(
    workspace: Workspace, fake: Path, model: Callable[[float], Path]
) -> None:
    folder = model(59.3)

    def memory(gpus: list[Gpu], **values: object) -> tuple[str, str]:
        checks = preflight(VllmForm(model=str(folder), **values), workspace, lambda: gpus)
        check = next(check for check in checks if check.name == "GPU memory")
        return check.state, check.sentence

    state, sentence = memory([H100])
    # 16,384 tokens x 2 x 48 layers x 4 heads x 128 x 2 bytes = 1.5 GiB
    assert (
        sentence == "Weights 59.3 + cache of 16,384 tokens 1.5 + work 3 = 63.8 GiB on each GPU;"
        " vLLM takes 0.9 x 79.6 = 71.7 GiB, and 79.1 are free."
    )
    assert state == "ok"
    assert memory([H100], max_length=200_000)[0] == "fail"
    assert memory([H100], max_length=200_000, quantisation="fp8")[0] == "ok"
    assert memory([Gpu("0", "busy", 81_559, 40_000)])[0] == "fail"
    state, sentence = memory([H100], tensor_parallel=2)
    assert state == "fail" and sentence == "2 (tensor) x 1 (data) = 2 GPUs needed, 1 there."
    state, sentence = memory([H100, H100], tensor_parallel=2)
    assert state == "ok" and "Weights 59.3 / 2 GPUs + cache of 16,384 tokens 0.8 + work 3" in sentence
    assert memory([])[0] == "fail"


def test_preflight_says_what_is_missing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOREASON_VLLM", "/nowhere/vllm")
    checks = {check.name: check for check in preflight(VllmForm(model="/no/model"), workspace, list)}
    assert checks["vLLM"].state == "fail" and "/nowhere/vllm" in checks["vLLM"].sentence
    assert checks["model"].state == "fail" and checks["disk"].state in ("ok", "warn")
    plan = actions.plan(workspace, "serve", {"engine": "vllm", "model": "/no/model"})
    assert plan.checks and plan.command.startswith("audioreason jobs submit serve --set model=/no/model")


def test_preflight_sees_a_taken_port(workspace: Workspace) -> None:
    import socket

    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        checks = {check.name: check for check in preflight(VllmForm(model="m", port=port), workspace, list)}
        assert checks["port"].state == "fail" and str(port) in checks["port"].sentence
        local = actions.plan(workspace, "serve", {"port": port})
        assert [check.state for check in local.checks] == ["ok", "fail"]


def test_a_server_takes_no_cpu_slot_so_that_those_who_ask_it_can_run() -> None:
    from audioreason.jobs.kinds.serve import KIND

    assert KIND.needs(ServeSpec()).cpus == 0
    assert KIND.needs(ServeSpec(engine="vllm", tensor_parallel=2, data_parallel=4)).gpus == 8


def test_a_taken_port_is_refused_before_anything_is_loaded(workspace: Workspace, fake: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(JobError, match=f"Port {port} is in use"):
            check_start(VllmForm(model=str(fake), port=port))
