"""Which further arguments `vllm serve` is given: a list of those that set speed, memory and numbers.

Everything else is refused: vLLM has arguments that load code (plugins, middleware, worker classes), open the
server to others, or take a configuration in which such an argument can stand, and each version has more of
them. Names are of vLLM 0.24 (`vllm serve --help`). Knows nothing about jobs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_NUMBER = r"-?[0-9]+(\.[0-9]+)?"
_WORD = r"[A-Za-z0-9][\w.-]*"
_NAME = r"\w+"  # no dots: not the path of a class
_JSON = "JSON"
_FLAG = ""

# option: the form of its value; _FLAG takes none
_ALLOWED = {
    # how much at once
    "--max-num-seqs": _NUMBER,
    "--max-num-batched-tokens": _NUMBER,
    "--max-num-partial-prefills": _NUMBER,
    "--max-long-partial-prefills": _NUMBER,
    "--long-prefill-token-threshold": _NUMBER,
    "--max-logprobs": _NUMBER,
    "--scheduling-policy": "fcfs|priority",
    "--stream-interval": _NUMBER,
    "--api-server-count": _NUMBER,
    "--async-scheduling": _FLAG,
    "--no-async-scheduling": _FLAG,
    "--enable-chunked-prefill": _FLAG,
    "--no-enable-chunked-prefill": _FLAG,
    # memory
    "--block-size": _NUMBER,
    "--cpu-offload-gb": _NUMBER,
    "--swap-space": _NUMBER,
    "--kv-cache-dtype": _WORD,
    "--kv-cache-memory-bytes": _WORD,
    "--num-gpu-blocks-override": _NUMBER,
    "--calculate-kv-scales": _FLAG,
    "--enable-prefix-caching": _FLAG,
    "--no-enable-prefix-caching": _FLAG,
    "--mm-processor-cache-gb": _NUMBER,
    "--mm-encoder-tp-mode": "weights|data",
    "--skip-mm-profiling": _FLAG,
    # several GPUs
    "--pipeline-parallel-size": _NUMBER,
    "--enable-expert-parallel": _FLAG,
    "--no-enable-expert-parallel": _FLAG,
    "--enable-eplb": _FLAG,
    "--distributed-executor-backend": "mp|ray|uni",
    "--disable-custom-all-reduce": _FLAG,
    # how it computes
    "--enforce-eager": _FLAG,
    "--no-enforce-eager": _FLAG,
    "--seed": _NUMBER,
    "--attention-backend": _NAME,
    "--disable-cascade-attn": _FLAG,
    "-O": "[0-3]",
    "--optimization-level": "[0-3]",
    # the model: safetensors only, and settings of how answers are drawn
    "--load-format": "auto|safetensors|fastsafetensors|dummy|bitsandbytes",
    "--safetensors-load-strategy": _WORD,
    "--revision": _WORD,
    "--tokenizer-revision": _WORD,
    "--tokenizer-mode": "auto|slow",
    "--generation-config": "auto|vllm",
    "--override-generation-config": _JSON,
    "--speculative-config": _JSON,
    # what it writes
    "--disable-log-stats": _FLAG,
    "--disable-log-requests": _FLAG,
    "--enable-log-requests": _FLAG,
    "--no-enable-log-requests": _FLAG,
    "--disable-uvicorn-access-log": _FLAG,
    "--max-log-len": _NUMBER,
    "--uvicorn-log-level": "debug|info|warning|error|critical|trace",
}
# keys of JSON values, where not every one is harmless
_KEYS = {
    "--speculative-config": {
        "method", "model", "num_speculative_tokens", "prompt_lookup_min", "prompt_lookup_max",
        "draft_tensor_parallel_size", "max_model_len", "quantization", "revision", "enforce_eager",
    },
    "--override-generation-config": {
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_new_tokens",
    },
}  # fmt: skip

_METHODS = ("ngram", "draft_model", "eagle", "eagle3", "medusa", "mtp", "suffix")

_LOADS_CODE = "it loads code"
_OPENS = "it opens the server to others"
_ON_A_LINE = "it would stand on a command line and in a file"
_FIELD = "there is a field for it"
# why an option that someone may well try is refused
_REASONS = {
    "--allowed-local-media-path": "the lab sets it: vLLM reads no other folder",
    "--allowed-media-domains": "clips come from this machine only",
    "--allow-credentials": _OPENS,
    "--allowed-headers": _OPENS,
    "--allowed-methods": _OPENS,
    "--allowed-origins": _OPENS,
    "--api-key": f"{_ON_A_LINE}; the lab makes one and hands it over as a variable",
    "--compilation-config": _LOADS_CODE,
    "--config": "it could set what the lab decides; give its settings as arguments",
    "--data-parallel-size": _FIELD,
    "--dtype": _FIELD,
    "--gpu-memory-utilization": _FIELD,
    "--hf-token": f"{_ON_A_LINE}; export HF_TOKEN instead",
    "--host": "the server answers this machine only",
    "--limit-mm-per-prompt": _FIELD,
    "--logits-processors": _LOADS_CODE,
    "--max-model-len": _FIELD,
    "--middleware": _LOADS_CODE,
    "--model-impl": _LOADS_CODE,
    "--model-loader-extra-config": _LOADS_CODE,
    "--port": "choose it by the field of that name",
    "--quantization": _FIELD,
    "--reasoning-parser": _FIELD,
    "--reasoning-parser-plugin": _LOADS_CODE,
    "--root-path": _OPENS,
    "--scheduler-cls": _LOADS_CODE,
    "--served-model-name": "the lab sets it: runs are compared by this name",
    "--ssl-keyfile-password": _ON_A_LINE,
    "--tensor-parallel-size": _FIELD,
    "--tool-parser-plugin": _LOADS_CODE,
    "--trust-remote-code": "the lab runs no code that comes with a model",
    "--uds": _OPENS,
    "--worker-cls": _LOADS_CODE,
    "--worker-extension-cls": _LOADS_CODE,
}


def check_arguments(words: Sequence[str]) -> None:
    """See that every word is an option of the list or the value of one.

    Raises:
        ValueError: with a sentence that names the first option that is not taken and never repeats its value.
    """
    rest = list(words)
    while rest:
        name, given, value = rest.pop(0).partition("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        if re.fullmatch(r"-O[0-3]", name):
            name, given, value = "-O", "=", name[2:]
        form = _ALLOWED.get(name)
        if form is None:
            raise ValueError(_refusal(name))
        if form == _FLAG:
            if given:
                raise ValueError(f"{name} takes no value")
            continue
        if not given:
            if not rest:
                raise ValueError(f"{name} needs a value")
            value = rest.pop(0)
        if form == _JSON:
            _check_json(name, value)
        elif not re.fullmatch(form, value):
            raise ValueError(f"this value of {name} is not taken: it must be {_in_words(form)}")


def _check_json(name: str, text: str) -> None:
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the value of {name} is no JSON object") from error
    if not isinstance(value, dict):
        raise ValueError(f"the value of {name} is no JSON object")  # noqa: TRY004 - pydantic wants it
    if unknown := sorted(set(value) - _KEYS[name]):
        raise ValueError(
            f"{name} with {unknown[0]} is not taken, as it may load code;"
            f" its keys are {', '.join(sorted(_KEYS[name]))}"
        )
    if value.get("method", "ngram") not in _METHODS:
        raise ValueError(f"this method of {name} is not taken: it must be one of {', '.join(_METHODS)}")
    if any(isinstance(inner, dict | list) for inner in value.values()):
        raise ValueError(f"{name} is not taken with a value that is a list or an object")


def _refusal(name: str) -> str:
    if not name.startswith("-"):
        return "a further argument is not taken: it is neither an option nor the value of one"
    option = name.partition(".")[0]  # --compilation-config.level is a part of --compilation-config
    # vLLM takes abbreviations, and --no-x, too
    reason = _REASONS.get(option) or next(
        (why for known, why in _REASONS.items() if len(option) > 3 and known.startswith(option)), ""
    )
    full = next((known for known in _REASONS if known.startswith(option) and len(option) > 3), name)
    why = reason or "the lab passes on only options that set speed, memory and numbers, by their full names"
    return f"{full} is not taken: {why}"


def _in_words(form: str) -> str:
    return {_NUMBER: "a number", _WORD: "a name", _NAME: "a name"}.get(
        form, form.replace("|", ", ").replace("[0-3]", "0 to 3")
    )
