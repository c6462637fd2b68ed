"""Write a checkpoint of Qwen3-Omni-30B-A3B's widths that answers multiple-choice questions at random.

    python -m bench.gpu.wide_model --layers 16 --out FOLDER [--filler 60] [--device cuda]

A model with random weights writes text that no answer can be read from, so nothing of a self-training
round after the candidates could run on it. Here every layer has its full size and does its full work, but
adds little to the residual stream, and the embedding and the output matrix hold a Markov chain: `--filler`
words, each drawn from three, then `ANSWER: ` and one of A to D, then the end of the turn. About a quarter of
the answers are right, so candidates, filter, training, merging and evaluation have real work to do.

Says nothing about accuracy. With `--tiny` the sizes are small, to try the script on a CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from audioreason.engines.launch import pocket_folder
from audioreason.engines.pocket import pocket_config, published_weights
from audioreason.engines.tokens import ChatTokenizer
from audioreason.train._scale_model import FULL, TINY

_SHARD_BYTES = 4 << 30
_FIRST_FILLER = 1024  # the first id after the pocket tokenizer's own
_ALTERNATIVES = 3  # words to choose from at each place, so that candidates of a problem differ
_LETTERS = "ABCD"
_RESIDUAL = 0.02  # what a layer adds, relative to the embedding
_LOGIT = 45.0  # of each word that may follow, against noise of about 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder; see the module."""
    parser = argparse.ArgumentParser(description="A full-width checkpoint that answers at random.")
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--filler", type=int, default=60, help="words before the answer")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    vocab = _FIRST_FILLER + 64 + _ALTERNATIVES * given.filler  # the last 13 ids decode to nothing
    # the chain needs nearly orthogonal embeddings
    shape = replace(TINY, hidden=512) if given.tiny else FULL
    shape = replace(shape, layers=given.layers, vocab=max(shape.vocab, vocab))
    given.out.mkdir(parents=True)
    tokenizer = ChatTokenizer.load(pocket_folder())
    config = pocket_config(shape, tokenizer)
    config["thinker_config"]["text_config"]["vocab_size"] = shape.vocab
    _copy_tokenizer(given.out, shape.vocab, shape.context)
    (given.out / "config.json").write_text(json.dumps(config, indent=1))
    chain = markov_chain(tokenizer, given.filler)
    size = _write_shards(given.out, config, chain, given.device)
    seconds = time.monotonic() - began
    print(f"{given.out}: {size / 1e9:.1f} GB in {seconds:.0f} s")


def markov_chain(tokenizer: ChatTokenizer, filler: int) -> list[tuple[int, int]]:
    """Pairs (token, possible next token) from the end of the prompt to the end of the turn."""

    def only(text: str) -> int:
        (token,) = tokenizer.raw.encode(text, add_special_tokens=False).ids
        return int(token)

    places = [
        [_FIRST_FILLER + place * _ALTERNATIVES + k for k in range(_ALTERNATIVES)] for place in range(filler)
    ]
    letters = [only(f" {letter}") for letter in _LETTERS]
    steps = [[only("\n")], *places, [only(".\n")], [only("ANSWER")], [only(":")], letters, [tokenizer.im_end]]
    return [pair for before, after in itertools.pairwise(steps) for pair in itertools.product(before, after)]


def _write_shards(out: Path, config: dict[str, Any], chain: list[tuple[int, int]], device: str) -> int:
    """Write all weights in bfloat16; returns their bytes."""
    index: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    total = held = number = 0

    def flush() -> None:
        nonlocal number, held
        number += 1
        file = f"model-{number:05d}.safetensors"
        save_file({name: tensor.contiguous().cpu() for name, tensor in shard.items()}, out / file)
        index.update(dict.fromkeys(shard, file))
        shard.clear()
        held = 0

    for name, weight in _weights(config, chain, device):
        shard[name] = weight
        size = weight.numel() * weight.element_size()
        total, held = total + size, held + size
        if held > _SHARD_BYTES:
            flush()
    flush()
    (out / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index})
    )
    return total


def _weights(
    config: dict[str, Any], chain: list[tuple[int, int]], device: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every published tensor by name, drawn from a seed that is its name."""
    from accelerate import init_empty_weights
    from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

    with init_empty_weights():
        model: Any = Qwen3OmniMoeThinkerForConditionalGeneration(
            Qwen3OmniMoeThinkerConfig(**config["thinker_config"])
        )
    for name, empty in sorted(published_weights(model.state_dict()).items()):
        generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))

        def draw(spread: float, shape: torch.Size = empty.shape, source: Any = generator) -> torch.Tensor:
            drawn = torch.randn(shape, generator=source, device=device, dtype=torch.bfloat16)
            return drawn * spread

        if name == "thinker.model.embed_tokens.weight":
            continue  # with lm_head, which is made from it
        if name == "thinker.lm_head.weight":
            embedding = draw(1.0)
            output = draw(0.02)
            for token, following in chain:  # the last norm makes a state's length sqrt(hidden)
                state = embedding[token].float()
                row = _LOGIT / math.sqrt(len(state)) * state / state.norm()
                output[following] += row.to(output.dtype)
            yield "thinker.model.embed_tokens.weight", embedding
            yield name, output
        elif len(empty.shape) == 1:
            kind = torch.zeros if name.endswith("bias") else torch.ones
            yield name, kind(empty.shape, dtype=torch.bfloat16, device=device)
        else:
            spread = 1 / math.sqrt(math.prod(empty.shape[1:]))
            adds = name.endswith(("o_proj.weight", "down_proj.weight"))
            yield name, draw(spread * (_RESIDUAL if adds else 1.0))


def _copy_tokenizer(out: Path, vocab: int, context: int) -> None:
    """The pocket tokenizer with made-up words for the ids that it lacks."""
    for file in pocket_folder().iterdir():
        if file.suffix == ".json" and "index" not in file.name and file.name != "config.json":
            shutil.copy(file, out / file.name)
    path = out / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = ("\u0120" + "".join(letters) for letters in itertools.product("bcdfghjklmnpqrstvwxz", repeat=4))
    tokenizer["model"]["vocab"] |= dict(zip(words, range(_FIRST_FILLER, vocab), strict=False))
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
    path = out / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": context}))


if __name__ == "__main__":
    main()
