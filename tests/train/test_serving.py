"""The engine with an adapter, in 16 bits and in 4: the same model answers, foreign adapters are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_examples import adapter_of, deltas_of

from audioreason.engines.experts import AdaptedExperts, LoraShape
from audioreason.engines.launch import pocket_folder, start_engine
from audioreason.engines.local import LocalEngine
from audioreason.engines.nf4 import NF4Weight
from audioreason.engines.samples import Request
from audioreason.engines.sampling import Draw
from audioreason.engines.tokens import Turn
from audioreason.engines.weights import load_frozen
from audioreason.errors import EngineError

SHAPE = LoraShape(rank=8, alpha=16.0)


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(tiny, tmp_path_factory.mktemp("adapters") / "served", SHAPE, spread=0.1)


def request(n: int = 1) -> Request:
    turns = (Turn("system", ("system",)), Turn("user", ("How many tones are in the clip?",)))
    return Request(turns, (), Draw(temperature=0.0, max_tokens=20), n)


def answer(engine: LocalEngine) -> str:
    return engine.generate([request()])[0][0].text


def test_an_adapter_changes_what_the_engine_says_in_16_and_in_4_bits(tiny: Path, adapter: Path) -> None:
    said = {}
    for quantize in (None, "nf4"):
        for used in (None, adapter):
            with LocalEngine(tiny, used, "cpu", quantize=quantize) as engine:
                said[quantize, used is not None] = answer(engine)
                held = engine._model.model.layers[0].mlp.experts
                assert isinstance(held, AdaptedExperts) == (quantize == "nf4")
                if quantize:
                    assert isinstance(held.gate_up, NF4Weight)
    assert said[None, True] != said[None, False]
    assert said["nf4", True] != said["nf4", False]


def test_greedy_text_in_4_bits_is_the_same_alone_and_in_company(tiny: Path, adapter: Path) -> None:
    def asked(question: str) -> Request:
        turns = (Turn("system", ("system",)), Turn("user", (question,)))
        return Request(turns, (), Draw(temperature=0.0, max_tokens=20), 1)

    questions = [
        f"How many tones are {word}?" for word in ("one", "two", "three", "four", "in", "the", "clip")
    ]
    with LocalEngine(tiny, adapter, "cpu", quantize="nf4") as engine:
        alone = [engine.generate([asked(question)])[0][0].text for question in questions]
        together = [outputs[0].text for outputs in engine.generate([asked(q) for q in questions])]
    assert together == alone


def test_an_adapter_of_another_model_is_refused_by_the_engine(
    make_model: Callable[..., Path], adapter: Path
) -> None:
    for quantize in (None, "nf4"):
        with pytest.raises(EngineError, match="another model"):
            LocalEngine(make_model(seed=8), adapter, "cpu", quantize=quantize)


def test_an_unknown_quantisation_is_refused(tiny: Path) -> None:
    with pytest.raises(EngineError, match="no quantisation int3"):
        LocalEngine(tiny, device="cpu", quantize="int3")


def test_merged_and_on_top_agree(tiny: Path, adapter: Path) -> None:
    from audioreason.engines.adapters import apply_adapter, load_adapter
    from audioreason.engines.pocket import load_model
    from audioreason.engines.slots import Reader

    on_top = load_frozen(tiny)
    load_adapter(on_top, deltas_of(adapter, tiny), "float32")
    merged = load_model(tiny)
    apply_adapter(merged, deltas_of(adapter, tiny))
    ids = list(range(40))
    one, other = (Reader(model, 10_000).read(ids, 0, []).logits for model in (merged, on_top))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_child_serves_the_pocket_listener_in_4_bits() -> None:
    import json
    from urllib.request import ProxyHandler, build_opener
    from urllib.request import Request as HttpRequest

    with start_engine(pocket_folder(), quantize="nf4", device="cpu") as endpoint:
        body = {"messages": [{"role": "user", "content": "What do you hear?"}], "max_tokens": 8}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {endpoint.api_key()}"}
        call = HttpRequest(f"{endpoint.base_url}/chat/completions", json.dumps(body).encode(), headers)
        with build_opener(ProxyHandler({})).open(call, timeout=200) as reply:
            assert json.loads(reply.read())["choices"][0]["message"]["content"]
