"""Strict and official on real data: the published rule count for count, and 500 real traces accounted for."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from audioreason.answers import OUTCOMES, RawResponse, official_match, resolve, score
from audioreason.items.schema import Item

SHARED = Path(__file__).resolve().parents[3] / "shared" / "mmar"
if not SHARED.exists():
    pytest.skip("MMAR's metadata is not here", allow_module_level=True)

ITEMS = [Item.model_validate_json(line) for line in (SHARED / "MMAR-meta.jsonl").read_text().splitlines()]
TRACES = [json.loads(line) for line in (SHARED / "traces-500.jsonl").read_text().splitlines()]


def published(answer: str, prediction: str, choices: list[str]) -> bool:
    """The published evaluation, written again from its description with nothing shared with ours."""

    def tokenize(text: str) -> set[str]:
        return set(re.findall(r"\b\w+\b", text.lower()))

    prediction_tokens, answer_tokens = tokenize(prediction), tokenize(answer)
    if not prediction_tokens:
        return False
    incorrect: set[str] = set()
    for choice in choices:
        choice_tokens = tokenize(choice)
        if choice_tokens != answer_tokens:
            incorrect.update(choice_tokens - answer_tokens)
    return answer_tokens.issubset(prediction_tokens) and prediction_tokens.isdisjoint(incorrect)


def test_official_equals_the_published_rule_for_every_choice_and_trace() -> None:
    by_id = {item.id: item for item in ITEMS}
    cases: list[tuple[Item, str]] = [
        (item, form)
        for item in ITEMS
        for i, choice in enumerate(item.choices)
        for form in (choice, f"({'ABCDEF'[i]}) {choice}", choice.upper(), f"The answer is {choice}.")
    ]
    cases += [(by_id[trace["id"]], trace["answer_prediction"]) for trace in TRACES]
    for item, text in cases:
        ours = official_match(text, item.answer, item.choices)
        assert ours == published(item.answer, text, list(item.choices)), (item.id, text)


@pytest.mark.parametrize("group", ["overall", "modality", "layer", "subcategory"])
def test_official_counts_of_real_traces_equal_the_published_rule_by_group(group: str) -> None:
    by_id = {item.id: item for item in ITEMS}
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for trace in TRACES:
        item = by_id[trace["id"]]
        name = getattr(item, group, "overall")
        prediction = trace["answer_prediction"]
        result = score(
            RawResponse(prediction, trace["thinking_prediction"]),
            choices=item.choices,
            answer=item.answer,
            gold=item.gold,
        )
        ours[name] += bool(result.official)
        theirs[name] += published(item.answer, prediction, list(item.choices))
    assert ours == theirs
    assert sum(ours.values()) == 304


def test_known_weaknesses_of_the_official_score() -> None:
    wrong = [
        item.id
        for item in ITEMS
        for i, choice in enumerate(item.choices)
        if i != item.gold and official_match(choice, item.answer, item.choices)
    ]
    assert (len(wrong), len(set(wrong))) == (28, 20)
    lettered = 0
    for item in ITEMS:
        assert item.gold is not None
        text = f"({'ABCDEF'[item.gold]}) {item.choices[item.gold]}"
        lettered += not official_match(text, item.answer, item.choices)
        assert resolve(text, item.choices).index == item.gold  # strict is not fooled
    assert lettered == 15


def test_every_real_trace_is_accounted_for() -> None:
    by_id = {item.id: item for item in ITEMS}
    start = time.process_time()
    outcomes: Counter[str] = Counter()
    disagreements = []
    for trace in TRACES:
        item = by_id[trace["id"]]
        result = score(
            RawResponse(trace["answer_prediction"], trace["thinking_prediction"]),
            choices=item.choices,
            answer=item.answer,
            gold=item.gold,
        )
        outcomes[result.outcome] += 1
        if result.strict != result.official:
            disagreements.append(item.id)
    assert time.process_time() - start < 2.0
    assert set(outcomes) <= set(OUTCOMES)
    assert outcomes == {"correct": 302, "wrong": 193, "unresolved": 4, "looped": 1}
    assert len(disagreements) == 2  # the same words in another order, taken for right by the official match


def test_a_thousand_answers_score_in_a_moment() -> None:
    raw = RawResponse("HEARD: a bell at 0.5 s\nANALYSIS: " + "so it seems. " * 60 + "\nANSWER: {}")
    start = time.process_time()
    for item in ITEMS:
        text = RawResponse((raw.content or "").format(item.answer), "I hear a bell. " * 100)
        score(text, choices=item.choices, answer=item.answer, gold=item.gold, expected_sections=("HEARD",))
    assert time.process_time() - start < 1.0


def test_server_errors_are_never_wrong_answers() -> None:
    result = score(None, choices=["a", "b"], answer="a", gold=0, error="connection refused")
    assert (result.strict, result.official, result.outcome) == (None, None, "server_error")


def test_truncated_answer_is_not_a_wrong_format() -> None:
    cut = RawResponse("HEARD: a bell, perhaps", finish_reason="length")
    result = score(cut, choices=["a", "b"], answer="a", gold=0, expected_sections=("HEARD", "ANSWER"))
    assert (result.outcome, result.strict) == ("truncated", False)


def test_broken_format_with_a_clear_choice_keeps_its_score() -> None:
    result = score(
        RawResponse("Once"), choices=["Once", "Twice"], answer="Once", gold=0, expected_sections=("HEARD",)
    )
    assert (result.outcome, result.strict) == ("format_broken", True)


def test_without_gold_there_is_no_score() -> None:
    result = score(RawResponse("a"), choices=["a", "b"], answer="c", gold=None)
    assert (result.strict, result.official) == (None, None)
    assert result.resolution.index == 0
