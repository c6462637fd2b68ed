"""The local engine on the shipped evaluation set: 320 items, structured prompt, greedy, from start to scores.

Target (DESIGN section 7): 90 s on 2 cores. Measured by the command a researcher would type, in a new
workspace, so the start of the engine and the scoring are inside. Beside it, what one core does in a fixed
piece of arithmetic, before and after, so that a slow minute of the machine can be told from a slow engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

import numpy as np

from bench.report import write

TARGET_SECONDS = 90.0


def main() -> None:
    """Evaluate once and write the time, the rate and the score."""
    before = _yardstick()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "audioreason", "--workspace", folder, "eval", "--json"]
        command += ["--dataset", "soundcheck", "--prompt", "structured-reasoning"]
        command += ["--temperature", "0", "--max-tokens", "400"]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    report = json.loads(done.stdout)
    write(
        "engine",
        [
            {
                "what": f"{report['n']} items, structured-reasoning, greedy",
                "seconds": round(seconds, 1),
                "items/s": round(report["n"] / seconds, 2),
                "x target": round(seconds / TARGET_SECONDS, 2),
                "target": f"<= {TARGET_SECONDS:.0f} s",
                "strict": round(report["strict"]["accuracy"], 3),
                "yardstick s": f"{before:.2f}, {_yardstick():.2f}",
            }
        ],
    )


def _yardstick() -> float:
    """Seconds for a fixed piece of arithmetic on one core."""
    matrix = np.random.default_rng(0).standard_normal((700, 700))
    start = time.perf_counter()
    for _ in range(20):
        matrix = np.tanh(matrix @ matrix / 700)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
