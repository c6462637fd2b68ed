"""Pictures of every page, light and dark, into `docs/images/`: `python -m tests.browser.screenshots`.

Nothing in them is invented: the embedded model answers Soundcheck in jobs, and the pages show what it made
of it.
Give `--workspace FOLDER` to show runs that are there already.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageColor
from playwright.sync_api import Browser, Page, expect, sync_playwright

from audioreason.items import load_dataset
from audioreason.items.splits import split_items
from audioreason.jobs import actions
from audioreason.jobs.kinds import find_kind
from audioreason.jobs.watch import list_jobs
from audioreason.optimize.record import list_optimizations
from audioreason.runs import load_record
from audioreason.workspace import Workspace
from tests.browser.conftest import ARGUMENTS, CHROMIUM, ROOT, sign_in, start_lab

PROMPTS = ("baseline", "expert-analyst", "mipro-v1", "structured-reasoning")
PRACTISED = "soundcheck-train"
REPEATED = "soundcheck-rounds"
FAMILIES = (
    "chord_quality", "count_kinds", "dropout", "nearest", "pair_count", "quality_defect", "room",
    "speaker_count", "spoken_sum", "spoken_word", "tempo_change", "who_said_it",
)  # fmt: skip
SERVED = "pocket-listener"  # name of the endpoint that the runs ask
ASKED = ("playground", "compare-variants", "listening-test")  # pictures of answers, kept at their address
SHOWN = ("pair_count", 2)  # family and difficulty of the item in the pictures


def fill(workspace: Workspace, limit: int | None) -> None:
    """Runs of some prompts on the explore half of Soundcheck by the embedded model, which a job serves."""
    practise(workspace)  # first, so that the newest runs are those of the prompts
    hand_in(workspace)
    actions.submit(workspace, "serve", {"name": SERVED})
    wait_for(lambda: any(view.ready for view in list_jobs(workspace)), 120)
    settings = {"splits": ["explore"], "endpoints": [SERVED], "limit": limit}
    matrix = actions.submit(workspace, "evaluate", settings | {"prompts": list(PROMPTS)})
    assert actions.wait_until_over(workspace, matrix, 1_800)


def practise(workspace: Workspace) -> None:
    """Two rounds of self-training on families made for it, enough of each that hearing can beat silence."""
    made = {"n": 8 * len(FAMILIES), "families": list(FAMILIES), "name": REPEATED}
    items = actions.submit(workspace, "soundcheck_generate", made)
    assert actions.wait_until_over(workspace, items, 600)
    preset = find_kind("rest").presets["pocket: one round on this machine"]
    settings = {
        "name": "two-rounds",
        "dataset": REPEATED,
        "eval_split": "explore",
        "rounds": 2,
        "limit": None,
    }
    two_rounds = actions.submit(workspace, "rest", dict(preset) | settings)
    assert actions.wait_until_over(workspace, two_rounds, 1_800)


def hand_in(workspace: Workspace) -> None:
    """A run over the whole of a dataset, as a submission must be."""
    items = actions.submit(workspace, "soundcheck_generate", {"n": 60, "name": PRACTISED})
    assert actions.wait_until_over(workspace, items, 600)
    settings = {"dataset": PRACTISED, "prompts": ["expert-analyst"], "endpoints": ["embedded"]}
    whole = actions.submit(workspace, "evaluate", settings | {"splits": ["full"]})
    assert actions.wait_until_over(workspace, whole, 600)


def handed_in(workspace: Workspace) -> list[str]:
    """Runs of jobs over the whole of the practised dataset."""
    made = [view.id for view in list_jobs(workspace) if view.kind == "evaluate" and view.runs == (view.id,)]
    return [run for run in made if load_record(workspace, run).dataset.name == PRACTISED]


def keep_busy(workspace: Workspace, limit: int | None) -> str:
    """Jobs to be seen at work: one that runs, one that waits for it. Returns the first one's id."""
    settings = {"splits": ["explore"], "endpoints": [SERVED], "limit": limit, "temperature": 0.9}
    first = actions.submit(workspace, "evaluate", settings | {"samples": 16})
    actions.submit(workspace, "evaluate", settings | {"prompts": ["mipro-v2"]}, after=[first])
    return first


def tidy(workspace: Workspace) -> None:
    """End every job that is still there; their runs stay."""
    for view in list_jobs(workspace, children=False):
        if not view.over:
            actions.delete(workspace, view.id, stop_first=True)


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def item_id(workspace: Workspace) -> str:
    """The item that the pictures show."""
    items = split_items(load_dataset(workspace, "soundcheck"), "explore")
    return next((item.id for item in items if (item.family, item.difficulty) == SHOWN), items[0].id)


def finish(page: Page, name: str) -> None:
    """Press a Run button once it is enabled, and wait until everything has been answered."""
    named = re.compile(rf"^{name}\b")  # not the row of a table that contains the word
    button = page.get_by_role("button", name=named).first
    expect(button).to_be_enabled(timeout=120_000)
    button.click()
    page.locator(".trace .section").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1_000)
    expect(page.get_by_role("button", name=named).first).to_be_enabled(timeout=120_000)


