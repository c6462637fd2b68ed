"""Prompt files: read, written, versioned, found by name or alias, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

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

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@given(
    system=texts,
    user=texts,
    title=texts,
    aliases=st.lists(words, max_size=2),
    parent=st.none() | words.filter(bool),
    sections=st.lists(st.sampled_from(["HEARD", "ANSWER"]), unique=True),
    provenance=st.dictionaries(
        st.sampled_from(["optimizer", "split", "score", "x"]) | words, values, max_size=4
    ),
)
def test_any_prompt_survives_its_file(
    system: str,
    user: str,
    title: str,
    aliases: list[str],
    parent: str | None,
    sections: list[str],
    provenance: dict[str, Any],
) -> None:
    prompt = Prompt(
        name="p",
        title=title,
        system=system,
        user=user,
        aliases=tuple(aliases),
        parent=parent,
        sections=tuple(sections),
        provenance=provenance,
    )
    assert parse_prompt(dump_prompt(prompt), "p") == prompt


def test_a_file_keeps_every_byte_of_its_text(tmp_path: Path) -> None:
    prompt = Prompt(name="p", system="one\rtwo\r\nthree\n", user="\x85 four \u2028\n\n")
    (tmp_path / "p.md").write_bytes(dump_prompt(prompt).encode())
    assert load_prompt("p", [tmp_path]) == prompt


def test_a_file_from_windows_has_the_version_of_its_unix_twin() -> None:
    text = dump_prompt(Prompt(name="p", system="a\nb", user="c\nd"))
    windows = "\ufeff" + text.replace("\n", "\r\n")
    assert parse_prompt(windows, "p") == parse_prompt(text, "p")


def test_what_an_optimiser_wrote_down_is_kept_as_plain_data() -> None:
    text = "---\ntitle: t\noptimizer: mipro\nscore: 0.5\nwhen: 2026-11-01\n---\n=== user ===\nx\n"
    prompt = parse_prompt(text, "p")
    assert prompt.provenance == {"optimizer": "mipro", "score": 0.5, "when": "2026-11-01"}
    with pytest.raises(ValidationError, match="title is a field of its own"):
        Prompt(name="p", user="x", provenance={"title": "t"})
    with pytest.raises(ValidationError, match="not plain data"):
        Prompt(name="p", user="x", provenance={"score": float("nan")})


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


def test_a_workspace_alias_comes_before_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "zebra.md").write_text(dump_prompt(Prompt(name="zebra", user="mine", aliases=("v12",))))
    assert load_prompt("v12", [tmp_path]).name == "zebra"
    assert load_prompt("v12").name == "structured-reasoning"


def test_a_file_by_path_needs_a_usable_name(tmp_path: Path) -> None:
    path = tmp_path / "My Prompt.md"
    path.write_text(dump_prompt(Prompt(name="p", user="x")))
    with pytest.raises(PromptError, match="Use lower-case letters"):
        load_prompt(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PromptError, match="cannot be read as text"):
        load_prompt(str(path))
    path.write_bytes(b"x" * 500_000)
    with pytest.raises(PromptError, match="longer than"):
        load_prompt(str(path))


def test_a_prompt_too_long_to_be_read_is_not_written() -> None:
    with pytest.raises(PromptError, match="longer than 100,000"):
        dump_prompt(Prompt(name="p", user="x" * 100_001))


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
        ("---\ntitle: t\n---\na\n=== user ===\nb\n=== user ===\nc", "has 2 lines `=== user ===`"),
        ("---\ndelimiter: ''\n---\na\n\nb", "empty `delimiter`"),
        ("---\ntitle: 2026-99-99\n---\n=== user ===\nx", "is not YAML"),
        ("---\na: &a [x, x]\nb: [*a, *a]\n---\n=== user ===\nx", "is not YAML"),
        ("---\na: " + "[" * 5000 + "\n---\n=== user ===\nx", "is not YAML"),
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
    ends = before.model_copy(update={"user": "u\n"})
    assert ends.version != before.version
    assert diff(before, ends) != []
