"""How self-training's models are served: the local engine with an adapter, or vLLM with a merged model.

One server at a time, for the length of a `with` block, on one port. It is started again when it ends in the
middle, and it ends with this process too, however that ends. Knows nothing about rounds.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audioreason.engines.gpus import WAIT_SECONDS, wait_for_memory
from audioreason.engines.vllm import PATIENCE, RESTARTS, VllmSettings
from audioreason.errors import JobError
from audioreason.inference.endpoint import Endpoint, key_environment
from audioreason.jobs.supervise import BackgroundServer, Supervisor, Watcher, free_port
from audioreason.jobs.vllm import VllmForm, check_start, media_folder, vllm_command, vllm_memory
from audioreason.progress import Progress, Quiet
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.rest.config import RestConfig
    from audioreason.rest.phases import Serve

_WORK = 3 * 1024  # MiB that the local engine takes on a GPU besides its weights
_NF4 = 0.3  # bytes of a model whose experts are held in 4 bits, against 16


def serving(workspace: Workspace, config: RestConfig, progress: Progress | None = None) -> Serve:
    """The `serve` of an experiment; `progress` hears of the loading.

    Raises (when called or entered):
        EngineError: if the local engine cannot start, or the GPU's memory stays in use.
        JobError: if vLLM is not installed, cannot serve an adapter apart, does not fit, or does not start.
        Interrupted: if a stop was asked for while it loaded.
    """

    told = progress or Quiet()

    def serve(folder: Path, adapter: Path | None, name: str) -> BackgroundServer:
        from audioreason.rest.phases import Interrupted

        if config.engine == "local":
            return local_server(
                folder,
                told,
                Interrupted,
                adapter=adapter,
                quantize="nf4" if config.quantize == "nf4" else None,
                name=name,
                media=[workspace.root],
                gpus=config.gpus,
                reasoning_parser=config.reasoning_parser,
                wait_seconds=config.gpu_wait_seconds,
                restarts=config.server_restarts,
                patience=config.server_patience,
            )
        if adapter is not None:
            raise JobError(
                "vLLM cannot serve the adapter of this model apart from it.", "Merge it, or use local."
            )
        form, port, media = vllm_form(config, folder), free_port(), media_folder(workspace)
        check_start(form)
        media.mkdir(parents=True, exist_ok=True)
        return _background(
            vllm_command(form, name, port, media),
            "vllm",
            str(folder),
            Endpoint(name="vllm", base_url=f"http://127.0.0.1:{port}/v1", model=name),
            told,
            Interrupted,
            vllm_memory(form, config.gpu_wait_seconds),
            config.server_restarts,
            config.server_patience,
        )

    return serve


def local_server(
    folder: Path,
    progress: Progress,
    stopped: Callable[[], Exception],
    *,
    adapter: Path | None = None,
    quantize: str | None = None,
    name: str | None = None,
    media: Sequence[Path] = (),
    gpus: int = 0,
    reasoning_parser: str = "",
    wait_seconds: float = WAIT_SECONDS,
    restarts: int = RESTARTS,
    patience: float = PATIENCE,
) -> BackgroundServer:
    """The local engine with a model, kept running; see `BackgroundServer` for `progress` and `stopped`.

    Raises:
        EngineError: if torch is not installed, or the model is not there.
    """
    from audioreason.engines.launch import ENGINE_NAME, engine_command
    from audioreason.engines.text import model_name
    from audioreason.jobs.sizes import model_size

    port = free_port()
    command = engine_command(
        folder,
        port=port,
        adapter=adapter,
        quantize=quantize,
        name=name,
        allowed_media=media,
        reasoning_parser=reasoning_parser or None,
        device="cuda" if gpus else "cpu",
    )
    needed = model_size(str(folder)).weights / 2**20 * (_NF4 if quantize else 1) + _WORK

    def before(watcher: Watcher) -> bool:
        purpose = f"The local engine with {folder.name}"
        return not gpus or wait_for_memory(purpose, lambda gpu: needed, watcher, seconds=wait_seconds)

    endpoint = Endpoint(
        name=ENGINE_NAME,
        base_url=f"http://127.0.0.1:{port}/v1",
        model=name or model_name(folder),
        transport="file",
    )
    return _background(command, "local", str(folder), endpoint, progress, stopped, before, restarts, patience)


def _background(
    command: Sequence[str],
    engine: str,
    model: str,
    endpoint: Endpoint,
    progress: Progress,
    stopped: Callable[[], Exception],
    before: Callable[[Watcher], bool],
    restarts: int,
    patience: float,
) -> BackgroundServer:
    key = secrets.token_urlsafe(32)
    supervisor = Supervisor(
        command,
        f"{endpoint.root_url}/health",
        engine,
        model,
        patience=patience,
        attempts=restarts + 1,
        settled=math.inf,
        insist=False,
        before=before,
        environment=key_environment(key),
    )
    return BackgroundServer(supervisor, endpoint.with_key(key), progress, stopped)


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
