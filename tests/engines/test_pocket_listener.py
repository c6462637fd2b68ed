"""The shipped model, from its folder: small, obedient, and the same in any company."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from audioreason.engines.launch import pocket_folder
from audioreason.engines.local import LocalEngine
from audioreason.engines.samples import Request
from audioreason.engines.sampling import Draw
from audioreason.engines.tokens import Turn
from audioreason.errors import EngineError
from audioreason.items.schema import Item
from audioreason.prompts import load_prompt, render
from audioreason.soundcheck.registry import families, make_item


def _is_shipped() -> bool:
    try:
        pocket_folder()
    except EngineError:
        return False
    return True


pytestmark = pytest.mark.skipif(
    not _is_shipped(), reason="the Pocket Listener's weights are not in this checkout"
)


@pytest.fixture(scope="module")
def listener() -> Iterator[LocalEngine]:
    with LocalEngine(pocket_folder(), device="cpu") as running:
        yield running


def _ask(family: str, seed: int, prompt: str) -> tuple[Item, Request]:
    item, samples = make_item(family, 1 + seed % 5, seed, namespace="fresh")
    rendered = render(load_prompt(prompt), question=item.question, choices=list(item.choices))
    turns = (Turn("system", (rendered.system,)), Turn("user", (None, rendered.user)))
    return item, Request(turns, (samples,), Draw(temperature=0, max_tokens=300))


def test_the_folder_is_small_enough_for_the_repository() -> None:
    assert sum(file.stat().st_size for file in pocket_folder().iterdir()) < 25_000_000


def test_it_answers_in_the_form_that_the_prompt_asks_for(listener: LocalEngine) -> None:
    asked = [_ask("count_events", seed, "structured-reasoning") for seed in range(8)]
    plain = [_ask("count_events", seed, "mipro-v1") for seed in range(8)]
    outputs = listener.generate([request for _, request in asked + plain])
    named = 0
    for (item, _), samples in zip(asked, outputs[:8], strict=True):
        sections = re.fullmatch(r"HEARD: .+\nANALYSIS: .+\nANSWER: (.+)", samples[0].text)
        assert sections is not None
        named += sections.group(1) in item.choices
    assert named >= 6  # now and then it answers what it counted, though no choice says so
    for (item, _), samples in zip(plain, outputs[8:], strict=True):
        assert samples[0].text in item.choices


def test_an_edited_prompt_still_gets_a_choice(listener: LocalEngine) -> None:
    item, request = _ask("order", 3, "mipro-v1")
    choices = "\n".join(f"* {choice}" for choice in item.choices)
    user = f"Hello there. {item.question}\n{choices}\nWhich one? Say nothing else."
    edited = Request((Turn("user", (None, user)),), request.clips, request.draw)
    assert listener.generate([edited])[0][0].text in item.choices


@pytest.mark.slow
def test_greedy_answers_to_64_items_are_the_same_alone_and_among_16(listener: LocalEngine) -> None:
    names = list(families())
    requests = [_ask(names[seed % len(names)], seed, "structured-reasoning")[1] for seed in range(64)]
    together = []
    for start in range(0, 64, 16):
        together += listener.generate(requests[start : start + 16])
    alone = [listener.generate([request])[0] for request in requests]
    assert [samples[0].text for samples in together] == [samples[0].text for samples in alone]
