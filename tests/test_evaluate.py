"""One run from start to end against a server on loopback that answers, breaks, stops and is killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from audioreason import evaluate as evaluate_module
from audioreason.errors import EndpointError, ItemError, PromptError, RunError, UnansweredError
from audioreason.evaluate import evaluate, read_item_ids, render_for
from audioreason.inference.endpoint import Endpoint, Sampling
from audioreason.inference.pace import read_width
from audioreason.inference.runner import Retries
from audioreason.inference.seeds import sample_seed
from audioreason.items import Dataset, load_dataset
from audioreason.items.splits import split_items
from audioreason.items.variants import Ablation
from audioreason.progress import Quiet
from audioreason.prompts import Prompt
from audioreason.runs import Prediction, load_record, run_folder, run_status, score_report
from audioreason.runs.storage import merged_predictions, read_jsonl
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Raw, Reply, Request, Status, Text, closed_port

PROMPT = Prompt(
    name="plain",
    system="Listen.",
    user="{{ question }}{% for c in choices %}\n({{ loop.index | letter }}) {{ c }}{% endfor %}",
)
FAST = Sampling(temperature=0.1, max_tokens=50)


def echo(request: Request) -> Text:
    """An answer that only the question and the seed decide, so that runs can be compared word by word."""
    number = int(request.text.split("clip ")[1].split("?")[0])
    choice = ("one", "two", "three", "four")[(number + number // 5) % 4]
    return Text(f"<think>seed {request.seed}</think>\nANSWER: {choice}")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(echo) as running:
        yield running


def predictions(workspace: Workspace, run_id: str) -> list[Prediction]:
    folder = run_folder(workspace, run_id)
    return list(merged_predictions(folder, [p.key for _, p in read_jsonl(folder / "predictions.jsonl") if p]))


def texts(workspace: Workspace, run_id: str) -> list[tuple[str, int, int | None, str | None]]:
    """What a run says, without times."""
    return [(p.item_id, p.sample, p.seed, p.content) for p in predictions(workspace, run_id)]


class Watch(Quiet):
    """Remembers phases and counts; asks for a stop once `stop_at` predictions are done."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.phases: list[tuple[str, int | None]] = []
        self.counts: dict[str, int] = {}
        self._stop_at = stop_at

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append((name, total))

    def done(self, count: int, note: str = "") -> None:
        name = self.phases[-1][0]
        self.counts[name] = count
        if self._stop_at is not None and name == "generate" and count >= self._stop_at:
            self.stop()


def test_a_run_from_start_to_end(workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer) -> None:
    data = tiny_dataset(n=8)
    watch = Watch()
    record = evaluate(workspace, data, PROMPT, server.endpoint, FAST, seed=3, progress=watch)
    assert run_status(run_folder(workspace, record.run_id)) == "finished"
    assert "-plain-" in record.run_id
    assert load_record(workspace, record.run_id) == record
    assert record.prompt is not None
    assert (record.prompt.system, record.prompt.user) == (PROMPT.system, PROMPT.user)
    assert record.endpoint is not None
    assert (record.endpoint.model, record.endpoint.transport) == ("fake-model", "input_audio")
    assert {"python", "audioreason", "duckdb"} <= record.packages.keys()
    assert watch.phases == [("prepare", 8), ("generate", 8), ("score", 8)]
    assert watch.counts == {"prepare": 8, "generate": 8, "score": 8}
    found = predictions(workspace, record.run_id)
    assert [p.seed for p in found] == [sample_seed(3, item.id, 0) for item in data.items]
    assert all(p.completion_tokens and p.seconds and p.attempt == 1 for p in found)
    assert score_report(workspace, record.run_id)["strict"]["correct"] == 5  # items 5 to 7 are off by one
    assert len(server.clips) == 8, "every request carried its clip"
    assert list((run_folder(workspace, record.run_id) / "derived").glob("scores@*.parquet"))


def test_model_and_transport_are_found_once_and_recorded(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=3)

    def reply(request: Request) -> Reply:
        return echo(request) if "clip" in request.text else Text("yes")

    with FakeServer(reply, allowed=[workspace.root]) as server:
        endpoint = Endpoint(name="fake", base_url=server.base_url)
        record = evaluate(workspace, data, PROMPT, endpoint, FAST)
    assert record.endpoint is not None
    assert (record.endpoint.model, record.endpoint.transport) == ("fake-model", "file")
    parts = [part for body in server.bodies[-3:] for part in body["messages"][-1]["content"]]
    urls = [part["audio_url"]["url"] for part in parts if part["type"] == "audio_url"]
    assert len(urls) == 3
    assert all("/cache/clips/" in url for url in urls)


