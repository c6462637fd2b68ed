"""Prompt files: read, written, versioned, found by name or alias, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioreason.errors import PromptError
from audioreason.prompts import (
    Prompt,
    broken_prompts,
    check,
    diff,
    dump_prompt,
    list_prompts,
    load_prompt,
    parse_prompt,
    render,
)

SHIPPED = {
    "baseline": "v1",
    "expert-analyst": "v8",
    "expert-analyst-decisive": "v9",
    "category-aware": "v10",
    "targeted-hints": "v11",
    "structured-reasoning": "v12",
    "mipro-v1": "dspy_v1",
    "mipro-v2": "dspy_v2",
}

# a file's lines end in \n: a carriage return is the one thing that a text loses
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200)


@given(
    system=texts,
    user=texts,
    title=texts,
    sections=st.lists(st.sampled_from(["HEARD", "ANSWER"]), unique=True),
)
def test_any_prompt_survives_its_file(system: str, user: str, title: str, sections: list[str]) -> None:
    prompt = Prompt(name="p", title=title, system=system, user=user, sections=tuple(sections))
    assert parse_prompt(dump_prompt(prompt), "p") == prompt


def test_text_that_looks_like_the_delimiter_or_front_matter_stays_text() -> None:
    prompt = Prompt(name="p", system="---\n=== user ===\n---", user="=== user ===\n==== user ====\n")
    assert parse_prompt(dump_prompt(prompt), "p") == prompt


def test_version_follows_the_text_and_nothing_else() -> None:
    prompt = Prompt(name="p", system="a", user="b")
    assert prompt.version == prompt.model_copy(update={"name": "q", "title": "t"}).version
    assert prompt.version != prompt.model_copy(update={"user": "b "}).version
    assert (
        Prompt(name="p", system="a\nb", user="c").version != Prompt(name="p", system="a", user="b\nc").version
    )


def test_shipped_prompts_are_found_by_name_and_by_the_papers_name() -> None:
    assert {prompt.name for prompt in list_prompts()} == set(SHIPPED)
    assert broken_prompts() == []
    for name, alias in SHIPPED.items():
        prompt = load_prompt(name)
        assert load_prompt(alias) == prompt
        assert {"question", "choices"} <= set(check(prompt))
        rendered = render(prompt, question="How often does the bell ring?", choices=["Once", "Twice"])
        assert "How often does the bell ring?" in rendered.user
        assert "(A) Once\n(B) Twice\n" in rendered.user
    assert load_prompt("v12").sections == ("HEARD", "ANALYSIS", "ANSWER")
    assert len({load_prompt(name).version for name in SHIPPED}) == len(SHIPPED)


def test_a_workspace_prompt_hides_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "baseline.md").write_text(dump_prompt(Prompt(name="baseline", user="mine")))
    (tmp_path / "broken.md").write_text("no front matter")
    assert load_prompt("baseline", [tmp_path]).user == "mine"
    assert "broken" not in {prompt.name for prompt in list_prompts([tmp_path])}
    assert [str(error) for error in broken_prompts([tmp_path])] == [
        "The prompt broken has no front matter. Begin the file with `---`, `title: ...`, `---`."
    ]


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(PromptError, match=r"no prompt named basline\. Did you mean baseline\?"):
        load_prompt("basline")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "has no front matter"),
        ("---\ntitle: [\n---\n=== user ===\n", "is not YAML"),
        ("---\n- a\n---\n=== user ===\n", "not a list of"),
        ("---\ntitle: t\n---\nsystem only\n", "no line `=== user ===`"),
        ("---\nsections: 3\n---\n=== user ===\nx", "unusable `sections`"),
        ("---\ntitle: t\n---\n=== user ===\n" + "x" * 100_001, "longer than 100,000"),
    ],
)
def test_broken_files_are_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        parse_prompt(text, "p")


def test_diff_shows_what_changed_and_nothing_for_the_same_text() -> None:
    before = Prompt(name="a", system="one\ntwo", user="u")
    after = before.model_copy(update={"system": "one\nthree"})
    assert diff(before, before) == []
    assert [line for line in diff(before, after) if line[0] in "+-"][2:] == ["-two", "+three"]
