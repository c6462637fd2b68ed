"""How self-training's models are served: the local engine with an adapter, or vLLM with a merged model.

One server at a time, for the length of a `with` block, on one port. It is started again when it ends in the
middle, and it ends with this process too, however that ends. Knows nothing about rounds.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from audioreason.engines.gpus import Gpu, wait_for_memory
from audioreason.engines.vllm import VllmSettings
from audioreason.errors import JobError
from audioreason.jobs.supervise import BackgroundServer, Supervisor, Watcher, free_port
from audioreason.jobs.vllm import VllmForm, check_start, media_folder, vllm_command, vllm_memory
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint
    from audioreason.rest.config import RestConfig
    from audioreason.rest.phases import Serve

log = logging.getLogger("audioreason.jobs")

_WORK = 3.0  # GiB that the local engine takes on a GPU besides its weights
_NF4 = 0.3  # bytes of a model whose experts are held in 4 bits, against 16


def serving(workspace: Workspace, config: RestConfig, progress: Progress | None = None) -> Serve:
    """The `serve` of an experiment; `progress` hears of the loading.

    Raises (when called or entered):
        EngineError: if the local engine cannot start, or the GPU's memory stays in use.
        JobError: if vLLM is not installed, cannot serve an adapter apart, does not fit, or does not start.
        Interrupted: if a stop was asked for while it loaded.
    """

    def serve(folder: Path, adapter: Path | None, name: str) -> AbstractContextManager[Endpoint]:
        from audioreason.inference.endpoint import Endpoint, key_environment
        from audioreason.rest.phases import Interrupted

        port, key = free_port(), secrets.token_urlsafe(32)
        if config.engine == "vllm":
            if adapter is not None:
                raise JobError(
                    "vLLM cannot serve the adapter of this model apart from it.", "Merge it, or use local."
                )
            command, before = _vllm(workspace, config, folder, name, port)
        else:
            command, before = _local(workspace, config, folder, adapter, name, port)
        endpoint = Endpoint(name=config.engine, base_url=f"http://127.0.0.1:{port}/v1", model=name)
        supervisor = Supervisor(
            command,
            f"{endpoint.root_url}/health",
            config.engine,
            str(folder),
            patience=config.server_patience,
            attempts=config.server_restarts + 1,
            settled=math.inf,
            insist=False,
            before=before,
            environment=key_environment(key),
        )
        return BackgroundServer(supervisor, endpoint.with_key(key), progress or Quiet(), Interrupted)

    return serve


def vllm_form(config: RestConfig, folder: Path) -> VllmForm:
    """An experiment's settings of vLLM for one of its models.

    GPUs that `tensor_parallel` and `data_parallel` leave over serve more copies of the model.

    Raises:
        JobError: if the experiment has no GPU.
    """
    if not config.gpus:  # an experiment that began before this was refused
        raise JobError(
            "The engine vllm serves on GPUs, and the experiment's gpus is 0.",
            f"Set gpus to 1 in a copy of rest/{config.name}/config.json, and resume with --config FILE.",
        )
    copies = max(config.data_parallel, config.gpus // config.tensor_parallel)
    settings = config.model_dump(include=set(VllmSettings.model_fields))
    return VllmForm(**{**settings, "data_parallel": copies, "model": str(folder)})


def _vllm(
    workspace: Workspace, config: RestConfig, folder: Path, name: str, port: int
) -> tuple[list[str], Callable[[Watcher], bool]]:
    media = media_folder(workspace)
    media.mkdir(parents=True, exist_ok=True)
    form = vllm_form(config, folder)
    check_start(form)
    command = vllm_command(form, name, port, media)
    return command, vllm_memory(form, config.gpu_wait_seconds)


def _local(
    workspace: Workspace, config: RestConfig, folder: Path, adapter: Path | None, name: str, port: int
) -> tuple[list[str], Callable[[Watcher], bool]]:
    from audioreason.engines.launch import engine_command
    from audioreason.jobs.sizes import model_size

    command = engine_command(
        folder,
        port=port,
        adapter=adapter,
        quantize="nf4" if config.quantize == "nf4" else None,
        name=name,
        allowed_media=[workspace.root],
        reasoning_parser=config.reasoning_parser or None,
        device="cuda" if config.gpus else "cpu",
    )
    weights = model_size(str(folder)).weights / 2**20 * (_NF4 if config.quantize == "nf4" else 1)

    def needed(gpu: Gpu) -> float:
        return weights + _WORK * 1024

    def before(watcher: Watcher) -> bool:
        return not config.gpus or wait_for_memory(
            f"The local engine with {folder.name}", needed, watcher, seconds=config.gpu_wait_seconds
        )

    return command, before
