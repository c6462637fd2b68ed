"""Stands in for the executable `vllm`: `serve MODEL --port N ...`, with its log lines, refusals and deaths.

The folder in FAKE_VLLM holds what it says of itself (`starts`, `grandchild`) and what it shall do:

    fail           that many starts end at once, with a plain exception
    core           starts end as vLLM's do: the engine's exception first (this text), then noise
    load_seconds   how long it loads, printing lines
    crash          it ends when this appears
    die_after      it ends after so many chat requests; the file is taken away
    deaf           it ignores SIGTERM
    memory.json    {"total": MiB, "others": {pid: MiB}} of the GPU; it takes its share, or does not start
    gold.json      {question: [right, wrong]}: it is right for even seeds

It reads clips from --allowed-local-media-path alone, as `tests.servers.FakeServer` does. Run as `nvidia-smi`,
it tells what memory.json says and what servers hold now.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_VLLM"])
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
CORE = "(EngineCore_DP0 pid=77) "


def say(line: str) -> None:
    print(line, flush=True)


def held() -> dict[int, int]:
    """MiB by process, of those that live."""
    memory = json.loads((HOME / "memory.json").read_text())
    found = {int(pid): int(mib) for pid, mib in memory.get("others", {}).items()}
    for path in (HOME / "held").glob("*"):
        if Path(f"/proc/{path.name}").exists():
            found[int(path.name)] = int(path.read_text())
    return found


def smi(arguments: list[str]) -> None:
    if not (HOME / "memory.json").exists():
        sys.exit(9)
    used = held()
    total = json.loads((HOME / "memory.json").read_text())["total"]
    values = {
        "index": "0", "name": "Stand-in", "memory.total": total, "memory.used": sum(used.values()),
        "uuid": "GPU-0",
    }  # fmt: skip
    for argument in arguments:
        if argument.startswith("--query-gpu="):
            say(", ".join(str(values[name]) for name in argument.partition("=")[2].split(",")))
        if argument == "--query-compute-apps=pid,used_memory":
            for pid, mib in used.items():
                say(f"{pid}, {mib}")


def take_memory(share: float) -> None:
    """Hold this process's share, or end as vLLM does where it is not free."""
    if not (HOME / "memory.json").exists():
        return
    total = json.loads((HOME / "memory.json").read_text())["total"]
    free, wanted = total - sum(held().values()), share * total
    if free < wanted:
        fail_in_core(
            f"ValueError: Free memory on device ({free / 1024:.1f}/{total / 1024:.1f} GiB) on startup is less"
            f" than desired GPU memory utilization ({share}, {wanted / 1024:.1f} GiB)."
        )
    (HOME / "held").mkdir(exist_ok=True)
    (HOME / "held" / str(os.getpid())).write_text(str(int(wanted)))


def fail_in_core(cause: str) -> None:
    """What vLLM prints when its engine cannot start: the cause, and then what follows from it."""
    before = f"{CORE}ERROR 11-23 02:00:00 [core.py:708] "
    say(f"{before}EngineCore failed to start.")
    say(f"{before}Traceback (most recent call last):")
    say(f'{before}  File "/x/vllm/v1/engine/core.py", line 699, in run_engine_core')
    say(f"{before}{cause}")
    say(f"{CORE}Process EngineCore_DP0:")
    say("(APIServer pid=70) Traceback (most recent call last):")
    say("(APIServer pid=70) RuntimeError: Engine core initialization failed. See root cause above.")
    say("/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: leaked shared_memory")
    sys.exit(1)


def load(count: int) -> None:
    say(f"INFO 11-23 02:00:00 [api_server.py:1] starting, life {count}")
    say(f"WARNING 11-23 02:00:00 [api_server.py:2] key {os.environ.get('OPENAI_API_KEY')}")
    fail = HOME / "fail"
    if fail.exists() and count <= int(fail.read_text()):
        say("ValueError: not enough memory for one block")
        sys.exit(1)
    take_memory(float(value("--gpu-memory-utilization")))
    seconds = float((HOME / "load_seconds").read_text()) if (HOME / "load_seconds").exists() else 0.0
    for step in range(4 if seconds else 0):
        shards = f"Loading safetensors checkpoint shards:  {25 * step}% Completed"
        say(f"{CORE}INFO 11-23 02:00:00 [weights.py:1] {shards}")
        time.sleep(seconds / 4)
    if (HOME / "core").exists():
        fail_in_core((HOME / "core").read_text())


def value(option: str) -> str:
    return sys.argv[sys.argv.index(option) + 1]


def serve() -> None:
    with (HOME / "starts").open("a") as starts:
        starts.write(json.dumps(sys.argv[1:]) + "\n")
    count = len((HOME / "starts").read_text().splitlines())
    print(f"INFO 11-23 02:00:00 [api_server.py:3] own key {os.environ.get('VLLM_API_KEY')}", flush=True)
    (HOME / "key").write_text(os.environ.get("VLLM_API_KEY", ""))
    load(count)
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=count % 2 == 0)
    (HOME / "grandchild").write_text(str(child.pid))
    if (HOME / "deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    from tests.servers import FakeServer, Request, Text

    gold = json.loads((HOME / "gold.json").read_text()) if (HOME / "gold.json").exists() else {}
    last = int((HOME / "die_after").read_text()) if (HOME / "die_after").exists() else 0

    def reply(request: Request) -> Text:
        if last and request.number > last:
            (HOME / "die_after").unlink(missing_ok=True)
            os._exit(9)
        question = next((one for one in gold if one in request.text), None)
        if question is None:
            return Text("ANSWER: one")
        seed = request.seed or 0
        return Text("", each=lambda choice: f"ANSWER: {gold[question][(seed + choice) % 2]}")

    with FakeServer(
        reply,
        models=[value("--served-model-name")],
        allowed=[Path(value("--allowed-local-media-path"))],
        port=int(value("--port")),
    ):
        while not (HOME / "crash").exists():
            time.sleep(0.02)
        (HOME / "crash").unlink()
        os._exit(9)


if __name__ == "__main__":
    if os.environ["FAKE_NAME"] == "nvidia-smi":
        smi(sys.argv[1:])
    else:
        serve()
