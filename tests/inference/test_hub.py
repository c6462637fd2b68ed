"""Generations outlive whoever started them, can be found and stopped, and are kept however they end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from audioreason.errors import ItemError, WorkspaceError
from audioreason.inference.client import Timeouts
from audioreason.inference.endpoint import Sampling
from audioreason.inference.hub import GenerationHub, GenerationSpec, Snapshot, get_hub
from tests.servers import FakeServer, Half, Hang, Reply, Status, Text
from tests.servers import Request as Arrived

SLOW = Text("a b c d e f g h i j", chunks=10, pause=0.2)


@pytest.fixture(scope="module")
def hub() -> Iterator[GenerationHub]:
    hub = GenerationHub()
    yield hub
    hub.close()


def spec(server: FakeServer, text: str = "hello", **options: Any) -> GenerationSpec:
    messages = [{"role": "user", "content": text}]
    return GenerationSpec(server.endpoint, messages, Sampling(), seed=7, **options)


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def seen(hub: GenerationHub, generation_id: str) -> Snapshot:
    snapshot = hub.snapshot(generation_id)
    assert snapshot is not None
    return snapshot


def test_whole_generation_with_its_timings(hub: GenerationHub) -> None:
    with FakeServer(Text("ANSWER: two claps", reasoning="I hear", chunks=3, pause=0.05, after=0.1)) as server:
        final = hub.wait(hub.start(spec(server, meta={"item": "a"})), 10)
    assert final is not None
    assert (final.state, final.text, final.reasoning) == ("done", "ANSWER: two claps", "I hear")
    assert (final.finish_reason, final.tokens, final.meta["item"], final.seed) == ("stop", 5, "a", 7)
    assert final.first_token is not None
    assert 0.1 <= final.first_token < final.seconds
    assert final.tokens_per_second == pytest.approx(4 / (final.seconds - final.first_token))
    assert (final.error, final.problem) == (None, None)


def test_page_that_comes_back_finds_it_growing(hub: GenerationHub) -> None:
    with FakeServer(Text("a b c d e f g h", chunks=8, pause=0.05)) as server:
        ids: list[str] = []
        page = threading.Thread(target=lambda: ids.append(hub.start(spec(server))))
        page.start()
        page.join()  # the script run that started it is over
        until(lambda: len(seen(hub, ids[0]).text) > 2)
        early = seen(hub, ids[0])
        assert early.state == "streaming"
        final = hub.wait(ids[0], 5)
    assert final is not None
    assert final.text.startswith(early.text)
    assert early.text != final.text == "a b c d e f g h"


def test_stop_takes_less_than_a_second_and_keeps_the_text(hub: GenerationHub) -> None:
    kept: list[Snapshot] = []
    with FakeServer(SLOW) as server:
        generation_id = hub.start(spec(server), kept.append)
        until(lambda: bool(seen(hub, generation_id).text))
        start = time.monotonic()
        assert hub.stop(generation_id)
        final = hub.wait(generation_id, 5)
        assert time.monotonic() - start < 1
        until(lambda: server.in_flight == 0, 1)  # the server need not generate on
    assert final is not None
    assert (final.state, final.error) == ("stopped", None)
    assert final.text.startswith("a")
    assert [snapshot.state for snapshot in kept] == ["stopped"]
    assert not hub.stop(generation_id)


def test_stop_works_before_the_first_token(hub: GenerationHub) -> None:
    with FakeServer(Hang()) as server:
        generation_id = hub.start(spec(server))
        until(lambda: server.in_flight == 1)
        start = time.monotonic()
        hub.stop(generation_id)
        final = hub.wait(generation_id, 5)
        assert time.monotonic() - start < 1
    assert final is not None
    assert (final.state, final.text, final.first_token, final.tokens_per_second) == (
        "stopped",
        "",
        None,
        None,
    )


def test_stop_at_once_and_twice_is_still_one_end(hub: GenerationHub) -> None:
    ends: list[Snapshot] = []
    with FakeServer(SLOW) as server:
        ids = [hub.start(spec(server), ends.append) for _ in range(20)]
        for generation_id in ids:
            hub.stop(generation_id)
            hub.stop(generation_id)
        finals = [hub.wait(generation_id, 5) for generation_id in ids]
    assert {final.state for final in finals if final} == {"stopped"}
    assert sorted(end.id for end in ends) == sorted(ids)


def test_stop_does_not_interrupt_the_keeping(hub: GenerationHub) -> None:
    began, release = threading.Event(), threading.Event()

    def keep(_snapshot: Snapshot) -> None:
        began.set()
        release.wait(5)

    with FakeServer() as server:
        generation_id = hub.start(spec(server), keep)
        assert began.wait(5)
        assert not seen(hub, generation_id).finished  # nobody sees it finished before it is kept
        hub.stop(generation_id)
        release.set()
        final = hub.wait(generation_id, 5)
    assert final is not None
    assert final.state == "done"


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [(Half(chunks=2), "half_body", "one two th"), (Status(500), "http_500", ""), (Hang(), "timeout", "")],
)
def test_fault_is_one_sentence_beside_the_text_that_came(
    hub: GenerationHub, reply: Reply, kind: str, text: str
) -> None:
    with FakeServer(reply) as server:
        final = hub.wait(hub.start(spec(server, timeouts=Timeouts(1, 0.3, 3))), 5)
    assert final is not None
    assert (final.state, final.error_kind, final.text) == ("failed", kind, text)
    assert "fake (http://127.0.0.1" in str(final.error)


def test_endpoint_killed_in_the_middle_keeps_the_text(hub: GenerationHub) -> None:
    server = FakeServer(SLOW)
    with server:
        generation_id = hub.start(spec(server))
        until(lambda: bool(seen(hub, generation_id).text))
        server.close()
        final = hub.wait(generation_id, 5)
    assert final is not None
    assert (final.state, final.error_kind) == ("failed", "half_body")
    assert final.text.startswith("a")


def test_many_run_side_by_side(hub: GenerationHub) -> None:
    with FakeServer(lambda request: Text(request.text, chunks=4, pause=0.05)) as server:
        ids = [hub.start(spec(server, f"question {number}")) for number in range(16)]
        finals = [hub.wait(generation_id, 10) for generation_id in ids]
        assert server.most_in_flight >= 8
    assert [final.text for final in finals if final] == [f"question {number}" for number in range(16)]


def test_more_than_fit_wait_their_turn() -> None:
    hub = GenerationHub(at_once=2)
    with FakeServer(Text("a b", chunks=2, pause=0.1)) as server:
        ids = [hub.start(spec(server)) for _ in range(5)]
        until(lambda: server.in_flight == 2)
        assert seen(hub, ids[-1]).state == "queued"
        finals = [hub.wait(generation_id, 10) for generation_id in ids]
        assert server.most_in_flight == 2
    assert {final.state for final in finals if final} == {"done"}
    assert finals[-1] is not None
    assert finals[-1].waited > 0.1
    hub.close()


def test_only_the_latest_are_remembered_and_running_ones_always() -> None:
    hub = GenerationHub(keep=3)

    def answer(request: Arrived) -> Reply:
        return Hang() if request.text == "first" else Text()

    with FakeServer(answer) as server:
        first = hub.start(spec(server, "first"))
        for _ in range(8):
            hub.wait(hub.start(spec(server)), 5)
        assert len(hub.recent()) <= 3 + 2  # one runs, and the newest was finished after the last look
        assert seen(hub, first).state == "streaming"
        assert [snapshot.created for snapshot in hub.recent()] == sorted(
            (snapshot.created for snapshot in hub.recent()), reverse=True
        )
    assert hub.snapshot("never-was") is None
    hub.close()


def test_messages_are_built_late_and_their_failure_is_said(hub: GenerationHub) -> None:
    def broken() -> list[dict[str, Any]]:
        raise ItemError("The clip audio/3.wav is missing.")

    with FakeServer(lambda request: Text(request.text)) as server:
        good = GenerationSpec(server.endpoint, lambda: [{"role": "user", "content": "late"}], Sampling(), 7)
        bad = GenerationSpec(server.endpoint, broken, Sampling(), 7)
        first, second = hub.wait(hub.start(good), 5), hub.wait(hub.start(bad), 5)
    assert first is not None
    assert second is not None
    assert first.text == "late"
    assert (second.state, second.error_kind) == ("failed", "unbuildable")
    assert second.error == "The clip audio/3.wav is missing."


def test_generation_that_could_not_be_kept_says_so_and_is_not_lost(hub: GenerationHub) -> None:
    def full(_snapshot: Snapshot) -> None:
        raise WorkspaceError("The disk is full.")

    with FakeServer(Text("answer")) as server:
        final = hub.wait(hub.start(spec(server), full), 5)
    assert final is not None
    assert (final.state, final.text) == ("done", "answer")
    assert "The disk is full." in str(final.problem)


def test_process_has_one_hub() -> None:
    assert get_hub() is get_hub()


def test_process_ends_although_its_hub_streams() -> None:
    with FakeServer(Hang()) as server:
        code = (
            "import time\n"
            "from audioreason.inference.endpoint import Endpoint, Sampling\n"
            "from audioreason.inference.hub import GenerationSpec, get_hub\n"
            f"endpoint = Endpoint(name='x', base_url='{server.base_url}', model='fake-model')\n"
            "generation_id = get_hub().start(GenerationSpec(endpoint, [], Sampling(), 1))\n"
            "while get_hub().snapshot(generation_id).state != 'streaming': time.sleep(0.01)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], timeout=20, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
