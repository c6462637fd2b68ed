"""How self-training's models are served: the local engine with an adapter, or vLLM with a merged model.

One server at a time, for the length of a `with` block; it ends with this process too, however that ends.
Knows nothing about rounds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from audioreason.engines.tied import tied
from audioreason.errors import JobError
from audioreason.jobs.supervise import answers, free_port
from audioreason.workspace import Workspace

if TYPE_CHECKING:
    from audioreason.inference.endpoint import Endpoint
    from audioreason.rest.config import RestConfig
    from audioreason.rest.phases import Serve

log = logging.getLogger("audioreason.jobs")

_PATIENCE = 900.0  # seconds for vLLM to load a large model
_STOP_SECONDS = 30.0  # `tied` takes less to end all of it


def serving(workspace: Workspace, config: RestConfig) -> Serve:
    """The `serve` of an experiment.

    Raises (when called):
        EngineError: if the local engine cannot start.
        JobError: if vLLM is not installed, cannot serve an adapter apart, or does not start.
    """

    def serve(folder: Path, adapter: Path | None, name: str) -> contextlib.AbstractContextManager[Endpoint]:
        if config.engine == "vllm":
            if adapter is not None:
                raise JobError(
                    "vLLM cannot serve the adapter of this model apart from it.", "Merge it, or use local."
                )
            return _vllm(workspace, config, folder, name)
        from audioreason.engines.launch import start_engine

        return start_engine(
            folder,
            adapter=adapter,
            quantize="nf4" if config.quantize == "nf4" else None,
            name=name,
            allowed_media=[workspace.root],
            device="cuda" if config.gpus else "cpu",
            say=log.info,
        )

    return serve


@contextlib.contextmanager
def _vllm(workspace: Workspace, config: RestConfig, folder: Path, name: str) -> Iterator[Endpoint]:
    from audioreason.inference.endpoint import Endpoint, key_environment
    from audioreason.jobs.vllm import VllmForm, media_folder, vllm_command

    port = free_port()
    media = media_folder(workspace)
    media.mkdir(parents=True, exist_ok=True)
    form = VllmForm(model=str(folder), data_parallel=max(1, config.gpus))
    command = vllm_command(form, name, port, media)
    log.info("%s", " ".join(command))
    key = secrets.token_urlsafe(32)
    process = subprocess.Popen(
        tied(command), stdin=subprocess.PIPE, process_group=0, env=os.environ | key_environment(key)
    )
    try:
        root = f"http://127.0.0.1:{port}"
        began = time.monotonic()
        while not answers(f"{root}/health"):
            if process.poll() is not None:
                raise JobError(
                    f"vLLM ended with status {process.returncode} before it could serve {folder}.",
                    "Its last lines stand above; what was done is kept.",
                )
            if time.monotonic() - began > _PATIENCE:
                raise JobError(f"vLLM did not answer within {_PATIENCE:.0f} s.", "See what it said above.")
            time.sleep(0.5)
        yield Endpoint(name="vllm", base_url=f"{root}/v1", model=name).with_key(key)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
