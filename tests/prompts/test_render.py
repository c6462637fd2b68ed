"""Rendering is strict, bounded, and never renders a value again."""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.errors import PromptError
from audioreason.prompts import Prompt, check, flag_special_tokens, render


def user(text: str, question: str = "Q?", choices: tuple[str, ...] = ("a", "b")) -> str:
    return render(Prompt(name="p", user=text), question=question, choices=choices).user


def test_question_choices_and_letters_are_filled_in() -> None:
    assert user("{{ question }} {% for c in choices %}({{ loop.index | letter }}) {{ c }} {% endfor %}") == (
        "Q? (A) a (B) b "
    )
    assert user("{{ letters | join(', ') }}|{{ choices | length }}|{{ language is none }}") == "A, B|2|True"


@given(st.text(max_size=80))
def test_values_are_inserted_as_they_are(question: str) -> None:
    assert user("[{{ question }}]", question=question) == f"[{question}]"


def test_a_template_inside_a_value_stays_text() -> None:
    assert (
        user("{{ question }}", question="{{ 7 * 7 }} {% for x in choices %}")
        == "{{ 7 * 7 }} {% for x in choices %}"
    )


def test_an_unknown_variable_is_named_with_its_line() -> None:
    with pytest.raises(
        PromptError, match=r"Line 2 of the user text uses an unknown variable, `audio`"
    ) as caught:
        user("first\n{{ audio }}")
    assert caught.value.line == 2
    assert "question" in caught.value.hint


def test_a_syntax_error_is_named_with_its_line() -> None:
    with pytest.raises(PromptError, match="Line 3 of the user text is not a valid template") as caught:
        user("a\nb\n{% for c in choices %}")
    assert caught.value.line == 3


def test_an_error_while_filling_in_has_its_line() -> None:
    with pytest.raises(PromptError, match="Line 2 of the user text cannot be filled in"):
        user("a\n{{ choices[7] }}")


@pytest.mark.parametrize(
    "text",
    [
        "{{ question.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ question.format(1) }}",
        "{{ question.ljust(1000000000) }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 10 ** 10000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ question | center(1000000000) }}",
        "{% include 'secrets' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ range(1000000000) | list }}",
        "{{ self }}",
        "{{ lipsum() }}",
        "{{ cycler }}",
        "{{ choices.append('c') }}",
        "{{ choices | map(attribute='__class__') | list }}",
        "{{ choices | reverse }}",  # would print an address
        "{% set x %}{{ question }}{% endset %}",
        "{% set ns.x = 1 %}",
        "{% block a %}{% endblock %}",
        "{% for c in choices recursive %}{{ loop(choices) }}{% endfor %}",
        "{% autoescape true %}{{ question }}{% endautoescape %}",
        "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}",
        "{{ " + "9" * 5_000 + " }}",
        "{{ question | replace('', question * 100) }}",
    ],
)
def test_what_a_prompt_may_not_do(text: str) -> None:
    with pytest.raises(PromptError):
        user(text)


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in question %}" * 8 + "{% endfor %}" * 8,
        "{% set x = question %}" + "{% set x = x ~ x %}\n" * 60 + "{{ x }}",
        "{% set x = question %}" + "{% set x = x + x %}\n" * 60 + "{{ x }}",
        "{% set x = question %}" + "{% set x = [x, x] %}\n" * 60 + "{{ x }}",
        "{% set x = question %}" + "{% set x = {1: x, 2: x} %}\n" * 60 + "{{ x | string | length }}",
        "{% set x = (question, question) %}" + "{% set x = x | join(x | join) %}\n" * 60 + "{{ x }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{{ question }}{% endfor %}",
        "{% for a in question %}{% for b in question %}{% for c in question %}{{ question }}"
        + "{% endfor %}" * 3,
    ],
)
def test_a_prompt_that_explodes_is_stopped_in_time_off_the_main_thread(text: str) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            user(text, question="a question of some fifty characters, more or less?")
        except PromptError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    start = time.monotonic()
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive(), "the template was not stopped"
    assert len(errors) == 1
    assert time.monotonic() - start < 15


def test_what_a_prompt_may_do() -> None:
    assert user("{% for c in choices | reverse %}{{ loop.revindex }}{{ c }} {% endfor %}") == "2b 1a "
    assert user("{{ 'A' ~ (1 + 2) }}|{{ range(3) | join('-') }}|{{ 2 ** 5 }}") == "A3|0-1-2|32"
    assert user("{% set n = choices | length %}{% if n == 2 %}two{% else %}{{ n }}{% endif %}") == "two"
    assert user("[{{ language }}]") == "[]"  # an item without a language says nothing, not "None"


def test_an_unknown_filter_lists_the_known_ones() -> None:
    with pytest.raises(PromptError, match=r"No filter named 'map'\. There are: .*join, last, length, letter"):
        user("{{ choices | map('upper') }}")


def test_a_debuggers_trace_function_is_left_alone() -> None:
    seen: list[str] = []

    def trace(frame: FrameType, event: str, arg: object) -> None:
        seen.append(frame.f_code.co_name)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        user("{% for c in choices %}{{ c }}{% endfor %}")
    finally:
        sys.settrace(before)
    assert "render" in seen


def test_a_thousand_items_render_in_a_moment() -> None:
    prompt = Prompt(
        name="p", user="{{ question }}{% for c in choices %}({{ loop.index | letter }}) {{ c }}{% endfor %}"
    )
    start = time.process_time()
    for number in range(1000):
        render(prompt, question=f"Question {number}?", choices=("a", "b", "c", "d"))
    assert time.process_time() - start < 1.0


def test_check_lists_the_variables_in_use() -> None:
    assert check(Prompt(name="p", system="{{ language }}", user="{{ choices | length }}")) == (
        "choices",
        "language",
    )


def test_control_tokens_in_a_question_are_flagged() -> None:
    text = "What does <|im_end|> mean, or <|audio_pad|>, <think> or <|im_end|>?"
    assert flag_special_tokens(text) == ["<|im_end|>", "<|audio_pad|>", "<think>"]
    assert flag_special_tokens("<｜end▁of▁sentence｜> [INST] <start_of_turn> </s>") == [
        "<｜end▁of▁sentence｜>",
        "[INST]",
        "<start_of_turn>",
        "</s>",
    ]
    assert flag_special_tokens("a <b> and |c| and a <| b |> c") == []
