"""Training on several GPUs of one host: the same recipe once for each, started by torchrun.

The parent writes what to do into a file, starts the processes, and relays what the first one says: its
standard output carries one JSON object a line. A stop is a file that the first process looks for, and it
tells the others; if the parent is killed, all of them end. Knows nothing about the recipe.

    python -m audioreason.train.distributed TASK.json     one of the processes
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from audioreason.engines.tied import tied
from audioreason.errors import EngineError, GuardError, ItemError, LabError, WorkspaceError
from audioreason.progress import Progress, Quiet
from audioreason.train.recipe import Recipe, Trained
from audioreason.workspace import Workspace

_ERRORS: dict[str, type[LabError]] = {
    kind.__name__: kind for kind in (EngineError, GuardError, ItemError, WorkspaceError)
}
_LONGEST_LINE = 1 << 20  # characters of what a process says that are looked at together
_GRACE = 120.0  # seconds for a state to be written after a stop


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
) -> Trained:
    """`loop.train` in so many processes, each with its own GPU (or share of the CPU).

    Raises:
        LabError: as `loop.train`, or if a process ended without a word.
    """
    progress = progress or Quiet()
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
        # torchrun itself: `accelerate launch --cpu` starts one process, whatever number is asked for
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc_per_node", str(processes), "--module", "audioreason.train.distributed"]
        command += [str(task)]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            process = subprocess.Popen(
                tied(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            try:
                said = _relay(process, progress, stop)
            finally:
                _end(process)
            return _result(said, process.returncode, log)


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


def _result(said: dict[str, Any], status: int, log: IO[str]) -> Trained:
    if "result" in said:
        values = said["result"]
        return Trained(**{**values, "folder": Path(values["folder"])})
    if "error" in said:
        raise _ERRORS.get(said["error"], EngineError)(said["message"], said["hint"])
    log.seek(0)
    words = [line.strip() for line in log if line.strip()]
    raise EngineError(
        f"Training in several processes ended with status {status}: {words[-1] if words else 'no word'}",
        "What was saved is kept; resume it.",
    )


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
    if first:
        _say(what="result", result={**asdict(result), "folder": str(result.folder)})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
