"""Start the local engine as a child process and stop it: `with start_engine() as endpoint: ...`.

The child listens on a free loopback port and requires a key made for it. It holds the other end of a
pipe, so it ends when its parent does, however that happens. Knows nothing about what it is used for.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from audioreason.engines.text import check_folder, model_name
from audioreason.errors import EngineError
from audioreason.inference.endpoint import Endpoint, key_environment
from audioreason.workspace import LAB_TOKEN_VARIABLE, shipped

_ADDRESS = re.compile(r"http://[\w.:\[\]-]+/v1")
_STOP_SECONDS = 8.0
ENGINE_NAME = "local engine"  # the endpoint of an engine that the lab started itself


def pocket_folder() -> Path:
    """Where the shipped Pocket Listener is.

    Raises:
        EngineError: if the lab came without its weights.
    """
    folder = shipped("pocket-listener")
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"The Pocket Listener is not in {folder}.",
            "Install the complete package, or give a model folder or an endpoint.",
        )
    return folder


class RunningEngine:
    """A child process that serves a model; a context manager that gives its endpoint and stops it."""

    def __init__(self, process: subprocess.Popen[str], endpoint: Endpoint, log: IO[str]) -> None:
        self.process = process
        self.endpoint = endpoint
        self._log = log

    def stop(self) -> None:
        """Stop the child: SIGTERM, then SIGKILL after a few seconds. A second call does nothing."""
        _stop(self.process)
        self._log.close()

    def __enter__(self) -> Endpoint:
        return self.endpoint

    def __exit__(self, *exc: object) -> None:
        self.stop()


def start_engine(
    model: Path | None = None,
    *,
    adapter: Path | None = None,
    quantize: str | None = None,
    name: str | None = None,
    allowed_media: Sequence[Path] = (),
    reasoning_parser: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    timeout: float = 180.0,
    say: Callable[[str], None] | None = None,
) -> RunningEngine:
    """Start an engine and wait until it answers.

    Args:
        model: a model folder, or one of a language model that hears nothing (see `text`); the shipped Pocket
            Listener if None.
        adapter: LoRA weights to merge in.
        quantize: "nf4" holds the experts in 4 bits.
        name: what the model is called; its folder's name if None.
        allowed_media: folders from which clips may be read by file://, besides the shipped ones.
        reasoning_parser: "qwen3", or None to leave thoughts in the content.
        device: "cpu", "cuda" or "auto".
        threads: CPU threads; None leaves it to torch.
        timeout: seconds to wait.
        say: gets a line now and then while it starts.

    Raises:
        EngineError: if torch is not installed, the model is not there, or the child fails or takes too long.
    """
    folder = (model or pocket_folder()).resolve()
    command = engine_command(
        folder,
        adapter=adapter,
        quantize=quantize,
        name=name,
        allowed_media=allowed_media,
        reasoning_parser=reasoning_parser,
        device=device,
        threads=threads,
    )
    command.append("--child")
    log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by stop()
    key = secrets.token_urlsafe(32)  # in the memory of this process and the child's alone
    environment = os.environ | key_environment(key)
    environment.pop(LAB_TOKEN_VARIABLE, None)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        env=environment,
    )  # fmt: skip
    try:
        url = _wait(process, log, folder, timeout, say)
    except BaseException:
        _stop(process)
        log.close()
        raise
    endpoint = Endpoint(name=ENGINE_NAME, base_url=url, model=name or model_name(folder), transport="file")
    return RunningEngine(process, endpoint.with_key(key), log)


def engine_command(
    folder: Path,
    *,
    port: int = 0,
    adapter: Path | None = None,
    quantize: str | None = None,
    name: str | None = None,
    allowed_media: Sequence[Path] = (),
    reasoning_parser: str | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> list[str]:
    """The engine's command as a list of words; arguments as of `start_engine`. Port 0 takes a free one.

    Raises:
        EngineError: if torch is not installed, or the model is not there.
    """
    check_folder(folder)
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise EngineError(
                f"The local engine needs {package}, which is not installed.",
                'Install it with: pip install "audioreason[local]", or set an endpoint.',
            )
    command = [sys.executable, "-P", "-m", "audioreason.engines.server", "--model", str(folder)]
    command += ["--port", str(port), "--device", device]
    for media in (*allowed_media, shipped()):
        command += ["--allowed-media", str(media)]
    for option, value in (
        ("--adapter", adapter),
        ("--quantize", quantize),
        ("--served-model-name", name),
        ("--reasoning-parser", reasoning_parser),
        ("--threads", threads),
    ):
        if value is not None:
            command += [option, str(value)]
    return command


def _wait(
    process: subprocess.Popen[str],
    log: IO[str],
    folder: Path,
    timeout: float,
    say: Callable[[str], None] | None,
) -> str:
    """The address that the child printed, once it answers there."""
    assert process.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def forward(stream: IO[str]) -> None:
        for line in stream:
            lines.put(line)

    threading.Thread(target=forward, args=(process.stdout,), daemon=True).start()
    began = time.monotonic()
    url = ""
    told = began
    while True:
        now = time.monotonic()
        if say is not None and now - told >= 3:
            told = now
            say(f"Starting the engine for {folder.name}: {now - began:.0f} s.")
        if process.poll() is not None:
            raise EngineError(f"The engine for {folder} did not start: {_last_words(log)}")
        if now - began > timeout:
            raise EngineError(
                f"The engine for {folder} did not answer within {timeout:.0f} s.", _last_words(log)
            )
        if not url:
            try:
                found = _ADDRESS.search(lines.get(timeout=0.2))
            except queue.Empty:
                continue
            url = found.group() if found else ""
        elif _healthy(url):
            return url
        else:
            time.sleep(0.1)


def _healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url.removesuffix("/v1") + "/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_words(log: IO[str]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it said nothing."


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
