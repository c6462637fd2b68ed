"""What the Launch form says about a value that cannot be."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _draw() -> None:
    import streamlit as st

    from app.jobs.forms import Form
    from audioreason.jobs.kinds import find_kind

    form = Form(find_kind("merge").spec, {"name": "two words"}, "form")
    form.draw()
    st.markdown(f"problem: {form.problems['name']}")


def test_a_name_that_cannot_be_is_told_in_words_not_as_a_pattern() -> None:
    test = AppTest.from_function(_draw, default_timeout=60).run()
    assert not test.exception
    said = next(one.value for one in test.markdown if one.value.startswith("problem"))
    assert "letters" in said and "[A-Z" not in said
