"""A row's token depends on its own logits, settings and seed."""

from __future__ import annotations

from collections import Counter

import torch

from audioreason.engines.sampling import Chooser, Draw, pick

LOGITS = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0])


def _many(draw: Draw, count: int = 2000) -> Counter[int]:
    chooser = Chooser(draw)
    return Counter(pick(LOGITS[None], [chooser])[0].token for _ in range(count))


def test_greedy_takes_the_likeliest() -> None:
    assert set(_many(Draw(temperature=0), 3)) == {0}


def test_shares_follow_the_tempered_probabilities() -> None:
    expected = (LOGITS / 0.7).softmax(0)
    found = _many(Draw(temperature=0.7, seed=1), 4000)
    for token, share in enumerate(expected.tolist()):
        assert abs(found[token] / 4000 - share) < 0.03


def test_top_k_top_p_and_min_p_cut_the_tail() -> None:
    assert set(_many(Draw(top_k=2, seed=1))) == {0, 1}
    assert set(_many(Draw(top_p=0.5, seed=1))) == {0}
    assert set(_many(Draw(top_p=0.7, seed=1))) == {0, 1}
    assert set(_many(Draw(min_p=0.2, seed=1))) == {0, 1, 2}


def test_a_seed_draws_the_same_alone_and_in_company() -> None:
    def sequence(company: int) -> list[int]:
        choosers = [Chooser(Draw(temperature=1.3, seed=seed)) for seed in range(company)]
        rows = LOGITS.repeat(company, 1)
        return [pick(rows, choosers)[0].token for _ in range(50)]

    assert sequence(1) == sequence(9)


def test_the_repetition_penalty_avoids_what_was_seen() -> None:
    chooser = Chooser(Draw(temperature=0, repetition_penalty=3.0))
    assert [pick(LOGITS[None], [chooser])[0].token for _ in range(3)] == [0, 1, 0]


def test_logprobs_are_the_models_own_whatever_the_temperature() -> None:
    picked = pick(LOGITS[None], [Chooser(Draw(temperature=0, logprobs=2))])[0]
    logs = LOGITS.log_softmax(0).tolist()
    assert abs((picked.logprob or 0) - logs[0]) < 1e-6
    assert [token for token, _ in picked.top] == [0, 1]
