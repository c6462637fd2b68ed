"""One choice or none, never a guess between two; and MMAR's 1,000 items in every form a model may write."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.answers import RawResponse, resolve, score

MMAR = Path(__file__).resolve().parents[3] / "shared" / "mmar" / "MMAR-meta.jsonl"

# choices without any text, as published: nothing can name them but their letter
EMPTY_CHOICES = {
    "BV1gK4y1t7gv_00-49-43_00-50-13",
    "BV1Tm4y1h7JU_00-00-00_00-00-25",
    "ztvEag8Y2_Y_00-00-00_00-00-16",
    "BV15a411S7M1_00-00-28_00-00-48",
}


@pytest.fixture(scope="module")
def mmar() -> list[dict[str, Any]]:
    if not MMAR.exists():
        pytest.skip("MMAR's metadata is not here")
    return [json.loads(line) for line in MMAR.read_text().splitlines()]


@pytest.mark.parametrize(
    ("text", "index", "rule"),
    [
        ("Bank.", 1, "exact"),
        ("bank", 1, "normalised"),
        ("**Bank**", 1, "normalised"),
        ("(B) Bank.", 1, "lettered_text"),
        ("B: bank", 1, "lettered_text"),
        ("B", 1, "letter"),
        ("Option (B).", 1, "letter"),
        ("(B) School", None, "conflict"),
        ("E", None, "none"),
        ('It must be "Bank", I think.', 1, "contained"),
        ("Bank, because money is counted.", 1, "contained"),
        ("The place is a bank with a queue", 1, "contained"),
        ("Bank or School", None, "ambiguous"),
        ("It is not the bank", None, "denied"),
        ("Libary", 2, "fuzzy"),
        ("Somewhere else", None, "none"),
        ("", None, "none"),
        ("Bank\n\nThe school bell is absent.\nBank", 1, "normalised"),
        ("School\nor rather\nBank", 1, "normalised"),
        ("- Bank", 1, "normalised"),
        ("Bank (B)", 1, "lettered_text"),
        ("Bank (A)", None, "conflict"),
        ("(B) Bank, because a school would have bells", 1, "lettered_text"),
        ("(B) because money is counted", 1, "letter"),
        ("It doesn't sound like a bank", None, "denied"),
        ("It is not a school but a bank", 1, "contained"),
        ("Neither school nor bank", None, "denied"),
        ("The Hospitl", 3, "fuzzy"),
    ],
)
def test_rules(text: str, index: int | None, rule: str) -> None:
    result = resolve(text, ["School", "Bank.", "Library", "Hospital"])
    assert (result.index, result.rule) == (index, rule)


def test_numbers_and_negations_are_never_fuzzy() -> None:
    assert resolve("5 times", ["3 times", "4 times", "6 times"]).index is None
    assert resolve("The door was not closed", ["The door was closed", "The window broke"]).index is None


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("No audio was provided", None),
        ("I see no evidence of that", None),
        ("Yes and no", None),
        ("No, there is no dog", 1),
        ("No because it stops", 1),
        ("Yes, there is no doubt", 0),
        ("Yes it does", 0),
        ("I would say no.", 1),
    ],
)
def test_a_no_in_a_sentence_is_not_the_choice_no(text: str, index: int | None) -> None:
    assert resolve(text, ["Yes", "No"]).index == index


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("three", 2),
        ("There are three dogs", 2),
        ("The bell rings 3 times.", 2),
        ("3 seconds", 2),
        ("At 3 seconds a dog barks", None),
        ("0.3", None),
        ("2.3", None),
        ("3,000", None),
        ("0:03", None),
        ("3rd", None),
        ("two or three", None),
        ("I count 3 barks, then 7 more", None),
    ],
)
def test_a_count_is_told_from_a_time(text: str, index: int | None) -> None:
    assert resolve(text, ["1", "2", "3", "4"]).index == index


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Pitch decreases", ["Pitch increases", "Volume drops"]),
        ("C minor", ["C major", "D major"]),
        ("Unhappy", ["Happy", "Angry"]),
        ("A female voice", ["A male voice", "A child"]),
        ("B5", ["B4", "C5"]),
        ("C# major", ["C major", "G major"]),
        ("C major", ["C# major", "G# major"]),
        ("C#", ["C", "D"]),
        ("It is III+", ["III", "V7"]),
        ("Tempo speeds up, dynamics get stronger", ["Tempo slows down, dynamics get stronger", "No change"]),
    ],
)
def test_the_opposite_is_never_a_misspelling(text: str, options: list[str]) -> None:
    assert resolve(text, options).index is None


def test_a_longer_choice_hides_the_shorter_one_inside_it() -> None:
    assert resolve("I hear a guitar solo there", ["Guitar", "Guitar solo", "Drums"]).index == 1
    assert resolve("Three times in all", ["Three", "Three times", "Two"]).index == 1
    assert resolve("2.5 seconds or so", ["2", "2.5 seconds", "5 seconds"]).index == 1


def test_the_text_of_a_choice_wins_over_its_letter() -> None:
    assert resolve("B", ["B", "C", "A"]).index == 0
    assert resolve("b", ["C", "A", "B"]).index == 2
    assert resolve("D", ["B", "C", "A", "E"]).index == 3


def test_choices_that_read_the_same_are_told_apart_by_case_or_not_at_all() -> None:
    assert resolve("a minor", ["A minor", "a minor"]).index == 1
    assert resolve("A MINOR", ["A minor", "a minor"]).index is None
    assert resolve("Yes", ["Yes", "Yes"]).index is None


choices = st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=6, unique=True)


@given(st.text(max_size=300), choices)
def test_any_text_resolves_to_a_choice_or_none(text: str, options: list[str]) -> None:
    index = resolve(text, options).index
    assert index is None or 0 <= index < len(options)


VOCABULARY = (
    *("bank", "school", "yes", "no", "not", "3", "three", "2.5", "seconds", "or", "but", "the"),
    *("guitar", "solo", "c#", "c", "(b)", "libary", "library", "\n", ".", ","),
)
phrases = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8).map(" ".join)
short = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=2).map(" ".join)


@given(
    st.text(max_size=60) | phrases,
    choices | st.lists(short, min_size=2, max_size=5, unique=True),
    st.randoms(use_true_random=False),
)
def test_permuting_the_choices_permutes_the_result(
    text: str, options: list[str], shuffle: random.Random
) -> None:
    before = resolve(text, options)
    if "letter" in before.rule or before.rule in ("conflict", "ordinal"):
        return  # a letter or "option 2" names a position
    order = list(range(len(options)))
    shuffle.shuffle(order)
    after = resolve(text, [options[i] for i in order])
    if "letter" in after.rule or after.rule in ("conflict", "ordinal"):
        return
    assert (None if after.index is None else order[after.index]) == before.index


def test_every_mmar_choice_resolves_to_itself_in_every_form(mmar: list[dict[str, Any]]) -> None:
    failed: dict[str, list[str]] = {}
    for item in mmar:
        options = item["choices"]
        for index, choice in enumerate(options):
            letter = chr(ord("A") + index)
            forms = {
                "text": choice,
                "lower case": choice.lower(),
                "no final stop": choice.strip().removesuffix("."),
                "lettered": f"({letter}) {choice}",
                "letter": letter,
                "marked": f"ANSWER: {choice}",
            }
            for form, text in forms.items():
                result = score(
                    RawResponse(text), choices=options, answer=item["answer"], gold=None
                ).resolution
                if result.index != index:
                    failed.setdefault(item["id"], []).append(form)
    assert set(failed) == EMPTY_CHOICES
    assert {form for forms in failed.values() for form in forms} == {
        "text",
        "lower case",
        "no final stop",
        "marked",
    }


def test_no_form_of_an_mmar_choice_resolves_to_another(mmar: list[dict[str, Any]]) -> None:
    forms = (
        "**{choice}**",
        '"{choice}"',
        "- {choice}",
        "{letter}: {choice}",
        "{choice} ({letter})",
        "Option {letter}",
        "The correct answer is ({letter}).",
        "The answer is {choice}.",
        "I believe it is {choice}, given the sound.",
        "{choice}\n\nBecause that is what I heard.",
        "HEARD: a sound\nANALYSIS: so\nANSWER: {choice}",
        "HEARD: a. ANALYSIS: b. ANSWER: {choice}",
        "<think>maybe {other}</think>{choice}",
    )
    unresolved = 0
    for item in mmar:
        options = item["choices"]
        for index, choice in enumerate(options):
            other = options[(index + 1) % len(options)]
            letter = chr(ord("A") + index)
            for form in forms if choice.strip() else ():
                raw = RawResponse(form.format(choice=choice, letter=letter, other=other))
                found = score(raw, choices=options, answer=item["answer"], gold=None).resolution.index
                assert found in (index, None), (item["id"], raw.content)
                unresolved += found is None
    assert unresolved == 0
