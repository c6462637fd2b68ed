"""A small workspace to drive the lab in: clips whose events are known, and items that try to break pages.

`python -m tests.browser.world FOLDER` makes one to look at by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from audioreason.items import DatasetInfo, Event, Item, save_dataset, wav_bytes
from audioreason.workspace import Workspace

SR = 16_000

HOSTILE = {
    "script": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "markdown": "![x](http://127.0.0.1:9/x.png) [click](javascript:alert(1)) **bold** $x^2$ :red[red] `code`",
    "right-to-left": "\u202eكم مرة تسمع الجرس؟ \u202c and back again",
    "nul": "before\0after \U0001f600 \ufffe end",
    "long": "How " + "very " * 20_000 + "long?",
}


def make_world(root: Path) -> Workspace:
    """A workspace with the datasets `bells` (12 items about strikes and knocks) and `hostile`."""
    workspace = Workspace.open(root)
    _bells(workspace)
    _hostile(workspace)
    return workspace


def _bells(workspace: Workspace) -> None:
    folder = workspace.datasets / "bells"
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    items = []
    for k in range(12):
        random = np.random.default_rng(k)
        strikes = 2 + k % 4
        events = [Event(label="doorbell", start=0.5, end=2.0)]
        at = 2.6
        for _ in range(strikes):
            events.append(Event(label="glass struck", start=round(at, 2), end=round(at + 0.5, 2)))
            at += float(random.uniform(0.6, 1.2))
        events.append(Event(label="wooden knock", start=round(at + 0.4, 2), end=round(at + 0.6, 2)))
        (folder / "audio" / f"{k:02d}.wav").write_bytes(wav_bytes(sound(events, at + 1.8, random)))
        items.append(
            Item(
                id=f"bells-{k:02d}",
                question="How many times is glass struck after the doorbell?",
                choices=tuple(f"{n} times" for n in (2, 3, 4, 5)),
                answer=f"{strikes} times",
                audio_path=f"audio/{k:02d}.wav",
                modality="sound",
                layer=("Signal Layer", "Perception Layer")[k % 2],
                subcategory=("Counting and Statistics", "Temporal Analysis")[k % 2],
                language="en",
                thinking=f"Doorbell first, then {strikes} glass strikes. The knock is wood, not glass.",
                events=tuple(events),
                difficulty=1 + k % 5,
            )
        )
    save_dataset(folder, DatasetInfo(name="bells", title="Bells", kind="own", cue_kind="events"), items)


def sound(events: list[Event], seconds: float, random: np.random.Generator) -> np.ndarray:
    """The events as sound, float32 (samples,) at 16 kHz: bells fall, glass rings, wood is noise."""
    samples = 0.002 * random.standard_normal(int(seconds * SR))
    time = np.arange(len(samples)) / SR
    for event in events:
        after = np.clip(time - event.start, 0, None)
        active = time >= event.start
        if event.label == "doorbell":
            for shift, pitch in ((0.0, 660.0), (0.55, 520.0)):
                tone = np.exp(-3 * np.clip(after - shift, 0, None)) * (after >= shift)
                samples += 0.4 * active * tone * np.sin(2 * np.pi * pitch * after)
        elif event.label == "glass struck":
            samples += 0.35 * active * np.exp(-6 * after) * np.sin(2 * np.pi * 2400 * after)
            samples += 0.15 * active * np.exp(-9 * after) * np.sin(2 * np.pi * 6300 * after)
        else:
            samples += 0.3 * active * np.exp(-30 * after) * random.standard_normal(len(samples))
    return (0.8 * samples / np.abs(samples).max()).astype(np.float32)


def _hostile(workspace: Workspace) -> None:
    folder = workspace.datasets / "hostile"
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    (folder / "audio" / "broken.wav").write_bytes(b"RIFF\x00\x00 this is not a wave file")
    items = [
        Item(
            id=f"hostile-{name}",
            question=text,
            choices=("A", text[:300], "C"),
            answer="A",
            subcategory=text[:60],
        )
        for name, text in HOSTILE.items()
    ]
    items.append(
        Item(
            id="hostile-broken",
            question="Broken?",
            choices=("yes", "no"),
            answer="yes",
            audio_path="audio/broken.wav",
        )
    )
    items.append(Item(id="a/b <c> ?#&%", question="An odd id", choices=("yes", "no"), answer="yes"))
    save_dataset(folder, DatasetInfo(name="hostile", title="Hostile"), items)


if __name__ == "__main__":
    make_world(Path(sys.argv[1]))
