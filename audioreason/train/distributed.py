"""Training in processes of its own, one for each GPU, so that the GPU is empty when it ends.

Memory that CUDA libraries take in a process is given back only when the process ends: after a training of a
30B model in the caller's process 35 GiB stay in use. So the recipe runs in a child process, or in one for
each of several GPUs (started by torchrun). The parent writes what to do into a file, starts the processes,
and relays what the first one says: its standard output carries one JSON object a line; its standard error
goes to the parent's log. A stop is a file that the first process looks for, and it tells the others; if the
parent is killed, all of them end. Knows nothing about the recipe.

    python -m audioreason.train.distributed TASK.json     one of the processes
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from audioreason import errors
from audioreason.engines.gpus import WAIT_SECONDS, wait_for_memory
from audioreason.engines.tied import tied
from audioreason.errors import EngineError, LabError
from audioreason.progress import Progress, Quiet
from audioreason.train.recipe import Recipe, Trained
from audioreason.workspace import Workspace

log = logging.getLogger("audioreason.train")

_ERRORS: dict[str, type[LabError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, LabError)
}
_LONGEST_LINE = 1 << 20  # characters of what a process says that are looked at together
_GRACE = 120.0  # seconds for a state to be written after a stop
_KEPT_LINES = 40  # of standard error, for the sentence if a process ends without one


def train_on(
    processes: int,
    workspace: Workspace,
    model: Path,
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    override_reason: str | None = None,
    progress: Progress | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Trained:
    """`loop.train` in so many child processes (one at least), each with its own GPU (or share of the CPU).

    On GPUs it first waits, `wait_seconds` at most, until the memory that the training needs is free.

    Raises:
        LabError: as `loop.train`, if the GPU's memory stays in use, or if a process was killed.
    """
    progress = progress or Quiet()
    processes = max(1, processes)
    if recipe.device == "cuda" and not _has_memory(
        processes, workspace, model, data, recipe, progress, wait_seconds
    ):
        return Trained(out, False, 0, 0, None, None, False, 0, False)  # stopped before it began
    with tempfile.TemporaryDirectory(prefix="audioreason-train-") as scratch:
        stop = Path(scratch) / "stop"
        task = Path(scratch) / "task.json"
        task.write_text(
            json.dumps(
                {
                    "workspace": str(workspace.root),
                    "model": str(model),
                    "data": str(data),
                    "out": str(out),
                    "recipe": recipe.model_dump(),
                    "resume": resume,
                    "override_reason": override_reason,
                    "stop": str(stop),
                }
            )
        )
        process = subprocess.Popen(
            tied(_command(processes, task)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stderr is not None
        words: deque[str] = deque(maxlen=_KEPT_LINES)
        reader = threading.Thread(target=_log, args=(process.stderr, words), name="training log", daemon=True)
        reader.start()
        try:
            said = _relay(process, progress, stop)
        finally:
            _end(process)
            reader.join(2)
        return _result(said, process.returncode, words)


def _command(processes: int, task: Path) -> list[str]:
    module = "audioreason.train.distributed"
    if processes == 1:
        return [sys.executable, "-P", "-m", module, str(task)]
    # torchrun itself: `accelerate launch --cpu` starts one process, whatever number is asked for
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*command, "--nproc_per_node", str(processes), "--module", module, str(task)]


def _has_memory(
    processes: int,
    workspace: Workspace,
    model: Path,
    data: Path,
    recipe: Recipe,
    progress: Progress,
    seconds: float,
) -> bool:
    """Whether the GPUs have the memory that the training is estimated to need; False after a stop."""
    from audioreason.train.plans import look_ahead

    needed = look_ahead(workspace, model, data, recipe).estimate.bytes / 2**20
    return wait_for_memory(
        f"Training {model.name}",
        lambda gpu: needed,
        progress,
        count=processes,
        seconds=seconds,
        advice="Lower the rank or part_tokens."
        if recipe.quantize
        else "Hold the frozen experts in 4 bits (quantize: nf4).",
    )


def _log(stream: IO[str], words: deque[str]) -> None:
    """Pass what the processes write to standard error on to the log, and keep the last of it."""
    with contextlib.suppress(ValueError, OSError):  # closed
        for line in stream:
            if text := line.rstrip():
                words.append(text)
                log.info("%s", text)


def _relay(process: subprocess.Popen[str], progress: Progress, stop: Path) -> dict[str, Any]:
    """Pass on what the first process says until it ends; its last word is a result or an error."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            if progress.should_stop():
                stop.touch()
                if not over.wait(_GRACE):
                    _end(process)
                return

    threading.Thread(target=watch, name="stop", daemon=True).start()
    last: dict[str, Any] = {}
    assert process.stdout is not None
    try:
        while line := process.stdout.readline(_LONGEST_LINE):
            if not line.startswith('{"audioreason"'):
                continue
            said = json.loads(line)["audioreason"]
            match said.pop("what"):
                case "phase":
                    progress.phase(said["name"], said["total"])
                case "done":
                    progress.done(said["count"], said["note"])
                case "metrics":
                    progress.metrics(said["step"], **said["values"])
                case _:
                    last = said
        process.wait()
    finally:
        over.set()
    return last


def _result(said: dict[str, Any], status: int, words: Sequence[str]) -> Trained:
    if "result" in said:
        values = said["result"]
        return Trained(**{**values, "folder": Path(values["folder"])})
    if "error" in said:
        raise _ERRORS.get(said["error"], EngineError)(said["message"], said["hint"])
    killed = status in (-signal.SIGKILL, 128 + signal.SIGKILL)
    why = "was killed, perhaps because memory ran out" if killed else f"ended with status {status}"
    last = f": {words[-1].strip()}" if words and not killed else "."
    raise EngineError(f"The training process {why}{last}", "What was saved is kept; resume it.")


def _end(process: subprocess.Popen[str]) -> None:
    """End what is left of the processes; they are a session of their own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class _Spoken:
    """A Progress that speaks on standard output."""

    def __init__(self, stop: Path) -> None:
        self._stop = stop

    def phase(self, name: str, total: int | None = None) -> None:
        _say(what="phase", name=name, total=total)

    def done(self, count: int, note: str = "") -> None:
        _say(what="done", count=count, note=note)

    def metrics(self, step: int, **values: float) -> None:
        _say(what="metrics", step=step, values=values)

    def should_stop(self) -> bool:
        return self._stop.exists()


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps({"audioreason": values}) + "\n")
    sys.stdout.flush()


def main(task: Path) -> int:
    """One of the processes; only the first one speaks."""
    from audioreason.train.loop import train

    given = json.loads(task.read_text())
    first = os.environ.get("RANK", "0") == "0"
    try:
        result = train(
            Workspace(Path(given["workspace"])),
            Path(given["model"]),
            Path(given["data"]),
            Path(given["out"]),
            Recipe.model_validate(given["recipe"]),
            resume=given["resume"],
            override_reason=given["override_reason"],
            progress=_Spoken(Path(given["stop"])) if first else None,
        )
    except LabError as error:
        if first:
            _say(what="error", error=type(error).__name__, message=error.message, hint=error.hint)
        return 1
    except Exception as error:  # noqa: BLE001 - the parent gets a sentence, the log the rest
        if first:
            traceback.print_exc()
            said = (str(error) or type(error).__name__).splitlines()[0]
            _say(
                what="error",
                error="EngineError",
                message=f"Training failed ({type(error).__name__}): {said}",
                hint="What was saved is kept; the log has the details.",
            )
        return 1
    if first:
        _say(what="result", result={**asdict(result), "folder": str(result.folder)})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
