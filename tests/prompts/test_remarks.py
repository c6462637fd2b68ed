"""Prompts as people write them: read where they can be, else refused with the line and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioreason.errors import PromptError
from audioreason.prompts import Prompt, broken_prompts, list_prompts, load_prompt, remarks, render, revealed
from audioreason.runs.record import prompt_ref

ASKS = "{{ question }} {{ choices }}"
FILE = "---\ntitle: t\n---\nSystem.\n=== user ===\n{{ question }} é {{ choices }}\n"


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (
            "Question: {question}\nOptions: {{ choices }}",
            "Line 1 of the user text: {question} is sent as it stands",
        ),
        (f"{ASKS}\n\nOptions: {{ options }}", "Line 3 of the user text: { options } is sent as it stands"),
        ("${question} {{ choices }}", "{question} is sent as it stands"),
        ("Listen.", "never uses {{ question }}"),
        ("{{ question }}", "never uses {{ choices }}"),
        (f"{ASKS}\n{{# a note #}}", "Line 2 of the user text: what stands between {# and #} is a comment"),
        (f"{ASKS} {{{{ subcategory }}}}", "tells the model each item's subcategory"),
        (f"{ASKS} {{{{ category }}}} {{{{ subcategory }}}}", "each item's category and subcategory"),
    ],
)
def test_what_is_most_likely_not_meant_is_said(user: str, words: str) -> None:
    assert any(words in said for said in remarks(Prompt(name="p", user=user)))


@pytest.mark.parametrize(
    "user",
    [
        ASKS,
        "{{ question }} {{ letters }} {language models}",
        "{% raw %}{question} {# kept #}{% endraw %} " + ASKS,
        r"\boxed{choices} \text{question} {}" + ASKS,
        '{"answer": "A"} ' + ASKS,
    ],
)
def test_nothing_is_said_about_what_is_meant(user: str) -> None:
    assert remarks(Prompt(name="p", user=user)) == ()


def test_the_shipped_prompts_have_nothing_said_about_them() -> None:
    assert {prompt.name: remarks(prompt) for prompt in list_prompts() if remarks(prompt)} == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{{ question }}\nAs {{"answer": "A"}}', 2),
        ("\\boxed{{A}}", 1),
        ("\n\n\\frac{#1}{2}", 3),
        ("{{ question }}\n{%d", 2),
        ("{{ {[1]: 2} }}", None),
    ],
)
def test_braces_of_other_languages_are_refused_with_how_to_write_them(text: str, line: int | None) -> None:
    with pytest.raises(PromptError, match="endraw") as refused:
        render(Prompt(name="p", user=text), question="q", choices=["a"])
    assert refused.value.line == line
    raw = "{% raw %}" + text.replace("{{ question }}", "") + "{% endraw %}"
    assert render(Prompt(name="p", user=raw), question="q", choices=["a"]).user == text.replace(
        "{{ question }}", ""
    )


@pytest.mark.parametrize(
    "raw",
    [
        FILE.encode(),
        b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode(),
        FILE.replace("\n", "\r\n").encode("utf-16"),
        FILE.replace("=== user ===", "=== user ===  ").encode(),
        FILE.replace("=== user ===", "=== user ===\t").replace("\n", "\r\n").encode(),
    ],
)
def test_a_file_from_another_editor_is_the_same_prompt(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "one.md").write_bytes(FILE.encode())
    (tmp_path / "two.md").write_bytes(raw)
    one, two = (load_prompt(name, [tmp_path]) for name in ("one", "two"))
    assert (one.version, one.user) == (two.version, two.user)


def test_a_file_that_cannot_be_read_is_named_with_its_line_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "bare.md").write_bytes(FILE.encode("utf-16-le"))
    (tmp_path / "latin.md").write_bytes(FILE.encode("latin-1"))
    (tmp_path / "near.md").write_text(FILE.replace("=== user ===", "=== User ==="))
    (tmp_path / "none.md").write_text(FILE.replace("=== user ===", ""))
    (tmp_path / "zero.md").symlink_to("/dev/zero")
    said = " ".join(map(str, broken_prompts([tmp_path])))
    for words in (
        "looks like UTF-16",
        "Line 6 of",
        "Line 5 is `=== User ===`",
        "Add it on a line",
        "regular file",
    ):
        assert words in said


def test_a_run_keeps_what_its_prompt_tells_about_the_benchmark() -> None:
    prompt = Prompt(name="p", user=f"{ASKS} ({{{{ subcategory }}}})")
    assert prompt_ref(prompt).reveals == revealed(prompt) == ("subcategory",)
    text = render(prompt, question="q", choices=["a"], subcategory="Counting").user
    assert text.endswith("(Counting)")
    assert prompt_ref(Prompt(name="p", user=ASKS)).reveals == ()
