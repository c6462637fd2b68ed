"""Text to tokens and back, in Qwen's chat format, with the audio placeholder expanded.

Structure (`<|im_start|>`, the audio markers) is built from token ids here; text never becomes structure: a
question that contains `<|im_end|>` is spelled out letter by letter. Knows nothing about models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.errors import EngineError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# In Qwen3-Omni's order. `<think>` and `</think>` below are ordinary tokens, which decoding keeps.
STRUCTURE = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|audio_start|>",
    "<|audio_end|>",
    "<|audio_pad|>",
)
THINKING = ("<think>", "</think>")

# A time such as 3.4 may become one token; longer numbers are spelled in digits. Otherwise Qwen's splitting.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}\.\p{N}|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for content in message.content -%}
{%- if content.type in ('audio', 'audio_url', 'input_audio') -%}
{{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}
{%- elif content.type in ('image', 'image_url') -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif content.type in ('video', 'video_url') -%}
{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- elif content.type == 'text' -%}
{{- content.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}"""


@dataclass(frozen=True)
class Turn:
    """One chat message: a role and its parts in order; a part is text, or None where a clip is."""

    role: str
    parts: tuple[str | None, ...]


class ChatTokenizer:
    """Encodes conversations and decodes answers for one model folder.

    Args:
        tokenizer: a `tokenizers.Tokenizer` whose structural tokens are marked special.

    Raises:
        EngineError: if a token of the chat format is missing.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.raw = tokenizer
        self.raw.encode_special_tokens = True  # structure in a text is text
        missing = [token for token in STRUCTURE if tokenizer.token_to_id(token) is None]
        if missing:
            raise EngineError(
                f"The tokenizer has no token {missing[0]}.", "Use a folder with Qwen3-Omni's chat format."
            )
        self.im_start = self.id_of("<|im_start|>")
        self.im_end = self.id_of("<|im_end|>")
        self.end_of_text = self.id_of("<|endoftext|>")
        self.audio_start = self.id_of("<|audio_start|>")
        self.audio_pad = self.id_of("<|audio_pad|>")
        self.audio_end = self.id_of("<|audio_end|>")
        self._newline = self.text("\n")
        self._bytes: dict[str, int] | None = None

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """The tokenizer of a model folder, from `tokenizer.json`, else from `vocab.json` and `merges.txt`.

        Raises:
            EngineError: if there is none, or it is broken.
        """
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            if path.is_file():
                return cls(Tokenizer.from_file(str(path)))
            if (folder / "vocab.json").is_file():  # the published 30B folder comes in the older layout
                from transformers import AutoTokenizer

                return cls(AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer)
        except EngineError:
            raise
        except Exception as error:  # tokenizers raises nothing narrower for a broken file
            raise EngineError(
                f"The tokenizer in {folder} cannot be read ({str(error).splitlines()[0]}).",
                "Copy the folder again.",
            ) from error
        raise EngineError(f"{folder} has no tokenizer.json.", "Check that it is a complete model folder.")

    def __len__(self) -> int:
        return int(self.raw.get_vocab_size(with_added_tokens=True))

    def id_of(self, token: str) -> int:
        """The id of a token that exists.

        Raises:
            EngineError: if it does not.
        """
        found = self.raw.token_to_id(token)
        if found is None:
            raise EngineError(f"The tokenizer has no token {token}.")
        return int(found)

    def text(self, text: str) -> list[int]:
        """Token ids of plain text; nothing in it becomes structure."""
        return list(self.raw.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without structural tokens."""
        return str(self.raw.decode(list(ids), skip_special_tokens=True))

    def spell(self, token: int) -> bytes:
        """The bytes of one token; a character may be spread over several."""
        if self._bytes is None:
            self._bytes = _byte_alphabet()
        piece = self.raw.id_to_token(token) or ""
        if any(character not in self._bytes for character in piece):  # a structural token
            return piece.encode()
        return bytes(self._bytes[character] for character in piece)

    def turn(self, turn: Turn, audio_tokens: Sequence[int] = ()) -> list[int]:
        """Token ids of one finished message; `audio_tokens` counts the placeholder of each of its clips."""
        counts = iter(audio_tokens)
        ids = [self.im_start]
        pending = f"{turn.role}\n"
        for part in turn.parts:
            if part is None:
                ids += [
                    *self.text(pending),
                    self.audio_start,
                    *[self.audio_pad] * next(counts),
                    self.audio_end,
                ]
                pending = ""
            else:
                pending += part
        return [*ids, *self.text(pending), self.im_end, *self._newline]

    def conversation(self, turns: Sequence[Turn], audio_tokens: Sequence[int] = ()) -> list[int]:
        """Token ids of a conversation up to where the assistant answers, as the chat template has it."""
        counts = list(audio_tokens)
        ids: list[int] = []
        for turn in turns:
            clips = sum(part is None for part in turn.parts)
            ids += self.turn(turn, counts[:clips])
            counts = counts[clips:]
        return [*ids, self.im_start, *self.text("assistant\n")]


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level BPE (`bytes_to_unicode` of GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in plain]
    return {chr(value): value for value in plain} | {chr(256 + i): value for i, value in enumerate(others)}


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of `size` tokens, structural ones included; every text can be spelled."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(STRUCTURE) - len(THINKING),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in STRUCTURE])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINKING])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and the chat template, as published folders do."""
    tokenizer.encode_special_tokens = False
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {
        "image_token": "<|image_pad|>",
        "audio_token": "<|audio_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
    }
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "Qwen3OmniMoeProcessor",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "extra_special_tokens": named,
        "chat_template": CHAT_TEMPLATE,
        **named,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}, indent=2) + "\n")
