"""Taking responses apart: every markup a model uses, and every way in which an answer is no answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.answers import RawResponse, parse, resolve, split_sections

TRACES = Path(__file__).resolve().parents[3] / "shared" / "mmar" / "traces-500.jsonl"
ALL = ("HEARD", "ANALYSIS", "ANSWER")


@pytest.mark.parametrize(
    "text",
    [
        "HEARD: a bell at 0.5 s\nANALYSIS: one bell\nANSWER: Once",
        "**HEARD:** a bell at 0.5 s\n\n**ANALYSIS:** one bell\n\n**ANSWER:** Once",
        "**Heard**: a bell at 0.5 s\n**Analysis**: one bell\n**Answer**: Once",
        "## HEARD\na bell at 0.5 s\n## ANALYSIS\none bell\n## ANSWER\nOnce",
        "[HEARD] a bell at 0.5 s\n[ANALYSIS] one bell\n[ANSWER] Once",
        "<heard>a bell at 0.5 s</heard>\n<analysis>one bell</analysis>\n<answer>Once</answer>",
        "1. HEARD - a bell at 0.5 s\n2. ANALYSIS - one bell\n3. ANSWER - Once",
        "heard：a bell at 0.5 s\nanalysis：one bell\nanswer：Once",
        "HEARD\na bell at 0.5 s\nANALYSIS\none bell\nANSWER\nOnce",
        "- **HEARD**: a bell at 0.5 s\n- **ANALYSIS**: one bell\n- **FINAL ANSWER**: Once",
        "Step 1: HEARD: a bell at 0.5 s\nStep 2: ANALYSIS: one bell\nStep 3: ANSWER: Once",
        "<think>Let me listen.</think>HEARD: a bell at 0.5 s\nANALYSIS: one bell\nANSWER: Once",
        "HEARD: a bell at 0.5 s ANALYSIS: one bell ANSWER: Once",
        "**HEARD:** a bell at 0.5 s **ANALYSIS:** one bell **ANSWER:** Once",
        "【HEARD】a bell at 0.5 s\n【ANALYSIS】one bell\n【ANSWER】Once",
    ],
)
def test_sections_are_found_in_any_common_markup(text: str) -> None:
    parsed = parse(RawResponse(text), ALL)
    assert parsed.sections == {"HEARD": "a bell at 0.5 s", "ANALYSIS": "one bell", "ANSWER": "Once"}
    assert parsed.answer == "Once"
    assert parsed.format_ok


def test_prose_that_begins_with_a_section_word_is_not_a_heading() -> None:
    assert split_sections("Heard sounds include a dog.\nAnswer the door, she said.") == {}


def test_a_section_word_in_capitals_inside_a_sentence_is_not_a_heading() -> None:
    assert split_sections("5 LANGUAGES CAN BE HEARD: ENGLISH AND FRENCH") == {}
    assert split_sections("HEARD: a bell\nANALYSIS: from HEARD: one bell\nANSWER: Once") == {
        "HEARD": "a bell",
        "ANALYSIS": "from HEARD: one bell",
        "ANSWER": "Once",
    }


def test_without_an_answer_section_the_last_line_states_it_and_what_was_heard_does_not() -> None:
    assert parse(RawResponse("HEARD: Once, a bell\nANALYSIS: it rang\nTwice")).answer == "Twice"
    assert parse(RawResponse("HEARD: it rang Once")).answer == ""


def test_sections_out_of_order_or_missing_break_the_format() -> None:
    assert not parse(RawResponse("ANSWER: Once\nHEARD: a bell"), ("HEARD", "ANSWER")).format_ok
    assert not parse(RawResponse("ANSWER: Once"), ALL).format_ok
    assert parse(RawResponse("Once")).format_ok


@pytest.mark.parametrize(
    ("content", "reasoning", "thinking", "answer"),
    [
        ("<think>a bell</think>\nOnce", None, "a bell", "Once"),
        ("a bell</think>\nOnce", None, "a bell", "Once"),
        ("<think>one</think>x<think>two</think>\nOnce", None, "one\n\ntwo", "x\nOnce"),
        ("<Thinking>a bell</Thinking>\nOnce", None, "a bell", "Once"),
        ("<think>a <think>bell</think>\nOnce", None, "a\n\nbell", "Once"),
        ("<think>one</think>Once</think>", None, "one", "Once"),
        ("<think>the answer is Twice</think>", None, "the answer is Twice", ""),
        ("<think>so the answer is Once", None, "so the answer is Once", "Once"),
        ("Once", "a bell", "a bell", "Once"),
        (None, "a bell\nANSWER: Once", "a bell\nANSWER: Once", "Once"),
        (None, None, "", ""),
    ],
)
def test_thinking_is_kept_apart(
    content: str | None, reasoning: str | None, thinking: str, answer: str
) -> None:
    parsed = parse(RawResponse(content, reasoning, "stop"))
    assert (parsed.thinking, parsed.answer) == (thinking, answer)


def test_thinking_without_an_end_is_truncated_and_states_nothing() -> None:
    parsed = parse(RawResponse("<think>it could be Once or Twice", finish_reason="length"))
    assert parsed.truncated
    assert parsed.answer == ""
    assert parse(RawResponse(None, "it could be Once", "length")).answer == ""
    assert parse(RawResponse(None, "The answer is Once. Or wait,", "length")).answer == ""
    assert parse(RawResponse("", "it could be Once", "stop")).truncated
    assert not parse(RawResponse("Once", "it could be Once", "stop")).truncated


def test_truncated_prose_states_nothing_but_a_marked_answer_stands() -> None:
    assert parse(RawResponse("Perhaps Once, because", finish_reason="length")).answer == ""
    assert parse(RawResponse("Perhaps Once, because", finish_reason="stopped")).answer == ""
    assert parse(RawResponse("HEARD: a bell\nANALYSIS: Once, if", finish_reason="length")).answer == ""
    assert parse(RawResponse("ANSWER: Once\nBecause the", finish_reason="length")).answer.startswith("Once")


@pytest.mark.parametrize(
    "text",
    [
        "So the answer is Once",
        "Final answer: Once",
        r"Hence \boxed{Once}",
        r"\boxed{\text{Once}}",
        "答案是：Once",
        "So, answer: Once",
        "The correct option: Once",
        "My answer is Once",
    ],
)
def test_stated_answers_in_prose_are_found(text: str) -> None:
    parsed = parse(RawResponse(f"It rang.\n{text}"))
    assert parsed.answer == "Once"
    assert parsed.explicit


def test_the_last_statement_wins() -> None:
    assert parse(RawResponse("The answer is Twice.\nWait. The answer is Once")).answer == "Once"
    assert parse(RawResponse("ANSWER: Twice\nANSWER: Once")).answer == "Once"


@pytest.mark.parametrize(
    "text",
    [
        "I hear a bell. " + "Wait, let me listen again to the bell. " * 40,
        "the " * 300,
        "\n".join(["But is it the same bell as before, or another?", "Let me think about it."] * 12),
        "x" * 5000,
        "Something else first. " * 3 + " ".join(f"word{i}" for i in range(300)) * 3,
        "A paragraph of its own. "
        + ("".join(f"Sentence {i} is here. " for i in range(200)) + "\n") * 4
        + "Sente",
    ],
)
def test_loops_are_seen(text: str) -> None:
    assert parse(RawResponse(text)).looped


def test_lists_and_long_answers_are_not_loops() -> None:
    events = "\n".join(f"- knock at {0.4 * i:.1f} s, then silence" for i in range(30))
    prose = " ".join(f"At {i} seconds something new happens, namely event number {i * 7}." for i in range(60))
    assert not parse(RawResponse(events)).looped
    assert not parse(RawResponse(prose)).looped
    assert not parse(RawResponse(f"{prose}\n\n{prose}")).looped  # said twice is no loop
    assert not parse(RawResponse("knock, " * 12 + "then silence")).looped


def test_real_traces_rarely_loop() -> None:
    if not TRACES.exists():
        pytest.skip("the traces are not here")
    texts = [json.loads(line)["thinking_prediction"] for line in TRACES.read_text().splitlines()]
    assert sum(parse(RawResponse("x", text)).looped or parse(RawResponse(text)).looped for text in texts) < 10


def test_refusals_are_seen() -> None:
    assert parse(RawResponse("I'm sorry, but I can't listen to audio.")).refused
    assert parse(RawResponse("As an AI, I have no ears.")).refused
    assert parse(RawResponse("No audio file was provided.")).refused
    assert parse(RawResponse("抱歉，我无法听音频。")).refused
    assert not parse(RawResponse("She is sorry that she can't come.")).refused


@given(st.text(max_size=400), st.text(max_size=200) | st.none(), st.sampled_from(["stop", "length", None]))
def test_any_text_is_taken_apart(content: str, reasoning: str | None, finish: str | None) -> None:
    parsed = parse(RawResponse(content, reasoning, finish), ALL)
    assert set(parsed.sections) <= set(ALL)
    assert parsed.format_ok == (list(parsed.sections) == list(ALL) and all(parsed.sections.values()))


@given(st.dictionaries(st.sampled_from(ALL), st.from_regex(r"[a-z ]{1,20}[a-z]", fullmatch=True), min_size=1))
def test_written_sections_are_read_back(sections: dict[str, str]) -> None:
    text = "\n".join(f"{name}: {body}" for name, body in sections.items())
    assert split_sections(text) == {name: body.strip() for name, body in sections.items()}


HOSTILE = [
    "a",
    " ",
    "\n",
    "*",
    "#",
    "<",
    "\0",
    "\u202e",
    "[",
    "1. ",
    "<think>",
    "</think>",
    "answer is ",
    '"',
    "b\n",
]


@pytest.mark.parametrize(
    "character", [*HOSTILE, "ANSWER: ", "\nHEARD: x", "</heard>", "\\boxed{", "I can't "]
)
def test_long_hostile_lines_take_linear_time(character: str) -> None:
    start = time.process_time()
    text = character * (100_000 // len(character)) + "\nANSWER: Once"
    parse(RawResponse(text), ALL)
    resolve(text, ["Once", "Twice", "a a", "b"])
    assert time.process_time() - start < 5.0  # quadratic would be minutes
