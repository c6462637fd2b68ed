"""How fast the Error explorer is in Chromium, with 100 runs of 1,000 items and one of 1,000,000 candidates.

Targets (issue 7), warm: overview <= 300 ms, list <= 150 ms, next item playing <= 200 ms. Each is taken in
the page, from the click or key to what it is for: the heat map, the rows of another list, the sound.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from audioreason.items import DatasetInfo, Item, save_dataset, wav_bytes
from audioreason.workspace import Workspace
from bench.catalog import BIG, ITEMS, build
from bench.report import write

ROUNDS = 9
CANDIDATES = 1_000  # of each of 1,000 items
CLIPS = 60  # items with a clip, from the first
SMALL = "20261101-0050-prompt-50"
_FIND = """
const find = (selector) => {
  const found = [];
  const walk = (root) => {
    found.push(...root.querySelectorAll(selector));
    for (const node of root.querySelectorAll('*')) if (node.shadowRoot) walk(node.shadowRoot);
  };
  walk(document);
  return found;
};
const until = async (done) => {
  const start = performance.now();
  while (!done()) {
    if (performance.now() - start > 20000) return 20000;
    await new Promise((next) => setTimeout(next, 2));
  }
  return performance.now() - start;
};
"""
_VIEW = f"""async ([name, drawn]) => {{ {_FIND}
  [...document.querySelectorAll('button')].find((one) => one.textContent.trim() === name).click();
  return until(() => find(drawn).some((one) => one.getClientRects().length)); }}"""
_LIST = f"""async (name) => {{ {_FIND}
  const shown = () => find('.sheet').map((one) => one.dataset.shown).join();
  const before = shown();
  [...document.querySelectorAll('button')].find((one) => one.textContent.trim().startsWith(name)).click();
  return until(() => shown() !== before); }}"""
_NEXT = f"""async () => {{ {_FIND}
  const players = window.__audioreasonPlayers.clips;
  const open = find('.bar')[0].querySelector('.id').textContent;
  window.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'j' }}));
  return until(() => [...players].some(([id, clip]) => !id.endsWith(open) && !clip.audio.paused
    && clip.audio.readyState > 2)); }}"""


def main() -> None:
    """Build the workspace, drive the page, and write the medians."""
    folder = Path(tempfile.mkdtemp(prefix="audioreason-bench-"))
    try:
        workspace = Workspace.open(folder / "workspace")
        build(workspace, candidates=CANDIDATES)
        _clips(workspace)
        write("errors", _measure(workspace))
    finally:
        shutil.rmtree(folder)


def _clips(workspace: Workspace) -> None:
    """The dataset of the runs, with short clips for its first items."""
    folder = workspace.datasets / "bench"
    (folder / "audio").mkdir(parents=True)
    items = []
    for i in range(ITEMS):
        if i < CLIPS:
            time = np.arange(32_000) / 16_000
            sound = (0.3 * np.sin(2 * np.pi * (300 + 5 * i) * time)).astype(np.float32)
            (folder / "audio" / f"{i}.wav").write_bytes(wav_bytes(sound))
        items.append(
            Item(
                id=f"item-{i:04d}",
                question=f"What makes the sound at the start of recording number {i}?",
                choices=tuple(f"choice {k}" for k in range(4)),
                answer=f"choice {i % 4}",
                audio_path=f"audio/{i}.wav" if i < CLIPS else None,
                subcategory=f"Subcategory {i % 16:02d}",
            )
        )
    save_dataset(folder, DatasetInfo(name="bench"), items)


def _measure(workspace: Workspace) -> list[dict[str, object]]:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import ARGUMENTS, CHROMIUM, sign_in, start_lab

    lab, url = start_lab(workspace)
    rows: list[dict[str, object]] = []

    def row(what: str, values: list[float], target: str) -> None:
        median, worst = round(statistics.median(values)), round(max(values))
        rows.append({"what": f"{what}, ms", "median": median, "worst": worst, "target": target})

    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            context = chromium.new_context(viewport={"width": 1440, "height": 900})
            sign_in(context, url)
            page = context.new_page()
            for run, words in ((SMALL, "1,000 predictions"), (BIG, "1,000,000 predictions")):
                page.goto(f"{url}/errors?run={run}&view=Triage", wait_until="domcontentloaded")
                page.locator(".sheet .row").first.wait_for(timeout=120_000)
                views: list[float] = []
                lists: list[float] = []
                for number in range(ROUNDS + 1):
                    page.wait_for_timeout(1_500)
                    lists.append(page.evaluate(_LIST, ("wrong choice", "right")[number % 2]))
                    page.wait_for_timeout(1_500)
                    views.append(page.evaluate(_VIEW, ["Overview", ".grid:not(.mini) .cell"]))
                    page.wait_for_timeout(1_500)
                    page.evaluate(_VIEW, ["Triage", ".sheet .row"])
                row(f"overview of {words}", views[1:], "<= 300")  # the first pays for the tables
                row(f"list of {words}, another filter", lists[1:], "<= 150")
            page.goto(f"{url}/errors?run={SMALL}&view=Triage", wait_until="domcontentloaded")
            page.locator(".player").first.wait_for(timeout=120_000)
            page.locator(".bar .autoplay").click()
            page.wait_for_timeout(2_000)
            played = []
            for _ in range(ROUNDS + 1):
                played.append(page.evaluate(_NEXT))
                page.wait_for_timeout(1_500)
            row("next item playing after its key", played[1:], "<= 200")
            chromium.close()
    finally:
        lab.terminate()
        lab.wait(20)
    return rows
