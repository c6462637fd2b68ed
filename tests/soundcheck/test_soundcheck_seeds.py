"""An item is a function of its arguments; namespaces never meet; held-out material stays out of training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from drawn import SEEDS, Grid, draw

from audioreason.errors import ItemError
from audioreason.items import Dataset
from audioreason.soundcheck import families, make_item, sample_items, voices
from audioreason.soundcheck.registry import NAMESPACES
from audioreason.soundcheck.voices import HELD_OUT_VOICES


def test_the_same_arguments_give_the_same_item_and_clip(grid: Grid) -> None:
    names = list(families())
    Random(7).shuffle(names)  # what was drawn and said before must not matter
    voices._cached.cache_clear()
    for name in names:
        once, again = grid.items[name][2 * SEEDS + 1], draw(name, 3, 1)
        assert (once.item.difficulty, once.item.seed) == (3, 1)
        assert (again.item, again.clip) == (once.item, once.clip), name


def test_speech_is_the_same_in_another_process_that_said_nothing_before(grid: Grid) -> None:
    spoken = [name for name, family in families().items() if family.speech]
    script = """
import sys
from drawn import draw
for name in sys.argv[1:]:
    print(name, draw(name, 3, 1).clip)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *reversed(spoken)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    clips = dict(line.split() for line in done.stdout.splitlines())
    assert clips == {name: grid.items[name][2 * SEEDS + 1].clip for name in spoken}


def test_no_decision_hangs_on_the_length_of_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = [name for name, family in families().items() if family.speech]
    plain = {name: draw(name, 4, 1).item for name in speech}
    speak = voices._cached

    def longer(text: str, voice: str, style: voices.Style) -> np.ndarray:
        return np.pad(speak(text, voice, style), (0, 777))

    monkeypatch.setattr(voices, "_cached", longer)
    for name in speech:
        item = draw(name, 4, 1).item
        assert item.model_copy(update={"events": plain[name].events}) == plain[name]
        assert [event.label for event in item.events] == [event.label for event in plain[name].events]


def test_seeds_give_different_items(grid: Grid) -> None:
    assert len({drawn.item.id for drawn in grid.all}) == len(grid.all)
    assert all(len(drawn.item.id.rsplit("-", 1)[1]) >= 12 for drawn in grid.all)  # 48 bits or more
    assert len({drawn.clip for drawn in grid.all}) == len(grid.all)


def test_namespaces_never_give_the_same_item_or_clip() -> None:
    for name in families():
        per = [draw(name, 2, 5, namespace) for namespace in NAMESPACES]
        assert len({drawn.item.id for drawn in per}) == len(NAMESPACES), name
        assert len({drawn.clip for drawn in per}) == len(NAMESPACES), name


def test_held_out_voices_never_speak_in_training(grid: Grid, voices_heard: set[str]) -> None:
    assert len(grid.voices) > 6  # the voices were recorded at all
    assert not grid.voices & HELD_OUT_VOICES
    for name in (name for name, family in families().items() if family.speech):
        for seed in range(6):
            draw(name, 3, seed, "fresh")
    assert voices_heard and not voices_heard & HELD_OUT_VOICES


def test_held_out_voices_are_asked_about_and_marked(shipped: Dataset) -> None:
    spoken = {item.id: set((item.model_extra or {}).get("voice", "").split(",")) for item in shipped.items}
    assert set().union(*spoken.values()) >= HELD_OUT_VOICES
    for item in shipped.items:
        if spoken[item.id] & HELD_OUT_VOICES:
            assert (item.model_extra or {}).get("held_out") is True, item.id


def test_a_whisper_is_marked_as_the_voice_that_whispers(grid: Grid) -> None:
    for drawn in grid.items["manner"]:
        whispered = (drawn.item.model_extra or {})["voice"] == "en+whisper"
        assert whispered == (drawn.item.answer == "Whispering"), drawn.item.id


def test_held_out_families_come_only_when_named() -> None:
    every = families()
    held_out = {name for name, family in every.items() if family.held_out}
    assert held_out
    drawn = {item.family for item, _ in sample_items(len(every), difficulty=1)}
    assert drawn == set(every) - held_out
    name = sorted(held_out)[0]
    assert [item.family for item, _ in sample_items(2, [name])] == [name, name]
    assert all((item.model_extra or {}).get("held_out") is True for item, _ in sample_items(1, [name]))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("no_such_family", 1, 0, "train"), "no_such_family"),
        (("order", 0, 0, "train"), "0"),
        (("order", 6, 0, "train"), "6"),
        (("order", 1, 0, "elsewhere"), "elsewhere"),
    ],
)
def test_an_unknown_value_is_refused_in_one_sentence(
    arguments: tuple[str, int, int, str], named: str
) -> None:
    with pytest.raises(ItemError) as caught:
        make_item(*arguments)
    message = caught.value.message
    assert named in message and message.endswith(".") and ". " not in message and "\n" not in message
    assert caught.value.hint
