"""One playground generation from question to scratch file and back, against a real server on loopback."""

from pathlib import Path

import pytest

from audioreason.errors import PromptError
from audioreason.inference.endpoint import Sampling
from audioreason.inference.hub import GenerationHub
from audioreason.items import Dataset, Item, prepare_clip
from audioreason.prompts import Prompt
from audioreason.runs import Catalog
from audioreason.runs.play import Ask, forget_own_item, recall, start
from audioreason.workspace import Workspace
from tests.conftest import TinyDataset
from tests.servers import FakeServer, Half, Text

PROMPT = Prompt(
    name="mine", system="Listen.", user="{{ question }} {{ choices | join('/') }}", sections=("ANSWER",)
)


def ask(
    workspace: Workspace, data: Dataset, server: FakeServer, item: Item | None = None, **changes: object
) -> Ask:
    item = item or data.items[0]
    source = data.clip(item)
    clip: Path | None = prepare_clip(source, workspace.cache) if source else None
    fields: dict[str, object] = {
        "dataset": data,
        "item": item,
        "clip": clip,
        "prompt": PROMPT,
        "endpoint": server.endpoint,
        "sampling": Sampling(temperature=0.3),
        "seed": 7,
    }
    return Ask(**(fields | changes))  # type: ignore[arg-type]


def test_a_generation_is_the_same_live_and_after_a_restart(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset()
    with FakeServer(Text("<think>hm</think>\nANSWER: one")) as server:
        hub = GenerationHub()
        name = start(workspace, hub, ask(workspace, data, server))
        hub.wait(name, 20)
        live = recall(Catalog(workspace), hub, name)
        hub.close()
    kept = recall(Catalog(workspace), GenerationHub(), name)
    assert live is not None
    assert kept is not None
    assert (kept.state, kept.raw, kept.item, kept.prompt) == ("done", live.raw, live.item, live.prompt)
    assert kept.score.strict is True
    assert kept.score.resolution.rule == "exact"
    assert kept.score.parsed.thinking == "hm"
    assert kept.seed == 7


def test_an_ablation_is_part_of_the_recipe(workspace: Workspace, tiny_dataset: TinyDataset) -> None:
    data = tiny_dataset()
    with FakeServer(Text("ANSWER: one")) as server:
        hub = GenerationHub()
        name = start(workspace, hub, ask(workspace, data, server, clip=None, ablation="no audio"))
        hub.wait(name, 20)
        assert isinstance(server.requests[-1].body["messages"][-1]["content"], str)
    kept = recall(Catalog(workspace), GenerationHub(), name)
    assert kept is not None
    assert kept.ablation == "no audio"


def test_a_failure_keeps_its_sentence_and_the_text_before_it(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset()
    with FakeServer(Half(chunks=3)) as server:
        hub = GenerationHub()
        name = start(workspace, hub, ask(workspace, data, server))
        hub.wait(name, 20)
    kept = recall(Catalog(workspace), GenerationHub(), name)
    assert kept is not None
    assert kept.state == "failed"
    assert kept.raw.content
    assert kept.error is not None
    assert kept.score.outcome == "server_error"


def test_a_prompt_that_cannot_be_filled_in_starts_nothing(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset()
    broken = PROMPT.model_copy(update={"user": "{{ qestion }}"})
    with FakeServer() as server:
        hub = GenerationHub()
        with pytest.raises(PromptError):
            start(workspace, hub, ask(workspace, data, server, prompt=broken))
        assert server.requests == []
    assert recall(Catalog(workspace), hub, "20260101-000000-00000000") is None


def test_forgetting_an_item_deletes_what_was_said_about_it_and_nothing_else(
    workspace: Workspace, tiny_dataset: TinyDataset
) -> None:
    data = tiny_dataset()
    names = []
    with FakeServer(Text("ANSWER: one")) as server:
        hub = GenerationHub()
        for item in data.items[:2]:
            names.append(start(workspace, hub, ask(workspace, data, server, item)))
            hub.wait(names[-1], 20)
    assert forget_own_item(workspace, data.items[0].id) == 1
    catalog = Catalog(workspace)
    assert recall(catalog, GenerationHub(), names[0]) is None
    assert recall(catalog, GenerationHub(), names[1]) is not None
