"""How long `import audioreason` and `audioreason --help` take, beside a bare interpreter.

Target (DESIGN section 7): 0.3 s and 0.6 s. The bare interpreter is measured in turn with them, so the
ratio says what is ours on a noisy machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.report import write

ROUNDS = 7


def main() -> None:
    """Measure three commands in turn and write the medians."""
    commands = {
        "bare interpreter": [sys.executable, "-c", "pass"],
        "import audioreason": [sys.executable, "-c", "import audioreason"],
        "audioreason --help": [sys.executable, "-c", "from audioreason.cli import main; main()", "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    bare = statistics.median(seconds["bare interpreter"])
    targets = {"bare interpreter": "", "import audioreason": "<= 0.3 s", "audioreason --help": "<= 0.6 s"}
    write(
        "startup",
        [
            {
                "what": name,
                "median s": round(statistics.median(values), 3),
                "x bare": round(statistics.median(values) / bare, 2),
                "target": targets[name],
            }
            for name, values in seconds.items()
        ],
    )


if __name__ == "__main__":
    main()
