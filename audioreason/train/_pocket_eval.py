"""Greedy answers of a Pocket Listener in training, and how many are right, by subcategory and by kind of
prompt.

Batches rows of different length by padding at the end; made for a GPU. Serving has its own loop in
`engines.local`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioreason.engines import thinker
from audioreason.engines.features import log_mel_stacked, send, stack
from audioreason.engines.tokens import ChatTokenizer
from audioreason.train._pocket_data import encode, to_int16

if TYPE_CHECKING:
    import torch

    from audioreason.items.schema import Item

_ROWS = 192
_LONGEST_ANSWER = 260

DIRECT = ("", "{question}\n{choices}\nAnswer with the exact text of one choice.")
STRUCTURED = (
    "You are an expert in audio.",
    "{question}\n{choices}\n\nAnswer in this format:\nHEARD: what you hear, with times.\n"
    "ANALYSIS: how this decides the question.\nANSWER: the exact text of one choice.",
)


@dataclass(frozen=True)
class Probe:
    """A validation item with its clip."""

    item: Item
    clip: NDArray[np.int16]
    held_out: bool


def probes(families: Sequence[Any], per_family: int) -> list[Probe]:
    """Fresh items of every family, difficulties 1 to 5 in turn; training never draws from their namespace."""
    from audioreason.soundcheck import make_item

    made = []
    for family in families:
        for index in range(per_family):
            item, samples = make_item(family.name, 1 + index % 5, index, namespace="fresh")
            made.append(Probe(item, to_int16(samples), bool(family.held_out)))
    return made


def evaluate(model: Any, tokenizer: ChatTokenizer, items: Sequence[Probe], device: str) -> dict[str, Any]:
    """Share of right answers, direct and structured: overall, held-out, by family and subcategory."""
    report: dict[str, Any] = {}
    for name, (system, user) in {"direct": DIRECT, "structured": STRUCTURED}.items():
        prompts = []
        for probe in items:
            choices = "\n".join(
                f"({letter}) {text}" for letter, text in zip("ABCDEFGHIJ", probe.item.choices, strict=False)
            )
            text = user.format(question=probe.item.question, choices=choices)
            prompts.append(encode(tokenizer, system, text, len(probe.clip), None)[0])
        answers = greedy(model, tokenizer, prompts, [probe.clip for probe in items], device)
        right: dict[str, list[bool]] = defaultdict(list)
        for probe, answer in zip(items, answers, strict=True):
            correct = answer.rsplit("ANSWER:", 1)[-1].strip() == probe.item.answer.strip()
            right["held_out" if probe.held_out else "overall"].append(correct)
            right[f"subcategory: {probe.item.subcategory}"].append(correct)
            right[f"family: {probe.item.family}"].append(correct)
        report[name] = {key: round(sum(values) / len(values), 4) for key, values in sorted(right.items())}
        report[f"{name}_samples"] = answers[:: max(1, len(answers) // 12)]
    return report


def greedy(
    model: Any,
    tokenizer: ChatTokenizer,
    prompts: Sequence[Sequence[int]],
    clips: Sequence[NDArray[np.int16]],
    device: str,
) -> list[str]:
    """The model's most likely answer to each prompt about the clip beside it."""
    import torch

    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), _ROWS):
        chosen = order[start : start + _ROWS]
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            ids = _greedy_rows(
                model, tokenizer, [prompts[i] for i in chosen], [clips[i] for i in chosen], device
            )
        for index, answer in zip(chosen, ids, strict=True):
            answers[index] = tokenizer.decode(answer)
    return answers


def _greedy_rows(
    model: Any,
    tokenizer: ChatTokenizer,
    prompts: Sequence[Sequence[int]],
    clips: Sequence[NDArray[np.int16]],
    device: str,
) -> list[list[int]]:
    import torch

    heard = hear(model, *stack(clips), device)
    embeddings = embed_rows(model, tokenizer, prompts, heard, list(range(len(prompts))), device)
    rows, longest, _ = embeddings.shape
    states, read = thinker.read(model.model, embeddings, keep=True)
    lengths = send([len(prompt) for prompt in prompts], device)
    last = states[torch.arange(rows, device=device), lengths - 1]
    cache = []
    for layer in read:
        room = [*layer.keys.shape[:2], longest + _LONGEST_ANSWER, layer.keys.shape[3]]
        keys, values = layer.keys.new_zeros(room), layer.values.new_zeros(room)
        keys[:, :, :longest], values[:, :, :longest] = layer.keys, layer.values
        cache.append(thinker.KeysValues(keys, values))
    written: list[torch.Tensor] = []
    finished = torch.zeros(rows, dtype=torch.bool, device=device)
    for count in range(_LONGEST_ANSWER):
        token = model.lm_head(last).argmax(dim=-1)
        written.append(token)
        finished |= token == tokenizer.im_end
        if count % 8 == 7 and bool(finished.all()):
            break
        span = longest + count + 1
        last = thinker.step(model.model, model.model.embed_tokens(token), lengths + count, cache, span)
    answers = torch.stack(written, dim=1).tolist()
    return [row[: row.index(tokenizer.im_end)] if tokenizer.im_end in row else row for row in answers]


def embed_rows(
    model: Any,
    tokenizer: ChatTokenizer,
    rows: Sequence[Sequence[int] | NDArray[np.int32]],
    heard: tuple[torch.Tensor, list[int]],
    clip_of_row: Sequence[int],
    device: str,
) -> torch.Tensor:
    """Embeddings of rows (rows, longest, hidden), each with its clip, as `hear` gave it, in its place."""

    audio, counts = heard
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), tokenizer.end_of_text, np.int64)
    where, source = [], []
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        count = counts[clip_of_row[number]]
        begin = int(np.argmax(ids[number] == tokenizer.audio_pad))
        where.append(number * longest + begin + np.arange(count))
        source.append(clip_of_row[number] * audio.shape[1] + np.arange(count))
    embedded = model.model.embed_tokens(send(ids, device))
    flat = embedded.flatten(0, 1)
    index = send(np.concatenate(where), device)
    taken = audio.flatten(0, 1)[send(np.concatenate(source), device)]
    filled: torch.Tensor = flat.index_copy(0, index, taken.to(flat.dtype)).view(embedded.shape)
    return filled


def hear(
    model: Any, sound: NDArray[np.int16], frames: list[int], device: str
) -> tuple[torch.Tensor, list[int]]:
    """Audio embeddings (clips, positions, hidden) of stacked 16-bit clips, and tokens per clip."""
    import torch

    with torch.autocast(device, enabled=False):
        features = log_mel_stacked(send(sound, device), frames)
    return thinker.hear(model.audio_tower, features, frames)
