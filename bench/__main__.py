"""`make bench`: run every measurement, one after another, and print a table per subject.

Each module here has `main()`; results go to `bench/results/NAME.json`. Run one with `python -m bench NAME`.
"""

from __future__ import annotations

import importlib
import sys
import time

SUBJECTS = (
    "startup",
    "runner",
    "catalog",
    "runs",
    "compare",
    "explorer",
    "engine",
    "jobs",
    "pages",
    "pages_more",
    "errors",
    "optimize",
    "rest",
    "answers",
)


def main(names: list[str]) -> int:
    """Run the named subjects (default: all); returns a process exit status."""
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        sys.stderr.write(f"No measurement named {', '.join(unknown)}. There are: {', '.join(SUBJECTS)}.\n")
        return 2
    for name in names or SUBJECTS:
        start = time.monotonic()
        importlib.import_module(f"bench.{name}").main()
        print(f"({name}: {time.monotonic() - start:.0f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
