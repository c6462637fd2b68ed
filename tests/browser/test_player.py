"""The player in a real browser: it sounds, seeks, loops, keeps its pitch, and survives the page around it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import HEARD, RUN, TOKEN, Lab, clip_state, open_playground, run
from tests.servers import Text


def wait_for(page: Page, condition: str, clip: str = "bells/bells-00", timeout: int = 10_000) -> None:
    """Wait until a JavaScript condition on the clip `c` holds."""
    found = f"window.__audioreasonPlayers?.clips.get({json.dumps(clip)})"
    page.wait_for_function(f"() => {{ const c = {found}; return c && ({condition}); }}", timeout=timeout)


def test_pressing_play_moves_time_on_and_pause_holds_it(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    page.get_by_role("button", name="Play", exact=True).click()
    wait_for(page, "c.audio.currentTime > 0.4")
    page.get_by_role("button", name="Pause", exact=True).click()
    held = clip_state(page)["time"]
    page.wait_for_timeout(300)
    assert clip_state(page)["time"] == held


def test_sound_goes_on_through_a_rerun_and_stops_when_the_page_is_left(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    page.get_by_role("button", name="Play", exact=True).click()
    wait_for(page, "c.audio.currentTime > 0.2")
    page.get_by_role("button", name="Pin", exact=True).click()  # any widget runs the whole page again
    page.get_by_role("button", name="Pinned").wait_for()
    before = clip_state(page)
    assert not before["paused"]
    wait_for(page, f"c.audio.currentTime > {before['time']} + 0.2")
    page.get_by_role("button", name="Pinned").click()
    page.get_by_role("link", name="Settings").click()
    wait_for(page, "c.audio.paused")


def test_keys_seek_and_a_click_seeks(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    stage = page.get_by_role("slider", name="Position in the clip")
    wait_for(page, "c.audio.readyState >= 1")
    box = stage.bounding_box()
    assert box is not None
    stage.click(position={"x": box["width"] / 2, "y": 40})
    seconds = float(stage.get_attribute("aria-valuemax") or 0)
    assert clip_state(page)["time"] == pytest.approx(seconds / 2, abs=0.1)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert clip_state(page)["time"] == pytest.approx(0.25, abs=0.05)
    page.keyboard.press("Shift+ArrowRight")
    assert clip_state(page)["time"] == pytest.approx(2.25, abs=0.05)


def test_dragging_loops_a_stretch_until_escape(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    wait_for(page, "c.audio.readyState >= 1")
    box = page.locator(".stage").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 40, steps=6)
    page.mouse.up()
    loop = clip_state(page)["loop"]
    assert isinstance(loop, list)
    page.keyboard.press(" ")
    page.wait_for_timeout(2500)  # several times the length of the loop
    state = clip_state(page)
    assert not state["paused"]
    assert loop[0] - 0.05 <= float(str(state["time"])) <= loop[1] + 0.1
    page.keyboard.press("Escape")
    wait_for(page, f"!c.loop && c.audio.currentTime > {loop[1]} + 0.2")


def test_speed_changes_and_pitch_is_kept(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    page.locator("button.speed").first.click()  # folded: the next speed after 1 is 1.5
    state = clip_state(page)
    assert (state["rate"], state["pitch"]) == (1.5, True)


def test_16k_plays_what_the_model_hears_from_the_same_place(page: Page, lab: Lab) -> None:
    open_playground(page, lab)
    wait_for(page, "c.audio.readyState >= 1")
    page.get_by_role("slider", name="Position in the clip").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("button", name="16k").click()
    wait_for(
        page, "c.form === 'model' && c.audio.currentSrc.includes('form=model') && c.audio.currentTime > 1.9"
    )


def test_times_and_events_in_an_answer_seek_in_the_clip(page: Page, lab: Lab) -> None:
    lab.model.reply = Text(HEARD, chunks=2)
    open_playground(page, lab)
    run(page)
    page.locator("button.time", has_text="3.60").first.click()
    wait_for(page, "!c.audio.paused && c.audio.currentTime >= 3.6")
    page.locator("button.named", has_text="Glass struck").first.click()
    wait_for(page, "c.loop && Math.abs(c.loop[0] - 2.6) < 0.01")


def test_a_broken_clip_says_so_and_the_page_stays_usable(page: Page, lab: Lab) -> None:
    open_playground(page, lab, item="hostile-broken", dataset="hostile")
    page.locator(".problem").first.wait_for()
    assert "broken.wav" in page.locator(".problem").first.inner_text()
    assert page.get_by_role("button", name=RUN).first.is_disabled()


def fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(
        url,
        headers={key.replace("_", "-"): value for key, value in headers.items()}
        | {"Authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), {key.lower(): value for key, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {key.lower(): value for key, value in error.headers.items()}


def test_ranges_of_a_clip_are_served_by_id(lab: Lab) -> None:
    whole = fetch(f"{lab.url}/api/audio/bells/bells-00")
    status, part, headers = fetch(f"{lab.url}/api/audio/bells/bells-00", Range="bytes=100-199")
    assert (status, part) == (206, whole[1][100:200])
    assert headers["content-range"] == f"bytes 100-199/{len(whole[1])}"
    assert headers["content-type"] in ("audio/x-wav", "audio/wav", "audio/vnd.wave")


def test_a_spectrogram_is_cached_for_ever_under_its_hash_only(lab: Lab) -> None:
    status, data, headers = fetch(f"{lab.url}/api/spectrogram/bells/bells-00.png?v=abc")
    assert (status, data[:4]) == (200, b"\x89PNG")
    assert "immutable" in headers["cache-control"]
    assert "immutable" not in fetch(f"{lab.url}/api/spectrogram/bells/bells-00.png")[2]["cache-control"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "[::1"},
    ],
)
def test_other_sites_get_no_clip(lab: Lab, headers: dict[str, str]) -> None:
    status, body, answer = fetch(f"{lab.url}/api/audio/bells/bells-00", **headers)
    assert status == 403
    assert b"RIFF" not in body
    assert "access-control-allow-origin" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "bells/none",
        "none/bells-00",
        "bells/..%2F..%2Fdataset.json",
        "..%2Fbells/bells-00",
        "bells/audio/00.wav",
    ],
)
def test_only_ids_lead_to_clips(lab: Lab, path: str) -> None:
    status, body, _ = fetch(f"{lab.url}/api/audio/{path}")
    assert status in (400, 404)
    assert b"RIFF" not in body
