"""What a prompt asks for is what the model is trained to give, in exact and in edited form."""

from __future__ import annotations

from random import Random

import pytest

from audioreason.items.schema import Item
from audioreason.soundcheck import make_item
from audioreason.train._pocket_prompts import (
    Ask,
    Wanted,
    answer_text,
    ask,
    describe_events,
    edited,
    render_prompt,
    shipped_prompts,
    wanted,
)

ITEM = make_item("order", 2, 5)[0]
SECTIONS = ("HEARD", "ANALYSIS", "ANSWER")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer with the exact text of one choice.", Wanted()),
        ("Reply with HEARD, ANALYSIS and ANSWER.", Wanted(SECTIONS)),
        ("First HEARD: then decide.", Wanted(("HEARD", "ANSWER"))),
        ("Write ANSWER: and the choice.", Wanted(("ANSWER",))),
        ("Think step by step.", Wanted(thinks=True)),
        ("Think step by step. HEARD: ANALYSIS: ANSWER:", Wanted(SECTIONS)),
        ("Reason briefly, then choose.", Wanted(prose=True)),
        ("Name the type, then explain your choice.", Wanted(prose=True, names_type=True)),
        ("Reply with the letter only.", Wanted(letter=True)),
    ],
)
def test_the_rule_reads_a_prompt(text: str, expected: Wanted) -> None:
    assert wanted(Ask("", text)) == expected
    assert wanted(Ask(text, "")) == expected


def test_the_question_itself_asks_for_nothing() -> None:
    question = "Which letter is heard step by step after HEARD?"
    assert wanted(Ask("", f"{question}\nPick one."), question) == Wanted()


def test_every_shipped_template_gets_the_answer_it_asks_for() -> None:
    found = {p.name: wanted(render_prompt(p, ITEM), ITEM.question, ITEM.choices) for p in shipped_prompts()}
    assert found["structured-reasoning"].sections == SECTIONS
    assert found["baseline"].thinks
    assert found["category-aware"].names_type
    assert found["expert-analyst"].prose
    assert not found["mipro-v1"].explains
    assert len(found) >= 8


def test_an_edit_never_touches_the_question_or_the_choices() -> None:
    prompts = shipped_prompts()
    for seed in range(300):
        asked = ask(Random(seed), ITEM, seed % 2 == 0, prompts)
        asked = edited(Random(seed), asked, (ITEM.question, *ITEM.choices))
        assert ITEM.question in asked.user
        assert all(choice in asked.user for choice in ITEM.choices)


def test_asking_for_an_explanation_mostly_gets_one_and_is_repeatable() -> None:
    prompts = shipped_prompts()
    asked = [ask(Random(seed), ITEM, True, prompts) for seed in range(200)]
    assert asked == [ask(Random(seed), ITEM, True, prompts) for seed in range(200)]
    shares = [wanted(a, ITEM.question, ITEM.choices) for a in asked]
    assert sum(want.explains for want in shares) > 180
    assert sum(want.sections == SECTIONS for want in shares) > 70
    direct = [
        wanted(ask(Random(seed), ITEM, False, prompts), ITEM.question, ITEM.choices) for seed in range(200)
    ]
    assert sum(want.explains for want in direct) < 10
    assert len(set(asked)) > 150


@pytest.mark.parametrize(
    ("want", "expected"),
    [
        (Wanted(), "{gold}"),
        (Wanted(("ANSWER",)), "ANSWER: {gold}"),
        (Wanted(SECTIONS), "HEARD: {heard}\nANALYSIS: {why}\nANSWER: {gold}"),
        (Wanted(thinks=True), "<think>\n{heard} {why}\n</think>\n\n{gold}"),
        (Wanted(prose=True), "{heard} {why}\n{gold}"),
        (Wanted(prose=True, names_type=True), "Temporal Analysis\n{heard} {why}\n{gold}"),
    ],
)
def test_the_answer_has_the_wanted_form(want: Wanted, expected: str) -> None:
    text = answer_text(Random(0), ITEM, ITEM.gold or 0, want, silent=False)
    filled = expected.format(gold=ITEM.answer, heard=describe_events(ITEM), why=ITEM.thinking)
    assert text == filled


def test_a_letter_is_that_of_the_choice() -> None:
    assert answer_text(Random(0), ITEM, 2, Wanted(letter=True), silent=False) == "C"


def test_silence_is_called_silence() -> None:
    text = answer_text(Random(0), ITEM, 1, Wanted(SECTIONS), silent=True)
    assert "silence" in text
    assert "guess" in text
    assert text.endswith(f"ANSWER: {ITEM.choices[1]}")


def test_events_are_told_in_order_with_times() -> None:
    item = Item.model_validate(
        {
            "id": "x",
            "question": "?",
            "choices": ["a"],
            "answer": "a",
            "events": [
                {"label": "beep", "start": 1.24, "end": 1.5},
                {"label": "dog  bark", "start": 0.31, "end": 0.9},
            ],
        }
    )
    assert describe_events(item) == "0.3-0.9s dog bark; 1.2-1.5s beep."
