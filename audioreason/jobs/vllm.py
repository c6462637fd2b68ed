"""vLLM as a job: its command as a list built from a form, and a look at the machine before it is started.

vLLM lives in its own environment; `AUDIOREASON_VLLM` is its executable and nothing here imports it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from audioreason.engines.gpus import Gpu, gpus_now, own_gpus, wait_for_memory
from audioreason.engines.vllm import VllmSettings
from audioreason.errors import JobError
from audioreason.jobs.kinds import Check
from audioreason.jobs.sizes import ModelSize, model_size
from audioreason.jobs.supervise import Watcher, port_is_free
from audioreason.wording import counted
from audioreason.workspace import Workspace

EXECUTABLE_VARIABLE = "AUDIOREASON_VLLM"

_OVERHEAD = 3.0  # GiB a GPU for activations, CUDA graphs and the audio tower's work; FACTS: 59.3 loaded on 80
_GIB = 2**30


class _Served(BaseModel):
    model: str = Field(
        default="",
        title="Model",
        description="A folder, or a name on the hub. Empty: the shipped Pocket Listener (local engine).",
        json_schema_extra={"widget": "model"},
    )
    port: int = Field(
        default=0, ge=0, le=65_535, title="Port", description="0 takes a free one.",
        json_schema_extra={"advanced": True},
    )  # fmt: skip

    @field_validator("model")
    @classmethod
    def _model_is_no_option(cls, value: str) -> str:
        if value.startswith("-"):
            raise ValueError("a name does not begin with a dash")
        return value


class VllmForm(VllmSettings, _Served):  # pydantic takes the last base's fields first
    """What one chooses when starting vLLM."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def vllm_executable() -> str | None:
    """`AUDIOREASON_VLLM`, else `vllm` on the path; None if there is none."""
    return shutil.which(os.environ.get(EXECUTABLE_VARIABLE) or "vllm")


def media_folder(workspace: Workspace) -> Path:
    """The only folder from which a server may read clips: where every clip lies that the lab sends."""
    return workspace.clips


