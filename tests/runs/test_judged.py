"""Replies that could not be read: listed, read by a judge alone, counted apart."""

from __future__ import annotations

import pytest

from audioreason.errors import RunError
from audioreason.runs import judge_unread, judged, judged_report, score_report, unread
from audioreason.workspace import Workspace
from tests.challenge.helpers import answered_run, judged_dataset
from tests.servers import FakeServer, Request, Status, Text

REPLIES = ["ANSWER: yes", "Either yes or no.", "Some words about a bell", "Indeed it was so."]


@pytest.fixture
def run(workspace: Workspace) -> str:
    return answered_run(workspace, judged_dataset(workspace), REPLIES)


def judge(request: Request) -> Text:
    """Reads a yes in one reply, nothing in another, and nonsense in the third."""
    said = "Indeed" in request.text, "Either" in request.text
    return Text({(True, False): '{"choice": "A"}', (False, True): '{"choice": "none"}'}.get(said, "Hm."))


def test_what_could_not_be_read_is_listed_with_its_reason_and_last_words(
    workspace: Workspace, run: str
) -> None:
    rows = unread(workspace, run)
    assert [(row.item_id, row.last_words) for row in rows] == [(f"item-{n}", REPLIES[n]) for n in (1, 2, 3)]
    assert rows[0].reason == "unresolved: ambiguous" and rows[1].reason == "unresolved"


def test_a_judge_reads_those_alone_and_is_counted_apart(workspace: Workspace, run: str) -> None:
    before = score_report(workspace, run)
    with FakeServer(judge) as server:
        name, missing = judge_unread(workspace, run, server.endpoint)
        assert (name, missing, len(server.requests)) == ("fake-model", 1, 3)
        assert not any("ANSWER: yes" in request.text for request in server.requests)
        assert all("Right answer" not in request.text for request in server.requests)
        _, missing = judge_unread(workspace, run, server.endpoint)
        assert missing == 1 and len(server.requests) == 4  # what was read is kept
    assert {one.item_id: one.choice for one in judged(workspace, run)} == {"item-1": None, "item-3": 0}
    (side,) = judged_report(workspace, run)
    assert (side["unread"], side["read"], side["none"], side["correct"]) == (3, 1, 1, 1)
    assert side["accuracy_with_judge"] == pytest.approx(0.5)
    after = score_report(workspace, run)
    assert after["strict"] == before["strict"] and after["strict"]["accuracy"] == pytest.approx(0.25)


def test_a_judge_that_fails_is_one_sentence(workspace: Workspace, run: str) -> None:
    with (
        FakeServer(Status(400, "no such thing")) as server,
        pytest.raises(RunError, match="stopped answering"),
    ):
        judge_unread(workspace, run, server.endpoint)
    assert judged(workspace, run) == [] and judged_report(workspace, run) == []
