"""Run a self-training job with vLLM to its end, kill it once in each phase, and measure the phases.

    python -m bench.gpu.rest_loop SPEC.yaml --workspace DIR [--kill PATTERN[@SECONDS] ...] [--limit SECONDS]

Submits the job, watches its state, and sends SIGKILL to its worker when a phase's name matches the first of
the patterns, that many seconds into the phase; then checks that no process of the job is left and that the
GPU is empty, resumes the job, and goes on to the next pattern. Prints each phase with its seconds and peak
GPU memory, what each kill left, and at the end the plan beside what was measured. Exit status 0 only if the
job finished and every kill was clean.

GPU memory comes from nvidia-smi; without it the column is empty and the check is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

_GONE_SECONDS = 30.0  # after a kill, for every process of the job to end and the GPU to be empty
_EMPTY_MIB = 1500  # a GPU that holds less is empty: the driver keeps some


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="A self-training job on real vLLM, killed in each phase.")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument(
        "--kill", action="append", default=[], help="regular expression on a phase's name; in this order"
    )
    parser.add_argument("--limit", type=float, default=3600.0)
    given = parser.parse_args(arguments)
    os.environ["AUDIOREASON_WORKSPACE"] = str(given.workspace)
    plan = _audioreason("jobs", "plan", "rest", "--spec", str(given.spec), "--json")
    job = _audioreason("jobs", "submit", "rest", "--spec", str(given.spec), "--json")["id"]
    folder = given.workspace / "jobs" / job
    memory = _Memory()
    waiting = [_pattern(kill) for kill in given.kill]
    clean = True
    began = time.monotonic()
    last = ""
    while time.monotonic() - began < given.limit:
        state = _state(folder)
        name = state.get("phase") or ""
        if name != last:
            print(f"[{time.monotonic() - began:7.1f}] {name}  GPU {memory.now} MiB", flush=True)
            last = name
        if state.get("ending") in ("finished", "failed", "stopped"):
            break
        if waiting and waiting[0][0].search(name) and _seconds_in(state) >= waiting[0][1]:
            waiting.pop(0)
            clean &= _kill_and_resume(job, name, memory)
            last = ""
        time.sleep(0.1)
    memory.stop()
    state = _state(folder)
    print(
        f"\njob {job}: {state.get('ending')} after {time.monotonic() - began:.0f} s;",
        state.get("error") or "",
    )
    for pattern, _ in waiting:
        print(f"never seen: a phase like {pattern.pattern}")
    _print_phases(state, memory)
    print(
        "\nplan:",
        json.dumps({key: plan.get(key) for key in ("seconds", "tokens", "requests", "notes", "phases")}),
    )
    return 0 if state.get("ending") == "finished" and clean and not waiting else 1


def _pattern(kill: str) -> tuple[re.Pattern[str], float]:
    """PATTERN[@SECONDS]; 3 seconds where none are given."""
    pattern, _, seconds = kill.rpartition("@") if "@" in kill else (kill, "", "3")
    return re.compile(pattern), float(seconds)


class _Memory:
    """GPU memory in use, sampled twice a second."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []
        self.now = 0
        self._over = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while not self._over.wait(0.5):
            used = _gpu_mib()
            if used is None:
                return
            self.now = used
            self.samples.append((time.time(), used))

    def peak(self, began: float, ended: float) -> int | None:
        """Most MiB in use between two times; None if nothing was sampled."""
        return max((used for at, used in self.samples if began <= at <= ended), default=None)

    def stop(self) -> None:
        self._over.set()


def _gpu_mib() -> int | None:
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return int(answer.stdout.split()[0])


def _kill_and_resume(job: str, phase: str, memory: _Memory) -> bool:
    """SIGKILL the job's worker; True if everything of it went and the resume was accepted."""
    workers = [
        process
        for process in psutil.process_iter(["cmdline"])
        if job in " ".join(process.info["cmdline"] or []) and "worker" in " ".join(process.info["cmdline"])
    ]
    family = {child for worker in workers for child in [worker, *worker.children(recursive=True)]}
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    began = time.monotonic()
    left: list[psutil.Process] = list(family)
    while time.monotonic() - began < _GONE_SECONDS:
        left = [process for process in family if _lives(process)]
        if not left and memory.now <= _EMPTY_MIB:
            break
        time.sleep(0.2)
    took = time.monotonic() - began
    print(
        f"SIGKILL in «{phase}»: {len(family)} processes, {len(left)} left after {took:.1f} s;"
        f" GPU {memory.now} MiB",
        flush=True,
    )
    for _ in range(50):  # the queue notices the dead worker within a second
        answer = subprocess.run(
            [sys.executable, "-m", "audioreason", "jobs", "resume", job], capture_output=True, text=True
        )
        if answer.returncode == 0:
            break
        time.sleep(0.3)
    print(f"resume: {(answer.stdout + answer.stderr).strip()[:300]}", flush=True)
    return bool(workers) and not left and answer.returncode == 0


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return state


def _seconds_in(state: dict[str, Any]) -> float:
    phases = state.get("phases") or []
    return time.time() - phases[-1]["began"] if phases else 0.0


def _print_phases(state: dict[str, Any], memory: _Memory) -> None:
    print(f"\n{'phase':44}{'attempt':>8}{'seconds':>9}{'peak MiB':>10}")
    for phase in state.get("phases") or []:
        ended = phase.get("ended") or time.time()
        peak = memory.peak(phase["began"], ended)
        print(
            f"{phase['name']:44}{phase.get('attempt', 1):>8}{ended - phase['began']:>9.1f}"
            f"{'' if peak is None else peak:>10}"
        )


def _audioreason(*words: str) -> dict[str, Any]:
    answer = subprocess.run([sys.executable, "-m", "audioreason", *words], capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"audioreason {' '.join(words)}: {answer.stderr.strip()}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
