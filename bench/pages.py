"""How fast pages react and open, with 100 runs of 1,000 items and 10,000 playground generations.

Targets (DESIGN section 6): a widget reacts within 300 ms of script time; a page opens within 1.5 times an
empty Streamlit page. Script time is taken without a browser; opening is taken in Chromium, each page in turn
with the empty one, from the request to the last thing that the page draws.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from audioreason.items import DatasetInfo, Item, save_dataset
from audioreason.workspace import Workspace
from bench.catalog import ITEMS, build
from bench.report import write

ROUNDS = 7
ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "home": ("", ".stVegaLiteChart, .stDataFrame"),
    "playground": ("playground?dataset=bench", ".trace"),
    "compare": ("playground?dataset=bench&mode=Compare", ".bars"),
    "launch": ("launch", ".line code"),
    "jobs": ("jobs", ".counts .count"),
    "settings": ("settings", ".line code"),
}
# Seconds from the request until a selector is drawn, seen once a frame and through components' own trees.
# Playwright's own wait looks every half second later on: an empty page then takes 0.5 or 1.0 s.
_DRAWN = """(selectors) => {
  const every = (root, selector) => [
    ...root.querySelectorAll(selector),
    ...[...root.querySelectorAll("*")].flatMap((e) => e.shadowRoot ? every(e.shadowRoot, selector) : []),
  ];
  const found = (root, parts) => every(root, parts[0]).some(
    (node) => parts.length === 1 || found(node.shadowRoot || node, parts.slice(1)));
  const drawn = selectors.split(",").some((one) => found(document, one.trim().split(" ")));
  return drawn ? performance.now() / 1000 : 0;
}"""
_EMPTY = "import streamlit as st\nst.write('empty')\nst.html('<i class=\"drawn\">.</i>')\n"


def main() -> None:
    """Build the workspace, measure script time and opening, and write the medians."""
    folder = Path(tempfile.mkdtemp(prefix="audioreason-bench-"))
    try:
        workspace = Workspace.open(folder / "workspace")
        build(workspace)
        _dataset(workspace)
        rows = [*_script_times(workspace), *openings(workspace, folder, PAGES)]
        write("pages", rows)
    finally:
        shutil.rmtree(folder)


def _dataset(workspace: Workspace) -> None:
    items = [
        Item(
            id=f"item-{i:04d}",
            question=f"What makes the sound at the start of recording number {i}?",
            choices=tuple(f"choice {k}" for k in range(4)),
            answer=f"choice {i % 4}",
            subcategory=f"Subcategory {i % 16:02d}",
        )
        for i in range(ITEMS)
    ]
    save_dataset(workspace.datasets / "bench", DatasetInfo(name="bench", kind="own"), items)


def _script_times(workspace: Workspace) -> list[dict[str, object]]:
    """Medians of reruns of each page's script, in a process of its own."""
    command = [sys.executable, "-m", "bench.pages", "--script"]
    environment = os.environ | {"AUDIOREASON_WORKSPACE": str(workspace.root)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return [
        {
            "what": f"{name}: script time of a rerun, ms",
            "median": round(1000 * statistics.median(values), 1),
            "worst": round(1000 * max(values), 1),
            "target": "<= 300",
        }
        for name, values in times.items()
    ]


def script() -> None:
    """Run the pages' scripts again and again and print the seconds of each rerun as JSON."""
    from streamlit.testing.v1 import AppTest

    times: dict[str, list[float]] = {}
    for name in ("home", "playground", "launch", "jobs", "settings"):
        test = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=120)
        if name == "playground":
            test.query_params["dataset"] = "bench"
        test.run()
        assert not test.exception, test.exception
        times[name] = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            test.run()
            times[name].append(time.perf_counter() - start)
    print(json.dumps(times))


def openings(
    workspace: Workspace, folder: Path, wanted: Mapping[str, tuple[str, str]]
) -> list[dict[str, object]]:
    """Medians of opening each page in Chromium, beside an empty page opened in turn with it.

    `wanted` gives each page's address and the selector of what it draws last.
    """
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import ARGUMENTS, CHROMIUM, serve, sign_in, start_lab

    empty_script = folder / "empty.py"
    empty_script.write_text(_EMPTY)
    lab, lab_url = start_lab(workspace)
    empty, empty_url = serve([str(empty_script)], {})
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            context = chromium.new_context(viewport={"width": 1440, "height": 900})
            sign_in(context, lab_url)

            def seconds(url: str, drawn: str) -> float:
                page = context.new_page()
                page.goto(url, wait_until="commit")
                taken = page.wait_for_function(_DRAWN, arg=drawn, polling="raf", timeout=120_000)
                found = float(taken.json_value())
                page.close()
                return found

            rows: list[dict[str, object]] = []
            for name, (path, drawn) in wanted.items():
                seconds(f"{lab_url}/{path}", drawn)  # the first opening pays for imports and for the cache
                seconds(empty_url, ".drawn")
                ours, bare = [], []
                for _ in range(ROUNDS):
                    ours.append(seconds(f"{lab_url}/{path}", drawn))
                    bare.append(seconds(empty_url, ".drawn"))
                ratio = statistics.median(ours) / statistics.median(bare)
                rows.append(
                    {
                        "what": f"{name}: opening, x an empty page ({statistics.median(bare):.2f} s)",
                        "median": round(ratio, 2),
                        "worst": round(max(ours) / statistics.median(bare), 2),
                        "target": "<= 1.5",
                    }
                )
            chromium.close()
            return rows
    finally:
        for process in (lab, empty):
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    if "--script" in sys.argv:
        script()
    else:
        main()
