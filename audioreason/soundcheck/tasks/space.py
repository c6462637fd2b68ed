"""Perception Layer: where we are, and how near things are; decidable from one 16 kHz channel."""

from __future__ import annotations

import numpy as np

from audioreason.soundcheck import effects
from audioreason.soundcheck.registry import Draft, Draw, family
from audioreason.soundcheck.scene import Scene
from audioreason.soundcheck.synth import SCENES, SOUNDS, SR, Samples, as_samples
from audioreason.soundcheck.words import ORDINALS

MOVES = {
    "It comes closer": "It grows louder, brighter and drier towards the end.",
    "It moves away": "It grows quieter and duller towards the end.",
    "It passes by": "It is loudest in the middle, and its pitch falls as it passes.",
    "It stays at the same distance": "Level and colour stay the same throughout.",
}


def _texture(d: Draw, name: str, duration: float) -> Samples:
    sound = SCENES[name](d.rng, int(duration * SR))
    return as_samples(0.2 * sound / (sound.std() + 1e-9))


@family("scene", "Environmental Perception and Reasoning")
def scene(d: Draw) -> Draft:
    """The surroundings behind other sounds; fainter and behind more of them when harder."""
    names = d.some(list(SCENES), 4)
    place = Scene(d.rng, d.rng.uniform(3.5, 5.0))
    level = d.harder(1.0 - 0.13 * d.difficulty, 0.115, 0.1)
    place.add(_texture(d, names[0], place.duration), 0.0, names[0], level)
    for _ in range(d.harder(d.difficulty // 2, 3, 4)):
        other = d.pick(["knock", "dog bark", "bell", "clap", "cat meow"])
        place.add(SOUNDS[other](d.rng), d.rng.uniform(0.3, place.duration - 1), other, 0.5)
    question = d.pick(
        [
            "Where was this recorded, judging by the background?",
            "What is heard in the background throughout?",
            "Which surroundings do you hear?",
            "What makes the continuous background sound?",
        ]
    )
    return Draft(
        question, names[0].capitalize(), [n.capitalize() for n in names[1:]],
        place.finish(max(1, d.difficulty - 2)), place.events, f"The steady background is {names[0]}.",
    )  # fmt: skip


@family("scene_change", "Environmental Perception and Reasoning")
def scene_change(d: Draw) -> Draft:
    """The surroundings change once; both must be named in order; noisier when harder."""
    a, b, c, e = d.some(list(SCENES), 4)  # two that may come first, two that may come second
    length = d.rng.uniform(5.0, 6.5)
    at = length * d.rng.uniform(0.42, 0.58)
    place = Scene(d.rng, length)
    level = 0.9 - 0.1 * d.difficulty
    place.add(_texture(d, a, at), 0.0, a, level)
    place.add(_texture(d, b, length - at), at, b, level)
    question = d.pick(
        [
            "How do the surroundings change?",
            "From where to where does the recording go?",
            "What is heard first and what after the change?",
            "Which change of scene takes place?",
        ]
    )
    wrong = [f"From {a} to {c}", f"From {e} to {b}", f"From {e} to {c}"]
    return Draft(
        question, f"From {a} to {b}", wrong,
        place.finish(max(1, d.difficulty - 2), snr=d.harder(None, 6.0, 4.0)), place.events,
        f"The first part is {a}; at about {at:.1f} s it becomes {b}.",
    )  # fmt: skip


ROOMS = {
    "Outdoors, no echo": (0.0, 0.0),
    "In a small room": (0.25, 0.5),
    "In a large hall": (1.0, 0.8),
    "In a cathedral": (2.4, 1.1),
}


@family("room", "Environmental Perception and Reasoning")
def room(d: Draw) -> Draft:
    """The size of the room by its reverberation; less of it when harder."""
    gold = d.pick(list(ROOMS))
    decay, wet = ROOMS[gold]
    name = d.pick(["clap", "knock", "dog bark", "glass clink"])
    place, apart = Scene(d.rng, 4.6), d.between(1.7, 2.3)
    for k in range(2):
        place.add(SOUNDS[name](d.rng), 0.3 + apart * k, name, 0.7)
    if decay:
        strength = wet * (1.15 - 0.1 * d.difficulty)
        place.samples = effects.reverb(d.rng, place.samples, decay * d.rng.uniform(0.85, 1.15), strength)
    question = d.pick(
        [
            "In what kind of place was this recorded?",
            "How large is the room, judging by the echo?",
            "Where does this sound take place?",
            "What does the reverberation say about the place?",
        ]
    )
    tail = "dies at once" if not decay else f"rings for about {decay:.1f} s"
    return Draft(
        question, gold, [name for name in ROOMS if name != gold],
        place.finish(min(d.difficulty, 3), reverb=False), place.events, f"Each {name} {tail}.",
    )  # fmt: skip


@family("movement", "Spatial Analysis")
def movement(d: Draw) -> Draft:
    """Whether a source comes, goes, passes or stays; a shorter way when harder."""
    gold = d.pick(list(MOVES))
    name = d.pick(["an engine", "siren", "bell"])
    length = 4.5
    n = int(length * SR)
    if name == "an engine":
        source = _texture(d, name, length) * 3
    else:
        one = SOUNDS[name](d.rng)
        source = np.tile(one, n // len(one) + 1)[:n]
    x = np.linspace(-1, 1, n)
    far = d.harder(26.0 - 4.2 * d.difficulty, 2.5, 1.4)  # metres and more
    distance = {
        "It comes closer": 1 + far * (1 - x) / 2,
        "It moves away": 1 + far * (1 + x) / 2,
        "It passes by": 1 + far * np.abs(x),
    }.get(gold, np.full(n, 1 + far / 4))
    if gold == "It passes by":  # Doppler: the pitch is higher before than after
        warp = np.cumsum(1 + d.harder(0.07, 0.04, 0.025) * -np.tanh(x * 4))
        source = np.interp(warp, np.arange(n), source, period=n).astype(np.float32)
    dull = effects.band(source.astype(np.float32), 0, 900)
    near = np.clip(1 / distance**0.5, 0, 1)
    sound = (near * source + (1 - near) * dull) / distance**0.8
    place = Scene(d.rng, length)
    place.add(sound.astype(np.float32), 0.0, name.removeprefix("an "))
    question = d.pick(
        [
            "How does the source move?",
            "What does the sound source do?",
            "Does the source come closer, move away, pass by or stay?",
            "Which movement do you hear?",
        ]
    )
    return Draft(
        question, gold, [m for m in MOVES if m != gold], place.finish(max(1, d.difficulty - 1)), place.events,
        MOVES[gold],
    )  # fmt: skip


@family("nearest", "Spatial Analysis")
def nearest(d: Draw) -> Draft:
    """Which of several equal sounds is nearest, or farthest; closer distances when harder."""
    name = d.pick(["dog bark", "clap", "car horn", "whistle", "knock"])
    count = 3 if d.difficulty < 3 else 4
    want = d.pick(["nearest", "farthest"])
    ratio = 3.2 - 0.42 * d.difficulty
    steps = [2.0 * ratio**k for k in range(count)]
    order = [int(k) for k in d.rng.permutation(count)]
    apart = d.between(1.1, 1.4)
    place = Scene(d.rng, 0.6 + apart * count)
    sound = SOUNDS[name](d.rng)
    padded = np.concatenate([sound, np.zeros(int(1.1 * SR) - len(sound), np.float32)])
    for k in range(count):
        far = effects.distant(d.rng, padded, steps[order[k]])
        place.add(far, 0.3 + apart * k, None, 1.0)
        where = ("very near", "near", "far", "very far")[order[k]]
        place.add(np.zeros_like(sound), 0.3 + apart * k, f"{where} {name}")
    best = order.index(0 if want == "nearest" else count - 1)
    question = d.pick(
        [
            f"Which {name} is the {want}?",
            f"Judging by the sound, which {name} is {want} to us?",
            f"Several {name} sounds are heard. Which one is the {want}?",
            f"Name the {want} {name}.",
        ]
    )
    sign = "loudest, brightest and driest" if want == "nearest" else "faintest, dullest and most reverberant"
    others = [f"The {n}" for k, n in enumerate(ORDINALS[:count]) if k != best]
    return Draft(
        question, f"The {ORDINALS[best]}", others, place.finish(max(1, d.difficulty - 2)), place.events,
        f"The {ORDINALS[best]} one is the {sign}.",
    )  # fmt: skip
