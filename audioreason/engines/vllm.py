"""The settings of a vLLM server, declared once: for a served model and for self-training.

The defaults fit Qwen3-Omni-30B-A3B in 16 bits on one GPU of 80 GB that nothing else uses. Builds no command
and starts nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from audioreason.engines.vllm_arguments import check_arguments

PATIENCE, RESTARTS = 900.0, 3  # seconds for a model to load; how often a server is started again


class VllmSettings(BaseModel):
    """How vLLM serves a model; everything that has no field is `extra_args`."""

    tensor_parallel: int = Field(
        default=1,
        ge=1,
        title="Tensor parallel",
        description="GPUs that share one copy of the model.",
        json_schema_extra={"unit": "GPUs", "engine": "vllm"},
    )
    data_parallel: int = Field(
        default=1,
        ge=1,
        title="Data parallel",
        description="Copies of the model behind one address.",
        json_schema_extra={"unit": "copies", "engine": "vllm"},
    )
    max_length: int = Field(
        default=16_384,
        ge=256,
        title="Longest question and answer together",
        description="vLLM's --max-model-len.",
        json_schema_extra={"unit": "tokens", "engine": "vllm"},
    )
    max_num_seqs: int | None = Field(
        default=None,
        ge=1,
        title="Answers generated at once, at most",
        description="vLLM's --max-num-seqs; empty leaves it to vLLM. Lower it if vLLM runs out of memory.",
        json_schema_extra={"advanced": True, "engine": "vllm"},
    )
    reasoning_parser: str = Field(
        default="",
        title="Reasoning parser",
        description="qwen3 gives thoughts apart from the answer; empty leaves <think> in the text.",
    )
    quantisation: Literal["", "fp8", "bitsandbytes", "awq", "gptq"] = Field(
        default="",
        title="Quantisation",
        description="fp8 and bitsandbytes shrink on loading; awq and gptq need such a checkpoint.",
        json_schema_extra={"engine": "vllm"},
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", title="Number format", json_schema_extra={"advanced": True, "engine": "vllm"}
    )
    gpu_memory_utilization: float = Field(
        default=0.9,
        gt=0,
        le=1,
        title="Share of GPU memory",
        description="vLLM takes this much at once and fills the rest of it with cache.",
        json_schema_extra={"engine": "vllm"},
    )
    limit_mm: dict[str, int] = Field(
        default={"audio": 1, "image": 1, "video": 1},
        title="Media in one question",
        description="Zeros for image and video stop vLLM 0.24 from starting with Qwen3-Omni.",
        json_schema_extra={"advanced": True, "engine": "vllm"},
    )
    extra_args: list[str] = Field(
        default=[],
        title="Further arguments",
        description="One word each, as vllm serve takes them.",
        json_schema_extra={"advanced": True, "engine": "vllm"},
    )

    @field_validator("reasoning_parser")
    @classmethod
    def _no_option(cls, value: str) -> str:
        if value.startswith("-"):
            raise ValueError("a name does not begin with a dash")
        return value

    @field_validator("extra_args")
    @classmethod
    def _allowed(cls, value: list[str]) -> list[str]:
        check_arguments(value)
        return value


# what may differ when an experiment goes on: it decides how fast answers come and whether they fit
OPERATIONAL = (
    "tensor_parallel", "data_parallel", "max_length", "max_num_seqs", "gpu_memory_utilization", "extra_args",
)  # fmt: skip
