"""The kind `serve`: a model server that the lab looks after, the local engine or vLLM.

It is registered as an endpoint when it is healthy and taken off the list when it stops, restarted when it
fails, and gives its GPUs to other jobs when they need them. Knows nothing about who asks it.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from audioreason.engines.gpus import WAIT_SECONDS
from audioreason.errors import JobError
from audioreason.jobs.kinds import Check, Kind, Plan
from audioreason.jobs.live import JobProgress, StoppedEarly
from audioreason.jobs.spec import Needs
from audioreason.jobs.supervise import Supervisor, free_port, port_is_free
from audioreason.jobs.vllm import VllmForm, check_start, media_folder, preflight, vllm_command, vllm_memory
from audioreason.workspace import Workspace, shipped

log = logging.getLogger("audioreason.jobs")


class ServeSpec(VllmForm):
    """Which model is served by what, under which name."""

    engine: Literal["local", "vllm"] = Field(
        default="local",
        title="Engine",
        description="local: the lab's own, for small models. vllm: for large ones on GPUs.",
    )
    name: str = Field(
        default="server",
        min_length=1,
        title="Endpoint",
        description="The name under which it is found while it runs.",
    )
    make_default: bool = Field(
        default=False, title="Default endpoint", description="Used wherever none is named."
    )
    adapter: str = Field(
        default="",
        title="Adapter",
        description="Folder of LoRA weights to merge in.",
        json_schema_extra={"engine": "local", "widget": "adapter"},
    )
    quantize: Literal["none", "nf4"] = Field(
        default="none",
        title="Experts",
        description="nf4 holds them in 4 bits, and the adapter on top, as in training.",
        json_schema_extra={"engine": "local", "advanced": True},
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        title="Device",
        description="auto takes a GPU if one is leased to the job.",
        json_schema_extra={"engine": "local", "advanced": True},
    )
    gpus: int = Field(
        default=0, ge=0, title="GPUs", description="Leased for the local engine.",
        json_schema_extra={"engine": "local"},
    )  # fmt: skip
    threads: int | None = Field(
        default=None, ge=1, title="CPU threads", json_schema_extra={"engine": "local", "advanced": True}
    )
    patience: float = Field(
        default=900.0,
        gt=0,
        title="Time to become healthy",
        json_schema_extra={"advanced": True, "unit": "seconds"},
    )
    attempts: int = Field(
        default=5, ge=1, title="Failures in a row before it gives up", json_schema_extra={"advanced": True}
    )


def run(spec: ServeSpec, workspace: Workspace, progress: JobProgress) -> dict[str, Any]:
    """Serve until stopped; a server has no end of its own, so it is always "stopped", never "finished"."""
    from audioreason.inference.endpoint import (
        Endpoint,
        key_environment,
        load_endpoints,
        remove_endpoint,
        save_endpoint,
        server_key,
    )

    port = _port(spec, progress)
    model = _model_name(spec)
    media = media_folder(workspace)
    media.mkdir(parents=True, exist_ok=True)
    before = None
    if spec.engine == "vllm":
        check_start(spec)
        command = vllm_command(spec, model, port, media)
        before = vllm_memory(spec, WAIT_SECONDS)
    else:
        command = local_command(spec, workspace, model, port)
    key = server_key(workspace, progress.job_id)
    endpoint = Endpoint(
        name=spec.name,
        base_url=f"http://127.0.0.1:{port}/v1",
        model=model,
        api_key_file=key,
        job=progress.job_id,
    )

    progress.address(endpoint.base_url)

    def on_ready() -> None:
        save_endpoint(workspace, endpoint, True if spec.make_default else None)
        log.info("saved as the endpoint %s: %s", spec.name, endpoint.base_url)

    supervisor = Supervisor(
        command, f"{endpoint.root_url}/health", spec.engine, spec.model or model, patience=spec.patience,
        attempts=spec.attempts, before=before, environment=key_environment(key.read_text(encoding="utf-8")),
    )  # fmt: skip
    try:
        restarts = supervisor.serve(progress, on_ready)
    finally:
        # not if somebody has given the name to another server meanwhile
        if any(e.name == spec.name and e.base_url == endpoint.base_url for e in load_endpoints(workspace)):
            remove_endpoint(workspace, spec.name)
        key.unlink(missing_ok=True)
    times = "once" if restarts == 1 else f"{restarts} times"
    raise StoppedEarly(f"The server was stopped; it had been restarted {times}." if restarts else "")


def local_command(spec: ServeSpec, workspace: Workspace, model: str, port: int) -> list[str]:
    """The local engine's command as a list of words.

    Raises:
        JobError: if the model or the adapter is not there.
        EngineError: if torch is not installed, or the folder's model cannot be used.
    """
    from audioreason.engines.launch import engine_command

    folder = Path(spec.model).expanduser().resolve() if spec.model else shipped("pocket-listener")
    if not (folder / "config.json").is_file():
        raise JobError(f"There is no model in {folder}.", "Name a folder that holds config.json and weights.")
    adapter = Path(spec.adapter).expanduser().resolve() if spec.adapter else None
    if adapter is not None and not adapter.is_dir():
        raise JobError(f"There is no adapter in {adapter}.", "Name the folder that holds its weights.")
    return engine_command(
        folder,
        port=port,
        adapter=adapter,
        quantize=None if spec.quantize == "none" else spec.quantize,
        name=model,
        allowed_media=[media_folder(workspace)],
        reasoning_parser=spec.reasoning_parser or None,
        device=spec.device,
        threads=spec.threads,
    )


def plan(spec: ServeSpec, workspace: Workspace) -> Plan:
    """Its checks; a server has no items."""
    if spec.engine == "vllm":
        return Plan(checks=preflight(spec, workspace))
    checks = []
    try:
        local_command(spec, workspace, _model_name(spec), spec.port)
        checks.append(Check("model", "ok", f"{_model_name(spec)} is there."))
    except JobError as error:
        checks.append(Check("model", "fail", str(error)))
    if spec.port and not port_is_free(spec.port):
        checks.append(
            Check("port", "fail", f"Port {spec.port} is in use. Choose another, or 0 for a free one.")
        )
    return Plan(checks=tuple(checks))


def check_resume(spec: ServeSpec, workspace: Workspace, job_id: str) -> None:
    """A server can start again if its program, model and adapter are there.

    Raises:
        JobError: if one of them is not.
    """
    if spec.engine == "vllm":
        vllm_command(spec, _model_name(spec), spec.port, media_folder(workspace))
    else:
        local_command(spec, workspace, _model_name(spec), spec.port)


def needs(spec: ServeSpec) -> Needs:
    """Its GPUs. No CPU slot: a server mostly waits, and must not keep those who ask it from starting."""
    return Needs(
        gpus=spec.tensor_parallel * spec.data_parallel if spec.engine == "vllm" else spec.gpus, cpus=0
    )


def label(spec: ServeSpec) -> str:
    """Such as "pocket-listener by the local engine"."""
    return f"{_model_name(spec)} by {'vLLM' if spec.engine == 'vllm' else 'the local engine'}"


def _model_name(spec: ServeSpec) -> str:
    return Path(spec.model).name if spec.model else "pocket-listener"


def _port(spec: ServeSpec, progress: JobProgress) -> int:
    """The chosen port, else the one of the attempt before if it is still free, so that runs find it again."""
    if spec.port:
        return spec.port
    kept = progress.folder / "port.json"
    if kept.exists() and port_is_free(port := int(json.loads(kept.read_text(encoding="utf-8")))):
        return port
    port = free_port()
    kept.write_text(f"{port}\n", encoding="utf-8")
    return port


KIND = Kind(
    name="serve",
    title="Serve a model",
    about="Run a model server and keep it running; it becomes an endpoint when it is healthy.",
    spec=ServeSpec,
    run=run,
    plan=plan,
    needs=needs,
    label=label,
    check_resume=check_resume,
    preemptible=True,
    grace=25.0,
    presets={
        "Pocket Listener on this machine": {"name": "pocket-listener"},
        "paper: Qwen3-Omni-30B-A3B-Thinking on one GPU": {
            "engine": "vllm",
            "model": "Qwen/Qwen3-Omni-30B-A3B-Thinking",
            "name": "qwen3-omni",
            "reasoning_parser": "qwen3",
            "max_length": 16_384,
        },
    },
)
