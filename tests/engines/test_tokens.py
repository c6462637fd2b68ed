"""Text is text: it round-trips, and it never becomes structure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from audioreason.engines.tokens import STRUCTURE, ChatTokenizer, Turn
from audioreason.errors import EngineError


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)


@given(text=st.text(max_size=60))
def test_any_text_round_trips(tokenizer: ChatTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.text(text)) == text


@given(text=st.text(max_size=20))
def test_spelled_tokens_are_the_bytes_of_the_text(tokenizer: ChatTokenizer, text: str) -> None:
    assert b"".join(tokenizer.spell(token) for token in tokenizer.text(text)) == text.encode()


@pytest.mark.parametrize("token", STRUCTURE)
def test_structure_in_a_question_is_spelled_out(tokenizer: ChatTokenizer, token: str) -> None:
    ids = tokenizer.conversation([Turn("user", (f"What is {token}?",))])
    plain = tokenizer.conversation([Turn("user", ("What is it?",))])
    assert sum(tokenizer.id_of(name) in ids for name in STRUCTURE) == sum(
        tokenizer.id_of(name) in plain for name in STRUCTURE
    )
    assert ids.count(tokenizer.im_end) == 1


def test_think_tags_are_single_tokens_that_decoding_keeps(tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.text("<think>so</think>")
    assert ids[0] == tokenizer.id_of("<think>")
    assert tokenizer.decode(ids) == "<think>so</think>"


def test_a_conversation_is_what_the_chat_template_renders(tokenizer: ChatTokenizer, folder: Path) -> None:
    reference = AutoTokenizer.from_pretrained(folder)
    messages = [
        {"role": "system", "content": "Listen well."},
        {"role": "user", "content": [{"type": "audio_url"}, {"type": "text", "text": "How many beeps? 3.4"}]},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "Sure?"},
    ]
    text = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    turns = [
        Turn("system", ("Listen well.",)),
        Turn("user", (None, "How many beeps? 3.4")),
        Turn("assistant", ("one",)),
        Turn("user", ("Sure?",)),
    ]
    assert tokenizer.conversation(turns, [1]) == reference(text)["input_ids"]
    assert tokenizer.conversation(turns, [13]).count(tokenizer.audio_pad) == 13


def test_a_tokenizer_without_the_chat_format_is_refused() -> None:
    from tokenizers import models

    with pytest.raises(EngineError, match="endoftext"):
        ChatTokenizer(Tokenizer(models.BPE()))