def vllm_command(form: VllmForm, name: str, port: int, media: Path) -> list[str]:
    """The command as a list of words; no shell sees it.

    Raises:
        JobError: if vLLM is not installed, no model is named, or `media` would open the whole disk.
    """
    executable = vllm_executable()
    if executable is None:
        raise JobError(
            "vLLM is not installed.",
            f"Install it with: make vllm, and set {EXECUTABLE_VARIABLE} to its executable.",
        )
    if not form.model:
        raise JobError("vLLM needs a model.", "Name a folder, or a model on the hub.")
    if media.resolve() == Path(media.resolve().anchor):
        raise JobError("vLLM may not read the whole disk.", "Use a workspace below a folder of its own.")
    command = [executable, "serve", form.model, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--served-model-name", name, "--allowed-local-media-path", str(media.resolve())]
    command += ["--max-model-len", str(form.max_length)]
    command += ["--gpu-memory-utilization", f"{form.gpu_memory_utilization:g}", "--dtype", form.dtype]
    if form.tensor_parallel > 1:
        command += ["--tensor-parallel-size", str(form.tensor_parallel)]
    if form.data_parallel > 1:
        command += ["--data-parallel-size", str(form.data_parallel)]
    if form.max_num_seqs:
        command += ["--max-num-seqs", str(form.max_num_seqs)]
    if form.reasoning_parser:
        command += ["--reasoning-parser", form.reasoning_parser]
    if form.quantisation:
        command += ["--quantization", form.quantisation]
    if form.limit_mm:
        command += ["--limit-mm-per-prompt", json.dumps(form.limit_mm, separators=(",", ":"))]
    return [*command, *form.extra_args]


def preflight(
    form: VllmForm, workspace: Workspace, gpus: Callable[[], Sequence[Gpu]] = gpus_now
) -> tuple[Check, ...]:
    """What is needed against what is there, each with its arithmetic; quick, starts nothing."""
    size = model_size(form.model)
    return (
        _executable(),
        _model(form, size),
        _memory(form, size, gpus()),
        _disk(size, workspace),
        _port(form),
    )


def check_start(form: VllmForm, gpus: Callable[[], Sequence[Gpu]] = own_gpus) -> None:
    """See that vLLM can serve before anything is loaded: executable, model, size of the GPUs, port.

    Memory that is in use now may become free: see `vllm_memory`. Where nvidia-smi shows no GPU, the size is
    not checked.

    Raises:
        JobError: with the first that is wrong.
    """
    size = model_size(form.model)
    found = gpus()
    checks = [_executable(), _model(form, size), *([_fits(form, size, found)] if found else []), _port(form)]
    for check in checks:
        if check.state == "fail":
            raise JobError(check.sentence, "Nothing was loaded.")


def vllm_memory(form: VllmForm, seconds: float) -> Callable[[Watcher], bool]:
    """A function that waits until the memory is free that vLLM takes when it starts."""

    def before(watcher: Watcher) -> bool:
        return wait_for_memory(
            f"vLLM with {Path(form.model).name} (gpu_memory_utilization {form.gpu_memory_utilization:g})",
            lambda gpu: form.gpu_memory_utilization * gpu.total,
            watcher,
            count=form.tensor_parallel * form.data_parallel,
            seconds=seconds,
            advice="Or lower gpu_memory_utilization.",
        )

    return before


def _executable() -> Check:
    found = vllm_executable()
    named = os.environ.get(EXECUTABLE_VARIABLE)
    if found is not None:
        return Check("vLLM", "ok", f"{found} is there.")
    what = (
        f"{EXECUTABLE_VARIABLE} is {named}, which cannot be run" if named else "There is no vllm on the path"
    )
    return Check("vLLM", "fail", f"{what}. Install it with: make vllm, and set {EXECUTABLE_VARIABLE}.")


def _model(form: VllmForm, size: ModelSize) -> Check:
    if not form.model:
        return Check("model", "fail", "No model is named.")
    if size.folder is None and (form.model.startswith((".", "/", "~")) or form.model.count("/") > 1):
        return Check("model", "fail", f"There is no folder {form.model}.")
    if size.folder is None:
        return Check("model", "warn", f"{form.model} is not on this disk; vLLM will download it.")
    if size.weights == 0:
        return Check(
            "model", "warn", f"{size.folder} holds no safetensors: only dummy weights can be served."
        )
    return Check("model", "ok", f"{size.folder}: {size.weights / _GIB:.1f} GiB of weights.")


def _fits(form: VllmForm, size: ModelSize, gpus: Sequence[Gpu]) -> Check:
    """Whether the model fits into its share of the GPUs when nothing else uses them."""
    return _memory(form, size, [replace(gpu, used=0) for gpu in gpus])


def _memory(form: VllmForm, size: ModelSize, gpus: Sequence[Gpu]) -> Check:
    wanted = form.tensor_parallel * form.data_parallel
    if len(gpus) < wanted:
        return Check(
            "GPU memory",
            "fail",
            f"{form.tensor_parallel} (tensor) x {form.data_parallel} (data) ="
            f" {counted(wanted, 'GPU')} needed, {len(gpus)} there.",
        )
    best = sorted(gpus, key=lambda gpu: -gpu.free)[:wanted]
    total, free = min(gpu.total for gpu in best) / 1024, min(gpu.free for gpu in best) / 1024  # GiB
    share = form.gpu_memory_utilization * total
    shared = (
        f"vLLM takes {form.gpu_memory_utilization:g} x {total:.1f} = {share:.1f} GiB, and {free:.1f} are free"
    )
    if size.weights == 0:
        state = "warn" if share <= free else "fail"
        return Check("GPU memory", state, f"The model's size is not known yet; {shared}.")
    factor = {"fp8": 0.5, "bitsandbytes": 0.3}.get(form.quantisation, 1.0) if size.unquantised else 1.0
    weights = size.weights * factor / _GIB / form.tensor_parallel
    cache = size.cache_bytes_per_token * form.max_length / _GIB / form.tensor_parallel
    need = weights + cache + _OVERHEAD
    shares = f" / {form.tensor_parallel} GPUs" if form.tensor_parallel > 1 else ""
    quantised = f" x {factor:g} ({form.quantisation})" if factor != 1 else ""
    sentence = (
        f"Weights {size.weights / _GIB:.1f}{quantised}{shares} + cache of {form.max_length:,} tokens"
        f" {cache:.1f} + work {_OVERHEAD:.0f} = {need:.1f} GiB on each GPU; {shared}."
    )
    if need > share:
        return Check("GPU memory", "fail", f"{sentence} Use more GPUs, quantisation or a shorter length.")
    if share > free:
        return Check("GPU memory", "fail", f"{sentence} Stop what uses the GPU, or take a smaller share.")
    tight = need > 0.95 * share
    return Check("GPU memory", "warn" if tight else "ok", sentence + (" That is tight." if tight else ""))


def _disk(size: ModelSize, workspace: Workspace) -> Check:
    free = shutil.disk_usage(workspace.root).free / _GIB
    if size.folder is not None:
        state = "ok" if free > 2 else "warn"
        return Check("disk", state, f"{free:.1f} GiB free for logs and runs; nothing is downloaded.")
    hub = size.cache if size.cache.exists() else Path.home()
    there = shutil.disk_usage(hub).free / _GIB
    state = "warn" if there < 80 else "ok"
    return Check(
        "disk", state, f"{there:.1f} GiB free in {hub} for the download; a model of 30B in bf16 takes 60."
    )


def _port(form: VllmForm) -> Check:
    if form.port == 0:
        return Check("port", "ok", "A free one will be taken.")
    if port_is_free(form.port):
        return Check("port", "ok", f"{form.port} is free.")
    return Check("port", "fail", f"Port {form.port} is in use. Choose another, or 0 for a free one.")