def settle(page: Page) -> None:
    """Wait until the page has nothing left to draw, and take the pointer away."""
    page.mouse.move(720, 899)
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0, timeout=60_000)
    page.wait_for_timeout(3_000)


def take(page: Page, target: Path, scheme: str) -> None:
    """A screenshot of what is in view, in 256 colours, which is a third of the size.

    The theme's own colours are in the palette even where few pixels have them, such as a dot.
    """
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"][scheme]
    named = [value for value in theme.values() if isinstance(value, str)]
    colours = [ImageColor.getrgb(value)[:3] for value in named if value.startswith("#")]
    reduced = picture.quantize(256 - len(colours), method=Image.Quantize.MEDIANCUT)
    flat = (reduced.getpalette() or [])[: 3 * (256 - len(colours))]
    flat = [
        value
        for k in range(0, len(flat), 3)
        if all(
            max(abs(a - b) for a, b in zip(flat[k : k + 3], colour, strict=True)) > 12 for colour in colours
        )
        for value in flat[k : k + 3]
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(value for colour in colours for value in colour), *flat])
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target} {target.stat().st_size // 1024} kB")


def views(url: str, workspace: Workspace, limit: int | None) -> dict[str, tuple[str, Callable[[Page], None]]]:
    """Name of the picture -> where it is taken, and what is done there first."""
    table = f"dataset=soundcheck&item={item_id(workspace)}"
    runs = [view.id for view in list_jobs(workspace) if view.state == "finished" and view.runs == (view.id,)]

    def nothing(page: Page) -> None:
        page.get_by_role("status").filter(has_text="pocket-listener").first.wait_for(timeout=120_000)

    def try_embedded(page: Page) -> None:
        nothing(page)
        page.get_by_role("button", name="Try").first.click()
        page.get_by_text("the right one").wait_for(timeout=60_000)

    def watch(page: Page) -> None:
        active = [view.id for view in list_jobs(workspace) if view.state == "running" and view.total]
        first = active[0] if active else keep_busy(workspace, limit)
        page.goto(f"{url}/jobs?job={first}")
        page.get_by_text("items rated").first.wait_for(timeout=120_000)
        page.locator(".stVegaLiteChart").first.wait_for(timeout=60_000)

    return {
        "playground": (f"{url}/playground?{table}", lambda page: finish(page, "Run")),
        "compare-variants": (f"{url}/playground?{table}&mode=Compare", lambda page: finish(page, "Run all")),
        "listening-test": (
            f"{url}/playground?{table}&mode=Listening test",
            lambda page: finish(page, "Run all"),
        ),
        "home": (f"{url}/", nothing),
        "errors": (f"{url}/errors", nothing),
        "errors-triage": (f"{url}/errors?view=Triage&outcome=wrong", nothing),
        "compare": (f"{url}/compare?runs={','.join(runs[:4])}", nothing),
        "data": (f"{url}/data?dataset=soundcheck", nothing),
        **{
            name: (f"{url}/challenge?run={run}&view={view}", nothing)
            for run in handed_in(workspace)[:1]
            for name, view in (("challenge", "Score"), ("challenge-hand", "By hand"))
        },
        "launch": (f"{url}/launch", nothing),
        "rest": (f"{url}/rest", nothing),
        "rest-candidates": (f"{url}/rest?view=Candidates&kept=rejected", nothing),
        # a search needs a model that writes: its picture is of a workspace that has one
        **({"optimize": (f"{url}/optimize", nothing)} if list_optimizations(workspace) else {}),
        "settings": (f"{url}/settings", try_embedded),
        "jobs": (f"{url}/jobs", watch),
    }


def photograph(
    browser: Browser, named: dict[str, tuple[str, Callable[[Page], None]]], folder: Path, only: list[str]
) -> None:
    """Take every picture in both themes; what was asked for the light one is shown again in the dark."""
    for name, (address, prepare) in named.items():
        if only and name not in only:
            continue
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            sign_in(context, address)
            page = context.new_page()
            page.goto(address, wait_until="domcontentloaded")
            if scheme == "light" or name not in ASKED:
                prepare(page)
                address = page.url
            else:
                page.locator(".trace .section").first.wait_for(timeout=60_000)
            settle(page)
            take(page, folder / f"{name}-{scheme}.png", scheme)
            context.close()


def main() -> None:
    """Parse the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, help="show this workspace instead of making one")
    parser.add_argument("--limit", type=int, help="items a run, for a quick look")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("only", nargs="*", help="names of pictures; all of them if none is given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as at_the_end:
        workspace = Workspace.open(options.workspace or Path(temporary) / "workspace")
        if options.workspace is None:
            at_the_end.callback(tidy, workspace)
            fill(workspace, options.limit)
        process, url = start_lab(workspace)
        at_the_end.callback(process.wait, 20)
        at_the_end.callback(process.terminate)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            photograph(browser, views(url, workspace, options.limit), options.out, options.only)
            browser.close()


if __name__ == "__main__":
    main()
