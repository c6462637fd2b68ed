"""Runs that ask otherwise: the choices in another order, or without the real clip. The record says so."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from audioreason.compare import audio_contribution, choice_stability, compare
from audioreason.errors import RunError
from audioreason.evaluate import evaluate, evaluate_orders
from audioreason.inference.endpoint import Sampling
from audioreason.items import Dataset
from audioreason.items.variants import Ablation
from audioreason.prompts import Prompt
from audioreason.runs import Catalog, load_record, read_items, run_folder, run_status, scored
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Request, Text

PROMPT = Prompt(
    name="plain",
    system="Listen.",
    user="{{ question }}{% for c in choices %}\n({{ loop.index | letter }}) {{ c }}{% endfor %}",
)
FAST = Sampling(temperature=0.1, max_tokens=50)


def always_b(_: Request) -> Text:
    """A model that likes the second place, whatever stands there."""
    return Text("ANSWER: (B)")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(always_b) as running:
        yield running


@pytest.fixture
def data(tiny_dataset: TinyDataset) -> Dataset:
    return tiny_dataset(n=8)


def test_a_letter_resolves_to_what_stood_there(
    workspace: Workspace, data: Dataset, server: FakeServer
) -> None:
    record = evaluate(workspace, data, PROMPT, server.endpoint, FAST, permutation=1)
    assert load_record(workspace, record.run_id).permutation == 1
    asked = {item.id: item for item in read_items(run_folder(workspace, record.run_id))}
    # choices moved by one place: B is "three", which is right for every fourth item
    assert {item.choices for item in asked.values()} == {("two", "three", "four", "one")}
    found = list(scored(workspace, record.run_id))
    assert {row.choice_text for row in found} == {"three"}
    assert sum(bool(row.strict) for row in found) == 2
    questions = [request.text for request in server.requests if "How many" in request.text]
    assert all("(B) three" in text for text in questions)


def test_a_model_that_likes_a_place_is_found_out(
    workspace: Workspace, data: Dataset, server: FakeServer
) -> None:
    records = evaluate_orders(workspace, data, PROMPT, server.endpoint, FAST, orders=4, run_id="b")
    assert [record.run_id for record in records] == [f"b-order{k}" for k in range(4)]
    catalog = Catalog(workspace)
    found = choice_stability(catalog, ["b-order2"])  # one stands for its set
    assert found.runs == tuple(f"b-order{k}" for k in range(4))
    assert (found.n, found.consistency, found.always) == (8, 0.0, 0.0)
    places = found.positions.set_index("position")
    assert places.loc[1, "chosen"] == 1.0
    assert list(places["gold"]) == [0.25] * 4
    assert list(places["accuracy"]) == [0, 1, 0, 0]
    # the same questions in another order are the same items in a comparison
    assert compare(catalog, None, ["b-order1"], "b-order0").pairs[0].n == 8


def test_a_model_that_knows_is_steady(workspace: Workspace, data: Dataset) -> None:
    def knows(request: Request) -> Text:
        number = int(request.text.split("clip ")[1].split("?")[0]) if "clip " in request.text else 0
        return Text(f"ANSWER: {('one', 'two', 'three', 'four')[number % 4 if number else 1]}")

    with FakeServer(knows) as server:
        evaluate_orders(workspace, data, PROMPT, server.endpoint, FAST, orders=3, run_id="k")
    found = choice_stability(Catalog(workspace), ["k-order0", "k-order2"])
    assert found.runs == ("k-order0", "k-order2")
    assert found.consistency == found.high == 1.0
    assert found.low < 1.0
    assert found.always == 7 / 8
    assert found.groups["n"].sum() == 8
    assert found.groups["small"].all()


def test_a_stopped_set_of_orders_is_continued(
    workspace: Workspace, data: Dataset, server: FakeServer
) -> None:
    evaluate_orders(workspace, data, PROMPT, server.endpoint, FAST, orders=2, run_id="b")
    before = len(server.requests)
    records = evaluate_orders(
        workspace, data, PROMPT, server.endpoint, FAST, orders=3, run_id="b", resume=True
    )
    assert [record.permutation for record in records] == [0, 1, 2]
    assert all(run_status(run_folder(workspace, record.run_id)) == "finished" for record in records)
    assert len([r for r in server.requests[before:] if "How many" in r.text]) == 8


def test_an_order_cannot_be_resumed_as_another(
    workspace: Workspace, data: Dataset, server: FakeServer
) -> None:
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="one", permutation=1)
    with pytest.raises(RunError, match="permutation was 1 and is now 2"):
        evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="one", resume=True, permutation=2)


def heard_by(server: FakeServer, workspace: Workspace, data: Dataset, ablation: Ablation) -> list[np.ndarray]:
    """The sounds that an ablated run sent."""
    server.clips.clear()
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id=ablation, ablation=ablation)
    assert load_record(workspace, ablation).ablation == ablation
    return [soundfile.read(io.BytesIO(clip))[0] for clip in server.clips]


def test_silence_noise_and_swap_are_as_long_and_not_the_clip(
    workspace: Workspace, data: Dataset, server: FakeServer
) -> None:
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="real")
    real = set(server.clips)
    silence = heard_by(server, workspace, data, "silence")
    assert len(silence) >= 8
    assert all(not sound.any() and len(sound) == 9_600 for sound in silence[-8:])
    noise = heard_by(server, workspace, data, "noise")
    assert all(0.03 < sound.std() < 0.08 for sound in noise[-8:])
    heard_by(server, workspace, data, "swap")
    assert set(server.clips[-8:]) <= real
    assert [item.audio_path for item in read_items(run_folder(workspace, "swap"))] == [
        item.audio_path for item in data.items
    ]


def test_swapped_clips_are_other_items_own(workspace: Workspace, data: Dataset, server: FakeServer) -> None:
    by_question: dict[str, bytes] = {}

    def remember(request: Request) -> Text:
        if "How many" in request.text:
            by_question[request.text] = server.clips[-1]
        return Text("ANSWER: one")

    server.reply = remember
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="real", concurrency=1)
    real = dict(by_question)
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="swap", ablation="swap", concurrency=1)
    assert real.keys() == by_question.keys()
    assert all(by_question[text] != real[text] for text in real)
    assert set(by_question.values()) <= set(real.values())


def test_text_sends_no_sound(workspace: Workspace, data: Dataset, server: FakeServer) -> None:
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="text", ablation="text")
    assert server.clips == []
    assert all(row.outcome != "server_error" for row in scored(workspace, "text"))


def test_what_hearing_adds_is_paired_with_the_ablated_twin(
    workspace: Workspace, tiny_dataset: TinyDataset, server: FakeServer
) -> None:
    data = tiny_dataset(n=24)

    def hears(request: Request) -> Text:
        if "clip " not in request.text or not soundfile.read(io.BytesIO(server.clips[-1]))[0].any():
            return Text("ANSWER: one")
        number = int(request.text.split("clip ")[1].split("?")[0])
        return Text(f"ANSWER: {('one', 'two', 'three', 'four')[number % 4]}")

    server.reply = hears
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="real", concurrency=1)
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="deaf", ablation="silence", concurrency=1)
    evaluate(workspace, data, PROMPT, server.endpoint, FAST, run_id="other", ablation="text", seed=9)
    catalog = Catalog(workspace)
    found = audio_contribution(catalog, "real")
    assert (found.without, found.ablation) == ("deaf", "silence")  # "other" has another seed
    assert found.pair.difference.mean == pytest.approx(0.75)
    assert found.sentence == "Hearing the clips adds: +75.0 points over silence."
    assert list(found.table["n"]) == [8, 8, 8]
    assert found.table["delta"].mean() == pytest.approx(0.75)
    assert (found.table["low"] <= found.table["delta"]).all()
    assert "did not hear the real clips (silence)" in found.pair.note
    with pytest.raises(RunError, match="heard the real clips"):
        audio_contribution(catalog, "real", "real")
    with pytest.raises(RunError, match="did not hear the clips itself"):
        audio_contribution(catalog, "deaf")
    with pytest.raises(RunError, match="not asked in a given order"):
        choice_stability(catalog, ["real", "deaf"])
