"""The engine: the same text alone and in company, seeds, cancelling, limits."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace

import numpy as np
import pytest
from engine_clips import noise

from audioreason.engines.local import LocalEngine
from audioreason.engines.samples import Chunk, Request
from audioreason.engines.sampling import Draw
from audioreason.engines.tokens import Turn
from audioreason.errors import EngineError


def _ask(number: int, **draw: object) -> Request:
    system = Turn("system", (("Listen.", "You hear a clip. Answer.")[number % 2],))
    user = Turn("user", (None, "How many beeps? " * (1 + number % 7)))
    clip = noise(1.0 + number % 5 * 0.73, number)
    return Request((system, user), (clip,), Draw(**{"temperature": 0, "max_tokens": 30, **draw}))  # type: ignore[arg-type]


def test_greedy_text_is_the_same_alone_and_with_others(engine: LocalEngine) -> None:
    requests = [_ask(number) for number in range(20)]
    together = engine.generate(requests)
    alone = [engine.generate([request])[0] for request in requests]
    assert [[sample.text for sample in samples] for samples in together] == [
        [sample.text for sample in samples] for samples in alone
    ]
    assert [[p.token for p in s[0].tokens] for s in together] == [
        [p.token for p in s[0].tokens] for s in alone
    ]
    assert len({samples[0].text for samples in together}) > 10  # it does answer differently


def test_a_seed_repeats_a_sample_and_n_continues_the_seed(engine: LocalEngine) -> None:
    three = replace(_ask(1, temperature=1.0, seed=7), n=3)
    first = [sample.text for sample in engine.generate([three])[0]]
    with_others = [sample.text for sample in engine.generate([_ask(2), three, _ask(3)])[1]]
    second_alone = engine.generate([_ask(1, temperature=1.0, seed=8)])[0][0].text
    assert first == with_others
    assert first[1] == second_alone
    assert len(set(first)) == 3


def test_samples_without_a_seed_differ(engine: LocalEngine) -> None:
    assert len({s.text for s in engine.generate([replace(_ask(1, temperature=1.5), n=6)])[0]}) > 1


def test_a_clip_changes_the_answer(engine: LocalEngine) -> None:
    request = _ask(4)
    other = replace(request, clips=(np.zeros_like(request.clips[0]),))
    heard, silent = engine.generate([request, other])
    assert heard[0].text != silent[0].text


def test_streamed_pieces_are_the_whole_text(engine: LocalEngine) -> None:
    request = _ask(3, temperature=1.2, seed=2, max_tokens=60)
    pieces: list[str] = []
    done = threading.Event()

    def emit(chunk: Chunk) -> None:
        pieces.append(chunk.text)
        if chunk.finish_reason:
            done.set()

    engine.submit(request, emit)
    assert done.wait(30)
    assert "".join(pieces) == engine.generate([request])[0][0].text
    assert len(pieces) > 5


def test_a_stop_string_ends_the_text_before_it(engine: LocalEngine) -> None:
    text = engine.generate([_ask(0)])[0][0].text
    stop = text[4:7]
    stopped = engine.generate([_ask(0, stop=(stop,))])[0][0]
    assert stopped.finish_reason == "stop"
    assert stopped.text == text[: text.index(stop)]


def test_max_tokens_is_a_length_ending(engine: LocalEngine) -> None:
    output = engine.generate([_ask(0, max_tokens=3)])[0][0]
    assert output.finish_reason == "length"
    assert len(output.tokens) == 3


def test_cancelling_frees_the_row_at_once(engine: LocalEngine) -> None:
    news: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    ticket = engine.submit(_ask(0, max_tokens=100_000), news.put)
    news.get(timeout=20)
    ticket.cancel()
    while (chunk := news.get(timeout=20)).finish_reason is None:
        pass
    assert chunk.finish_reason in ("abort", "stop")
    engine.generate([_ask(1, max_tokens=2)])
    assert engine.load().running == 0


def test_more_requests_than_rows_are_all_answered(folder) -> None:  # type: ignore[no-untyped-def]
    with LocalEngine(folder, device="cpu", rows=4) as small:
        outputs = small.generate([_ask(number, max_tokens=4) for number in range(11)])
    assert all(samples[0].finish_reason in ("length", "stop") for samples in outputs)


def test_a_prompt_that_does_not_fit_is_refused(engine: LocalEngine) -> None:
    long = Request((Turn("user", ("word " * 900,)),))
    with pytest.raises(EngineError, match="reads at most 511"):
        engine.generate([long])
    with pytest.raises(EngineError, match="1 places for a clip"):
        engine.generate([replace(_ask(0), clips=())])
