"""Perception Layer: what happened, how often, in which order, together with what; and music theory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from audioreason.soundcheck.music import CHORDS, INSTRUMENTS, INTERVALS, chord, hertz, metronome
from audioreason.soundcheck.registry import Draft, Draw, family
from audioreason.soundcheck.scene import Scene, fitted
from audioreason.soundcheck.synth import SOUNDS, SR, Samples
from audioreason.soundcheck.words import NUMBERS, ORDINALS, listed, window

SHORT = ["knock", "clap", "drum", "water drop", "dog bark", "glass clink", "bell", "bird chirp"]


def _scene_of(d: Draw, names: list[str], gap: float = 0.35) -> Scene:
    """Sounds one after another in a clip that is just long enough."""
    sounds: list[tuple[Samples, str | None]] = [(SOUNDS[name](d.rng), name) for name in names]
    total = sum(len(sound) for sound, _ in sounds) / SR + gap * len(names) + 0.7
    scene = Scene(d.rng, fitted(total))
    scene.sequence(sounds)
    return scene


def _numbered(names: list[str], wanted: str) -> str:
    """Where a sound stands in the order of events, as a sentence."""
    places = [str(k + 1) for k, name in enumerate(names) if name == wanted]
    return f"{wanted} at place {', '.join(places)}" if places else f"no {wanted}"


@family("count_events", "Counting and Statistics")
def count_events(d: Draw) -> Draft:
    """How often one sound comes among others; more sounds when harder."""
    target, *others = d.some(SHORT, 3)
    count, wrong = window(d, 1, 4 + d.difficulty)
    extra = int(d.rng.integers(0, d.difficulty + 1))
    names = [target] * count + [d.pick(others) for _ in range(extra)]
    names = d.some(names, len(names))
    scene = _scene_of(d, names, gap=0.3)
    question = d.pick(
        [
            f"How many times do you hear the {target}?",
            f"How often does the {target} occur?",
            f"Count the {target} sounds. How many are there?",
            f"What is the number of {target} sounds in the clip?",
        ]
    )
    thinking = f"The {target} is heard {count} time{'s' * (count != 1)}: {_numbered(names, target)}."
    return Draft(
        question, str(count), [str(n) for n in wrong], scene.finish(d.difficulty), scene.events, thinking
    )


@family("count_kinds", "Counting and Statistics")
def count_kinds(d: Draw) -> Draft:
    """How many different sounds there are, some of them repeated."""
    kinds, wrong = window(d, 1, 6)
    chosen = d.some(list(SOUNDS), kinds)
    names = d.some([*chosen, *(d.pick(chosen) for _ in range(int(d.rng.integers(0, 2 + d.difficulty))))], 99)
    scene = _scene_of(d, names, gap=0.15)
    heard = list(dict.fromkeys(event.label for event in sorted(scene.events, key=lambda e: e.start)))
    question = d.pick(
        [
            "How many different kinds of sounds are there?",
            "How many distinct sound sources do you hear?",
            "Count the different sounds, leaving out repetitions.",
            "What is the number of different sounds in the clip?",
        ]
    )
    return Draft(
        question, str(kinds), [str(n) for n in wrong], scene.finish(d.difficulty), scene.events,
        f"The different sounds are {listed(heard)}: {kinds} in all.",
    )  # fmt: skip


@family("most_frequent", "Counting and Statistics")
def most_frequent(d: Draw) -> Draft:
    """Which of several sounds comes most often; by a single one when harder."""
    kinds = d.some(SHORT, 4)
    top = 4 if d.difficulty < 3 else 3
    counts = [
        top,
        *(max(1, top - 1 - int(d.rng.integers(0, 2 if d.difficulty > 2 else 3))) for _ in kinds[1:]),
    ]
    names = d.some([name for name, n in zip(kinds, counts, strict=True) for _ in range(n)], 99)
    scene = _scene_of(d, names, gap=0.2)
    heard = Counter(event.label for event in scene.events)
    question = d.pick(
        [
            "Which sound is heard most often?",
            "Which sound occurs the most times?",
            "What is the most frequent sound in the clip?",
            "Which of these sounds is repeated the most?",
        ]
    )
    tally = ", ".join(f"{name} {n}" for name, n in heard.most_common())
    return Draft(
        question, kinds[0], kinds[1:], scene.finish(d.difficulty), scene.events,
        f"Counted: {tally}. The {kinds[0]} leads.",
    )  # fmt: skip


def _swapped(d: Draw, names: Sequence[str]) -> list[list[str]]:
    """Three rows that exchange neighbours at one place or two: none of the four rows is the middle one."""
    at = int(d.rng.integers(len(names) - 3))
    first, second = list(names), list(names)
    first[at : at + 2] = reversed(first[at : at + 2])
    second[at + 2 : at + 4] = reversed(second[at + 2 : at + 4])
    return [first, second, [*first[: at + 2], *second[at + 2 :]]]


@family("order", "Temporal Analysis")
def order(d: Draw) -> Draft:
    """The order of three or four sounds; neighbours exchanged, faster and noisier when harder."""
    names = d.some(list(SOUNDS), d.harder(3, 4, 4))
    scene = _scene_of(d, names, gap=d.harder(0.35, 0.12, 0.05))
    wrong = [listed(row) for row in _swapped(d, names)] if d.difficulty >= 4 else []
    while len(wrong) < 3:
        shuffled = listed(d.some(names, len(names)))
        if shuffled != listed(names) and shuffled not in wrong:
            wrong.append(shuffled)
    question = d.pick(
        [
            "In which order do the sounds occur?",
            "What is the correct sequence of the sounds?",
            "Which list gives the sounds in the order heard?",
            "Put the sounds in order from first to last.",
        ]
    )
    places = ", ".join(f"{ORDINALS[k]} {name}" for k, name in enumerate(names))
    return Draft(
        question, listed(names), wrong,
        scene.finish(d.difficulty, snr=d.harder(None, 8.0, 2.0)), scene.events,
        f"In order: {places}.",
    )  # fmt: skip


@family("right_after", "Temporal Analysis")
def right_after(d: Draw) -> Draft:
    """What comes directly after, or before, a given sound; more sounds when harder."""
    names = d.some(list(SOUNDS), 4 if d.difficulty < 4 else 5)
    scene = _scene_of(d, names, gap=0.2)
    after = bool(d.rng.random() < 0.5)
    anchor = int(d.rng.integers(0, len(names) - 1)) + (0 if after else 1)
    gold = names[anchor + (1 if after else -1)]
    word = "after" if after else "before"
    question = d.pick(
        [
            f"Which sound comes right {word} the {names[anchor]}?",
            f"What do you hear directly {word} the {names[anchor]}?",
            f"Which sound is heard immediately {word} the {names[anchor]}?",
            f"What happens just {word} the {names[anchor]}?",
        ]
    )
    others = d.some([name for name in names if name not in (gold, names[anchor])], 3)
    if len(others) < 3:
        others += d.some([name for name in SOUNDS if name not in names], 3 - len(others))
    return Draft(
        question, gold, others, scene.finish(d.difficulty), scene.events,
        f"The order is {listed(names)}, so {gold} comes right {word} the {names[anchor]}.",
    )  # fmt: skip


@family("longest", "Temporal Analysis", held_out=True)
def longest(d: Draw) -> Draft:
    """Which of several held tones lasts longest; closer lengths when harder."""
    count = 4
    best = int(d.rng.integers(count))
    long = 1.3
    lengths = [
        long if k == best else long * d.rng.uniform(0.35, 0.9 - 0.1 * (5 - d.difficulty))
        for k in range(count)
    ]
    scene = Scene(d.rng, fitted(sum(lengths) + 0.3 * count + 0.7))
    at = 0.3
    for k, length in enumerate(lengths):
        tone = INSTRUMENTS["an organ"](d.rng, hertz(60 + int(d.rng.integers(0, 12))), length)
        at = scene.add(tone, at, f"tone {k + 1}", 0.6) + 0.3
    question = d.pick(
        [
            "Which tone lasts the longest?",
            "Which of the tones is held for the longest time?",
            "Name the longest tone.",
            "Which tone has the greatest duration?",
        ]
    )
    gold = f"The {ORDINALS[best]}"
    others = [f"The {name}" for k, name in enumerate(ORDINALS[:count]) if k != best]
    return Draft(
        question,
        gold,
        others,
        scene.finish(d.difficulty),
        scene.events,
        f"The {ORDINALS[best]} tone is the longest.",
    )


@family("always_follows", "Correlation Analysis")
def always_follows(d: Draw) -> Draft:
    """Which sound always follows another; other pairs mislead when harder."""
    cue, effect, *noise = d.some(SHORT, 5)
    groups: list[list[str]] = [[cue, effect] for _ in range(2 if d.difficulty < 4 else 3)]
    loose = [d.pick(noise) for _ in range(min(4, 1 + d.difficulty // 2))]
    groups += [[name] for name in loose]
    if d.difficulty >= 3:
        groups.append([effect])
    names = [name for k in d.rng.permutation(len(groups)) for name in groups[k]]
    scene = _scene_of(d, names, gap=0.12)
    question = d.pick(
        [
            f"Which sound always follows the {cue}?",
            f"What happens every time after the {cue}?",
            f"The {cue} is always followed by which sound?",
            f"Which sound does the {cue} seem to trigger?",
        ]
    )
    return Draft(
        question, effect, noise, scene.finish(d.difficulty), scene.events,
        f"The order is {listed(names)}. After each {cue} comes the {effect}.",
    )  # fmt: skip


@family("at_the_same_time", "Correlation Analysis", held_out=True)
def at_the_same_time(d: Draw) -> Draft:
    """Which two of several sounds overlap."""
    names = d.some(["siren", "phone ring", "car horn", "whistle", "cat meow", "buzzer"], 4)
    scene = Scene(d.rng, 5.0)
    first, second = SOUNDS[names[0]](d.rng), SOUNDS[names[1]](d.rng)
    places = d.some(["0", "1", "2"], 3)
    for place, group in zip(places, [(0, 1), (2,), (3,)], strict=True):
        at = 0.3 + 1.5 * int(place)
        for index in group:
            sound = first if index == 0 else second if index == 1 else SOUNDS[names[index]](d.rng)
            scene.add(sound, at, names[index], 0.6)
    question = d.pick(
        [
            f"Which sound is heard together with the {names[0]}?",
            f"What sounds at the same time as the {names[0]}?",
            f"Which sound overlaps with the {names[0]}?",
            f"The {names[0]} and which other sound come at once?",
        ]
    )
    return Draft(
        question, names[1], names[2:], scene.finish(d.difficulty), scene.events,
        f"The {names[0]} and the {names[1]} start together.",
    )  # fmt: skip


@family("pair_count", "Correlation Analysis")
def pair_count(d: Draw) -> Draft:
    """How often one sound is directly followed by another."""
    a, b, c = d.some(SHORT, 3)
    times, wrong = window(d, 0, 4)
    groups = [[a, b]] * times + [[a, c]] * int(d.rng.integers(0, 1 + d.difficulty // 2)) + [[b]]
    names = [name for k in d.rng.permutation(len(groups)) for name in groups[k]]
    scene = _scene_of(d, names, gap=0.12)
    question = d.pick(
        [
            f"How many times is the {a} directly followed by the {b}?",
            f"How often does the {b} come right after the {a}?",
            f"Count the cases in which the {a} leads straight to the {b}.",
            f"In how many cases does the {b} follow the {a} at once?",
        ]
    )
    return Draft(
        question, str(times), [str(n) for n in wrong], scene.finish(d.difficulty), scene.events,
        f"The order is {listed(names)}: {a} then {b} occurs {times} time{'s' * (times != 1)}.",
    )  # fmt: skip


@family("interval", "Music Theory", "music")
def interval(d: Draw) -> Draft:
    """The interval between two notes; nearer alternatives and more noise when harder."""
    start = int(d.rng.integers(len(INTERVALS) - 3))
    row = list(INTERVALS)[start : start + 4] if d.difficulty >= 3 else d.some(list(INTERVALS), 4)
    gold = d.pick(row)  # any of the four, so that their width says nothing
    up = bool(d.rng.random() < 0.5)
    root = d.note(57, 70)
    play = INSTRUMENTS[d.pick(list(INSTRUMENTS))]
    scene = Scene(d.rng, 3.0)
    first, second = (root, root + INTERVALS[gold]) if up else (root + INTERVALS[gold], root)
    scene.add(play(d.rng, hertz(first), 0.9), 0.3, "first note", 0.7)
    scene.add(play(d.rng, hertz(second), 0.9), 1.4, "second note", 0.7)
    question = d.pick(
        [
            "Which interval lies between the two notes?",
            "What is the interval between the notes?",
            "How far apart are the two notes?",
            "Name the interval that you hear.",
        ]
    )
    return Draft(
        question, gold.capitalize(), [n.capitalize() for n in row if n != gold],
        scene.finish(min(d.difficulty, 4)), scene.events,
        f"The second note is {INTERVALS[gold]} semitones {'above' if up else 'below'} the first.",
    )  # fmt: skip


@family("chord_quality", "Music Theory", "music")
def chord_quality(d: Draw) -> Draft:
    """Major, minor, diminished or augmented; inverted and shorter when harder."""
    gold = d.pick(list(CHORDS))
    steps = list(CHORDS[gold])
    if d.difficulty >= 4 and d.rng.random() < 0.5:
        steps = [*steps[1:], steps[0] + 12]
    root = d.note(53, 66)
    instrument = d.pick(["an organ", "a plucked string", "a clarinet", "a brass horn"])
    scene = Scene(d.rng, 3.6)
    scene.add(chord(d.rng, instrument, root, steps, 1.5), 0.3, "chord", 0.7)
    if d.difficulty < 4:
        play = INSTRUMENTS[instrument]
        for k, step in enumerate(steps):
            scene.add(play(d.rng, hertz(root + step), 0.45), 1.9 + 0.45 * k, f"note {k + 1}", 0.6)
    question = d.pick(
        [
            "What kind of chord is played?",
            "Is the chord major, minor, diminished or augmented?",
            "Which quality does the chord have?",
            "Name the type of the chord.",
        ]
    )
    sizes = {"major": "4 and 3", "minor": "3 and 4", "diminished": "3 and 3", "augmented": "4 and 4"}
    return Draft(
        question, gold.capitalize(), [n.capitalize() for n in CHORDS if n != gold],
        scene.finish(min(d.difficulty, 4)), scene.events,
        f"From the root the steps are {sizes[gold]} semitones: {gold}.",
    )  # fmt: skip


@family("meter", "Music Theory", "music")
def meter(d: Draw) -> Draft:
    """How many beats a bar has, by its accents; noisier and with fainter accents when harder."""
    beats = int(d.rng.integers(2, 6))
    period = d.between(0.24, 0.4)
    scene = Scene(d.rng, fitted(period * beats * 4 + 0.6))
    total = int((scene.duration - 0.6) / period)
    for k in range(total):
        accent = k % beats == 0
        scene.add(
            metronome(accent, d.harder(1.0, 0.3, 0.18)),
            0.3 + k * period,
            "strong beat" if accent else None,
            0.8,
        )
    question = d.pick(
        [
            "How many beats are in each bar?",
            "After how many beats does the accent return?",
            "What is the meter, in beats a bar?",
            "How many beats lie from one strong beat to the next?",
        ]
    )
    wrong = [NUMBERS[n].capitalize() for n in range(2, 6) if n != beats]
    return Draft(
        question, NUMBERS[beats].capitalize(), wrong, scene.finish(d.difficulty), scene.events,
        f"A strong beat comes every {beats * period:.1f} s and a beat every {period:.1f} s: {beats} beats.",
    )  # fmt: skip


@family("tempo_change", "Music Theory", "music")
def tempo_change(d: Draw) -> Draft:
    """Whether a beat speeds up, slows down, stays or does both; slighter when harder."""
    kind = d.pick(["It speeds up", "It slows down", "It stays the same", "It speeds up, then slows down"])
    ease = 1.3 - 0.17 * d.difficulty
    count = 11
    sound = SOUNDS[d.pick(["drum", "clap", "knock", "water drop"])](d.rng)
    scene = Scene(d.rng, fitted(7.0))
    at, base = 0.3, d.between(0.44, 0.52)
    for k in range(count):
        x = k / (count - 1)
        slope = {"It speeds up": 0.5 - x, "It slows down": x - 0.5, "It stays the same": 0.0}.get(
            kind, 2 * abs(x - 0.5) - 0.5
        )
        scene.add(sound, at, "beat", 0.8)
        at += base * (1 + 0.9 * ease * slope)
    question = d.pick(
        [
            "How does the tempo change?",
            "What happens to the speed of the beat?",
            "Does the beat speed up or slow down?",
            "How does the tempo develop through the clip?",
        ]
    )
    gaps = [b.start - a.start for a, b in zip(scene.events, scene.events[1:], strict=False)]
    thinking = f"The gaps go from {gaps[0]:.1f} s over {gaps[len(gaps) // 2]:.1f} s to {gaps[-1]:.1f} s."
    options = ["It speeds up", "It slows down", "It stays the same", "It speeds up, then slows down"]
    return Draft(
        question, kind, [o for o in options if o != kind], scene.finish(d.difficulty), scene.events, thinking
    )