def test_split_limit_and_samples(workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer) -> None:
    data = tiny_dataset(n=8, kind="benchmark")
    sampling = Sampling(samples=3, max_tokens=50)
    record = evaluate(
        workspace, data, PROMPT, server.endpoint, sampling, split="explore", limit=2, run_id="r"
    )
    assert (record.split, record.limit, record.n_items, record.samples) == ("explore", 2, 2, 3)
    found = predictions(workspace, "r")
    assert [p.sample for p in found] == [0, 1, 2, 0, 1, 2]
    assert len({p.seed for p in found}) == 6
    assert score_report(workspace, "r", split="explore")["n"] == 2


def test_chosen_items_are_part_of_the_recipe(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    dataset = tiny_dataset(n=12, kind="benchmark")
    explore = [item.id for item in split_items(dataset, "explore")]
    chosen = [explore[4], explore[1], explore[1]]
    record = evaluate(
        workspace, dataset, PROMPT, server.endpoint, FAST, split="explore", item_ids=chosen, run_id="pins"
    )
    assert record.item_ids == tuple(sorted(set(chosen))) and record.n_items == 2
    stored = load_record(workspace, "pins")
    assert (stored.split, stored.dataset.size, stored.item_ids) == ("explore", 12, record.item_ids)
    assert {p.item_id for p in predictions(workspace, "pins")} == set(chosen)
    assert score_report(workspace, "pins")["n"] == 2
    again = partial(evaluate, workspace, dataset, PROMPT, server.endpoint, FAST, resume=True, run_id="pins")
    again(split="explore", item_ids=chosen)
    with pytest.raises(RunError, match=r"choice of items was 2 items \(\w{8}\) and is now unset"):
        again(split="explore")
    with pytest.raises(RunError, match="choice of items was 2 items"):
        again(split="explore", item_ids=explore[:2])


def test_items_that_are_not_there_are_named_before_anything_is_sent(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    dataset = tiny_dataset(n=12, kind="benchmark")
    sealed = split_items(dataset, "sealed")[0].id
    ask = partial(evaluate, workspace, dataset, PROMPT, server.endpoint, FAST, run_id="pins")
    with pytest.raises(ItemError, match=f"split explore of the dataset tiny has no item {sealed}"):
        ask(split="explore", item_ids=[sealed])
    with pytest.raises(ItemError, match="has no item nothing, nor 1 others"):
        ask(item_ids=["nothing", "others", sealed])
    with pytest.raises(ItemError, match="No item is named"):
        ask(item_ids=[])
    assert not server.requests and not run_folder(workspace, "pins").exists()


def test_a_taken_id_fails_before_the_server_is_asked(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    dataset = tiny_dataset(n=1)
    evaluate(workspace, dataset, PROMPT, server.endpoint, FAST, run_id="mine")
    nobody = Endpoint(name="nobody", base_url=f"http://127.0.0.1:{closed_port()}/v1", model="m")
    with pytest.raises(RunError, match="There is a run mine already"):
        evaluate(workspace, dataset, PROMPT, nobody, FAST, run_id="mine")


def test_item_ids_come_with_commas_or_from_a_file(tmp_path: Path) -> None:
    assert read_item_ids(" a-1, b ,,") == ("a-1", "b")
    assert read_item_ids("only") == ("only",)
    lines, listed = tmp_path / "ids.txt", tmp_path / "ids.json"
    lines.write_text("a-1\n\n b \n")
    listed.write_text('["a-1", "b"]')
    assert read_item_ids(str(lines)) == read_item_ids(str(listed)) == ("a-1", "b")
    for mark in ("utf-8-sig", "utf-16"):  # as Windows' Notepad saves it
        lines.write_bytes("a-1\r\nb\r\n".encode(mark))
        assert read_item_ids(str(lines)) == ("a-1", "b")
    listed.write_text("[1, 2]")
    with pytest.raises(ItemError, match="cannot be read as item ids"):
        read_item_ids(str(listed))


def test_items_without_a_clip_are_errors_unless_text_is_allowed(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=5)
    (data.root / "audio" / "001.wav").unlink()
    (data.root / "audio" / "002.wav").write_bytes(b"not sound")
    data = load_dataset(workspace, "tiny")
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r")
    assert [p.error_kind for p in predictions(workspace, "r")][:3] == [None, "no_clip", "bad_clip"]
    assert len(server.requests) == 3
    report = score_report(workspace, "r")
    assert (report["answered"], report["errors"]) == (3, 2)

    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="s", allow_missing_audio=True)
    assert [p.error_kind for p in predictions(workspace, "s")][:3] == [None, None, "bad_clip"]


def test_a_clip_outside_its_dataset_is_an_error_of_that_item(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=2)
    items = (data.items[0], data.items[1].model_copy(update={"audio_path": "../../secret.wav"}))
    outside = Dataset(data.root, data.info, items, data.cache)
    evaluate(workspace, outside, PROMPT, server.endpoint, FAST, run_id="r")
    assert [p.error_kind for p in predictions(workspace, "r")] == [None, "bad_clip"]


def test_a_prompt_that_cannot_be_rendered_sends_nothing(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=2)
    broken = PROMPT.model_copy(update={"user": "{{ nonsense }}"})
    with pytest.raises(PromptError, match="nonsense"):
        evaluate(workspace, data, broken, server.endpoint, FAST, run_id="r")
    assert server.requests == []
    assert not run_folder(workspace, "r").exists()
    assert "How many tones" in render_for(PROMPT, data.items[0]).user


def test_a_server_that_is_not_there_leaves_no_run(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset(n=2)
    endpoint = Endpoint(name="gone", base_url=f"http://127.0.0.1:{closed_port()}/v1")
    with pytest.raises(EndpointError, match="cannot be reached"):
        evaluate(workspace, data, PROMPT, endpoint, FAST, run_id="r", server_wait_seconds=0)
    assert not run_folder(workspace, "r").exists()


@pytest.mark.parametrize("first", [Status(503), Status(429), Status(500), Raw(b"oops")])
def test_a_fault_of_the_first_answers_is_not_the_end(
    workspace: Workspace, tiny_dataset: TinyDataset, first: Reply
) -> None:
    data = tiny_dataset(n=2)

    def reply(request: Request) -> Reply:  # the probe without a clip, then the one with it
        return first if request.number in (1, 3) else echo(request) if "clip" in request.text else Text("yes")

    with FakeServer(reply, allowed=[workspace.clips]) as server:
        endpoint = Endpoint(name="fake", base_url=server.base_url)
        record = evaluate(workspace, data, PROMPT, endpoint, FAST, run_id="r")
    assert record.endpoint is not None
    assert (record.endpoint.model, record.endpoint.transport) == ("fake-model", "file")
    assert [p.error_kind for p in predictions(workspace, "r")] == [None, None]


def test_a_server_that_starts_late_is_waited_for(
    workspace: Workspace, tiny_dataset: TinyDataset, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiny_dataset(n=2)
    late = FakeServer(lambda one: echo(one) if "clip" in one.text else Text("yes"), port=closed_port())
    endpoint = Endpoint(name="fake", base_url=f"http://127.0.0.1:{late._wanted_port}/v1")
    timer = threading.Timer(1.0, late.__enter__)
    timer.start()
    try:
        evaluate(workspace, data, PROMPT, endpoint, FAST, run_id="r")
    finally:
        timer.join()
        late.close()
    assert [p.error_kind for p in predictions(workspace, "r")] == [None, None]
    assert "cannot be reached" in caplog.text
    assert "Asking again for 60 s at most" in caplog.text


def test_a_name_that_is_unknown_is_not_waited_for(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    endpoint = Endpoint(name="typo", base_url="http://no-such-host.invalid:8000/v1")
    with pytest.raises(EndpointError, match="is not known"):
        evaluate(workspace, tiny_dataset(n=1), PROMPT, endpoint, FAST, run_id="r")


@pytest.mark.parametrize("ablation", [None, "silence", "noise", "swap", "text"])
def test_every_clip_that_is_sent_is_one_that_the_server_may_read(
    workspace: Workspace, tiny_dataset: TinyDataset, ablation: Ablation | None
) -> None:
    data = tiny_dataset(n=4)
    with FakeServer(echo, allowed=[workspace.clips], hears=["file"]) as server:
        endpoint = server.endpoint.model_copy(update={"transport": "file"})
        evaluate(workspace, data, PROMPT, endpoint, FAST, run_id="r", ablation=ablation, permutation=1)
        assert len(server.clips) == (0 if ablation == "text" else 4)
    assert [p.error_kind for p in predictions(workspace, "r")] == [None] * 4


def test_a_control_that_is_refused_is_an_error_that_names_the_folder(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=12)
    with FakeServer(echo, allowed=[workspace.root / "elsewhere"]) as server:
        endpoint = server.endpoint.model_copy(update={"transport": "file"})
        with pytest.raises(UnansweredError) as stopped:
            evaluate(workspace, data, PROMPT, endpoint, FAST, run_id="r", ablation="silence")
    sentence = str(stopped.value)
    assert sentence.count("--allowed-local-media-path " + str(workspace.clips)) == 1
    assert "0 of 12 predictions have an answer" in sentence
    assert "audioreason eval --run-id r --resume" in sentence
    assert run_status(run_folder(workspace, "r")) == "stopped"


def test_less_than_half_answered_is_an_error_and_a_few_refused_are_not(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=6)
    bad = {"clip 1?", "clip 2?", "clip 3?", "clip 4?"}

    def reply(request: Request) -> Reply:
        return Status(400, "too loud") if any(word in request.text for word in bad) else echo(request)

    with FakeServer(reply) as server:
        with pytest.raises(UnansweredError, match=r"2 of 6 predictions have an answer.*too loud"):
            evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r")
        assert run_status(run_folder(workspace, "r")) == "stopped"
        bad -= {"clip 1?", "clip 2?"}
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r", resume=True)
    assert run_status(run_folder(workspace, "r")) == "finished"
    assert score_report(workspace, "r")["answered"] == 4


def test_what_a_server_bore_is_where_the_next_run_starts(
    workspace: Workspace, tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "Retries", partial(Retries, base=0.01, cap=0.05))
    data = tiny_dataset(n=40)
    with FakeServer(lambda request: Text(echo(request).content, after=0.02), capacity=4) as server:
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="a")
        first = read_width(workspace.cache, f"{server.base_url} fake-model")
        assert first is not None
        assert first < 40
        refused = server.refused
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="b")
        assert server.refused - refused < refused


def test_a_servers_faults_are_errors_not_wrong_answers_and_are_retried_on_resume(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=8)
    broken = {
        "clip 1?": Status(400, "no"),
        "clip 2?": Text(None, reasoning="I hear two", finish_reason="length"),
        "clip 4?": Text(None),
    }

    def reply(request: Request) -> Reply:
        return next((said for words, said in broken.items() if words in request.text), None) or echo(request)

    with FakeServer(reply) as server:
        record = evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r")
        report = score_report(workspace, "r")
        assert report["outcomes"]["server_error"] == 1
        assert report["outcomes"]["truncated"] == 1
        assert (report["n"], report["answered"], report["errors"]) == (8, 7, 1)
        assert report["strict"]["accuracy"] == report["strict"]["correct"] / 7
        assert report["strict"]["accuracy_all"] == report["strict"]["correct"] / 8
        asked = len(server.requests)
        broken.clear()
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id=record.run_id, resume=True)
        assert len(server.requests) == asked + 1, "only the error was asked again"
    assert [p.error_kind for p in predictions(workspace, "r")] == [None] * 8
    assert score_report(workspace, "r")["answered"] == 8


def test_a_server_that_dies_in_the_middle_leaves_errors_that_resume_on_another_port(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=12)
    server = FakeServer()
    closers: list[threading.Thread] = []

    def reply(request: Request) -> Text:
        if request.number == 5:
            closers.append(threading.Thread(target=server.close))
            closers[0].start()
        return echo(request)

    server.reply = reply
    with server:
        with pytest.raises(UnansweredError, match=r"of 12 predictions .*--run-id r --resume") as stopped:
            evaluate(
                workspace, data, PROMPT, server.endpoint, FAST, run_id="r", concurrency=1,
                server_wait_seconds=0.5,
            )  # fmt: skip
        closers[0].join()
    assert run_status(run_folder(workspace, "r")) == "stopped"
    assert 4 <= stopped.value.answered <= 5
    report = score_report(workspace, "r")
    assert report["answered"] + report["errors"] == 12
    assert report["errors"] >= 7
    assert report["strict"]["accuracy"] == report["strict"]["correct"] / report["answered"]
    with FakeServer(echo) as other:
        assert other.port != server.port
        evaluate(workspace, data, PROMPT, other.endpoint, FAST, run_id="r", resume=True)
        evaluate(workspace, data, PROMPT, other.endpoint, FAST, run_id="whole")
    assert texts(workspace, "r") == texts(workspace, "whole")


def test_a_server_that_is_only_ever_busy_is_given_up_in_a_sentence_and_the_run_resumes(
    workspace: Workspace, tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "Retries", partial(Retries, base=0.01, patience=0.1))
    data = tiny_dataset(n=4)
    with FakeServer(echo, capacity=0) as server:
        with pytest.raises(RunError, match=r"0 of 4 predictions .*--run-id r --resume"):
            evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r")
        assert run_status(run_folder(workspace, "r")) == "stopped"
        assert score_report(workspace, "r")["errors"] == 4
        server.capacity = None
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r", resume=True)
    assert score_report(workspace, "r")["answered"] == 4


def test_a_server_whose_probe_fails_is_given_a_chance(
    workspace: Workspace, tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "Retries", partial(Retries, base=0.01))
    data = tiny_dataset(n=2)

    def reply(request: Request) -> Reply:
        return echo(request) if "clip" in request.text else Raw(b"oops")

    with FakeServer(reply) as server:
        endpoint = Endpoint(name="fake", base_url=server.base_url, model="fake-model")
        record = evaluate(workspace, data, PROMPT, endpoint, FAST, run_id="r")
    assert record.endpoint is not None
    assert record.endpoint.transport == "input_audio"
    assert [p.error_kind for p in predictions(workspace, "r")] == [None, None]


def test_a_stop_leaves_a_run_that_resumes_to_the_same_as_an_undisturbed_one(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset(n=24)

    def reply(request: Request) -> Text:
        return Text(echo(request).content, after=0.05)

    with FakeServer(reply) as server:
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="whole", seed=5)
        asked = len(server.requests)
        watch = Watch(stop_at=4)
        stopped = evaluate(
            workspace,
            data,
            PROMPT,
            server.endpoint,
            FAST,
            run_id="cut",
            seed=5,
            concurrency=2,
            progress=watch,
        )
        assert run_status(run_folder(workspace, "cut")) == "stopped"
        done = len(texts(workspace, "cut"))
        assert 4 <= done < 24
        assert ("score", 24) not in watch.phases
        again = Watch()
        evaluate(
            workspace, data, PROMPT, server.endpoint, FAST, run_id="cut", seed=5, resume=True, progress=again
        )
        assert again.phases[0] == ("prepare", 24 - done)
        assert again.counts["generate"] == 24
        assert len(server.requests) - asked < 24 + 4, "what was answered is not asked again"
    assert stopped.run_id == "cut"
    assert texts(workspace, "cut") == texts(workspace, "whole")
    assert run_status(run_folder(workspace, "cut")) == "finished"


def test_a_stop_before_the_first_request_leaves_everything_pending(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=2)
    quiet = Quiet()
    quiet.stop()
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r", progress=quiet)
    assert server.requests == []
    assert run_status(run_folder(workspace, "r")) == "stopped"
    assert predictions(workspace, "r") == []


def test_resume_needs_a_name_a_run_and_the_same_recipe(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=2)
    with pytest.raises(RunError, match="must be named"):
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, resume=True)
    with pytest.raises(RunError, match="There is no run 'r'"):
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r", resume=True)
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r")
    with pytest.raises(RunError, match="There is a run r already"):
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="r")
    other = PROMPT.model_copy(update={"system": "Listen well."})
    with pytest.raises(RunError, match="prompt version was"):
        evaluate(workspace, data, other, server.endpoint, FAST, run_id="r", resume=True)
    with pytest.raises(RunError, match=r"temperature was 0\.1 and is now 0\.5"):
        evaluate(workspace, data, PROMPT, server.endpoint, Sampling(temperature=0.5, max_tokens=50),
                 run_id="r", resume=True)  # fmt: skip
