"""Cultural Layer: what a sound means to people who know such sounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audioreason.soundcheck import effects
from audioreason.soundcheck.music import CHORDS, INSTRUMENTS, chord, hertz
from audioreason.soundcheck.registry import Draft, Draw, family
from audioreason.soundcheck.scene import Scene, fitted
from audioreason.soundcheck.synth import SCENES, SOUNDS, SR, Samples, seconds, shaped, sweep
from audioreason.soundcheck.voices import ACCENTS, LANGUAGES, say
from audioreason.soundcheck.words import ORDINALS, pick_voice, speaking

SPOKEN = {
    "English": ("good morning, how are you today", "the weather is very nice"),
    "German": ("guten Morgen, wie geht es Ihnen heute", "das Wetter ist sehr schön"),
    "French": ("bonjour, comment allez-vous aujourd'hui", "il fait très beau"),
    "Spanish": ("buenos días, cómo está usted hoy", "hace muy buen tiempo"),
    "Italian": ("buongiorno, come sta oggi", "il tempo è molto bello"),
    "Russian": ("доброе утро, как у вас дела", "сегодня очень хорошая погода"),
    "Mandarin Chinese": ("早上好，你今天好吗", "今天天气很好"),
    "Turkish": ("günaydın, bugün nasılsınız", "hava çok güzel"),
}


@family("language", "Culture of Speaker", "speech", speech=True)
def language(d: Draw) -> Draft:
    """Which language is spoken; noisier when harder, at last with another one behind it."""
    names = d.some(list(LANGUAGES), 4)
    text = SPOKEN[names[0]][int(d.rng.integers(2))]
    style = speaking(d, pitch=int(d.rng.integers(30, 70)))
    speech = say(text, LANGUAGES[names[0]], style)
    if d.difficulty >= 4:
        speech = speech[: int(1.3 * SR)]
    scene = Scene(d.rng, fitted(len(speech) / SR + 0.7))
    scene.add(speech, 0.3, f"speech in {names[0]}", 0.7)
    if d.difficulty >= 4:  # someone farther away speaks another language at the same time
        other = say(d.pick(SPOKEN[names[1]]), LANGUAGES[names[1]], style)[: len(speech)]
        scene.add(other, 0.3, f"quieter speech in {names[1]}", 0.7 * effects.gain(d.harder(0.0, -4.0, -3.0)))
    question = d.pick(
        [
            "Which language does the louder voice speak?",
            "Two people speak at once. What is the language of the nearer one?",
            "Which language is spoken in the foreground?",
            "In what language does the louder speaker talk?",
        ]
        if d.difficulty >= 4
        else [
            "Which language is spoken?",
            "In what language does the speaker talk?",
            "What is the language of this recording?",
            "Which language do you hear?",
        ]
    )
    return Draft(
        question, names[0], names[1:], scene.finish(d.difficulty),
        scene.events, f"Sounds and melody are those of {names[0]}.", language=LANGUAGES[names[0]],
    )  # fmt: skip


@family("accent", "Culture of Speaker", "speech", speech=True)
def accent(d: Draw) -> Draft:
    """The accent of an English speaker; noisier when harder."""
    gold = d.pick(list(ACCENTS))
    text = d.pick(
        [
            "I cannot park the car after dark",
            "the water in the bath is rather hot",
            "better letters are never bought",
            "her father works on the northern shore",
        ]
    )
    speech = say(text, ACCENTS[gold], speaking(d, 120, 180, pitch=int(d.rng.integers(30, 70))))
    scene = Scene(d.rng, fitted(len(speech) / SR + 0.7))
    scene.add(speech, 0.3, f"{gold} speech", 0.7)
    question = d.pick(
        [
            "Which accent does the speaker have?",
            "Where does the speaker's English come from?",
            "Which variety of English is spoken?",
            "Name the accent of the speaker.",
        ]
    )
    return Draft(
        question, gold, [name for name in ACCENTS if name != gold],
        scene.finish(d.difficulty, snr=d.harder(None, -3.0, -4.5)), scene.events,
        f"The vowels and the r are {gold}.",
    )  # fmt: skip


@family("mixed_languages", "Culture of Speaker", "speech", speech=True)
def mixed_languages(d: Draw) -> Draft:
    """Two languages one after the other; both must be named in order; noisier when harder."""
    a, b, c, e = d.some(list(LANGUAGES), 4)  # two that may come first, two that may come second
    style = speaking(d, 150, 210)
    parts = [say(SPOKEN[name][1], LANGUAGES[name], style) for name in (a, b)]
    scene = Scene(d.rng, fitted(sum(map(len, parts)) / SR + 1.0))
    at = 0.3
    for name, part in zip((a, b), parts, strict=True):
        at = scene.add(part, at, f"speech in {name}", 0.7) + 0.35
    question = d.pick(
        [
            "Which two languages are spoken, in order?",
            "The speaker changes language. From which to which?",
            "Name the first and the second language.",
            "In which order are the languages heard?",
        ]
    )
    wrong = [f"{a}, then {c}", f"{e}, then {b}", f"{e}, then {c}"]
    return Draft(
        question, f"{a}, then {b}", wrong, scene.finish(d.difficulty, snr=d.harder(None, 1.5, -2.0)),
        scene.events, f"First {a}, then {b}.",
    )  # fmt: skip


STORIES = {
    "A visitor arrives": ["bell", "dog bark", "knock"],
    "A kitchen accident": ["water drop", "glass clink", "cat meow"],
    "A traffic accident": ["car horn", "glass clink", "siren"],
    "A concert begins": ["whistle", "clap", "drum"],
    "A morning in the country": ["bird chirp", "dog bark", "bell"],
    "A busy office": ["phone ring", "knock", "buzzer"],
}


def _misleading(names: Sequence[str], wrong: Sequence[str]) -> list[str]:
    """Sounds of other stories that may join a row: with any of them no other story has all its sounds."""
    return [
        name
        for name in dict.fromkeys(name for story in wrong for name in STORIES[story])
        if name not in names and not any(set(STORIES[story]) <= {*names, name} for story in wrong)
    ]


@family("story", "Imagination")
def story(d: Draw) -> Draft:
    """Which situation a row of sounds tells of; sounds of other situations among them when harder."""
    gold, *wrong = d.some(list(STORIES), 4)
    names = list(STORIES[gold])
    if d.difficulty >= 3:
        spare = [name for name in SOUNDS if not any(name in STORIES[w] for w in (gold, *wrong))]
        names.insert(int(d.rng.integers(len(names) + 1)), d.pick(spare or ["drum"]))
    for _ in range(d.harder(0, 2, 2)):
        names.insert(int(d.rng.integers(len(names) + 1)), d.pick(_misleading(names, wrong)))
    sounds: list[tuple[Samples, str | None]] = [(SOUNDS[name](d.rng), name) for name in names]
    scene = Scene(d.rng, fitted(sum(len(s) for s, _ in sounds) / SR + 0.4 * len(names) + 0.7))
    scene.sequence(sounds)
    question = d.pick(
        [
            "Which situation can you imagine from these sounds?",
            "What is most likely happening?",
            "Which story do the sounds tell?",
            "What scene do these sounds bring to mind?",
        ]
    )
    return Draft(
        question, gold, wrong, scene.finish(d.difficulty), scene.events,
        f"{', '.join(names).capitalize()}: that fits {gold.lower()}.",
    )  # fmt: skip


@family("what_next", "Imagination")
def what_next(d: Draw) -> Draft:
    """How a repeating pattern of sounds would go on; a longer pattern when harder."""
    size = 2 if d.difficulty < 3 else 3
    names = d.some(["knock", "clap", "drum", "water drop", "glass clink", "dog bark", "bell"], 5)
    pattern = names[:size]
    count = size * 2 + int(d.rng.integers(1, size + 1))
    row = [pattern[k % size] for k in range(count)]
    sounds: list[tuple[Samples, str | None]] = [(SOUNDS[name](d.rng), name) for name in row]
    scene = Scene(d.rng, fitted(sum(len(s) for s, _ in sounds) / SR + 0.25 * count + 0.7))
    scene.sequence(sounds)
    gold = pattern[count % size]
    others = [name for name in pattern if name != gold]
    others += d.some([name for name in names if name not in pattern], 3 - len(others))
    question = d.pick(
        [
            "If the pattern goes on, which sound comes next?",
            "Imagine how the sequence continues. What is next?",
            "Which sound would follow?",
            "The sounds repeat in a pattern. What comes after the end?",
        ]
    )
    return Draft(
        question, gold, others, scene.finish(d.difficulty), scene.events,
        f"The pattern is {', '.join(pattern)} and the last sound is {row[-1]}, so {gold} follows.",
    )  # fmt: skip


SMOOTH = (CHORDS["major"], CHORDS["minor"], (0, 7, 12), (0, 5, 9))
LESS_SMOOTH = ((0, 4, 10), (0, 3, 10), (0, 5, 10), (0, 6, 9))
ROUGH = ((0, 1, 2), (0, 1, 6), (0, 7, 8))  # levels 1 to 3, 4, 5


@family("most_dissonant", "Aesthetic Evaluation", "music")
def most_dissonant(d: Draw) -> Draft:
    """Which of several chords sounds roughest; the others less smooth when harder."""
    count = 3 if d.difficulty < 2 else 4
    rough = int(d.rng.integers(count))
    instrument = d.pick(["an organ", "a clarinet", "a brass horn"])
    scene = Scene(d.rng, 0.6 + 1.3 * count)
    smooth = SMOOTH if d.difficulty < 4 else LESS_SMOOTH
    for k in range(count):
        steps = d.harder(*ROUGH) if k == rough else smooth[int(d.rng.integers(4))]
        if k == 0 or d.difficulty < 4:  # one root for all: what is lower is rougher, too
            root = d.note(55, 65)
        label = "rough chord" if k == rough else "smooth chord"
        scene.add(chord(d.rng, instrument, root, steps, 1.0), 0.3 + 1.3 * k, label, 0.7)
    question = d.pick(
        [
            "Which chord sounds the most dissonant?",
            "Which chord is the harshest to the ear?",
            "Which of the chords is the least pleasing?",
            "Name the roughest chord.",
        ]
    )
    others = [f"The {name}" for k, name in enumerate(ORDINALS[:count]) if k != rough]
    return Draft(
        question, f"The {ORDINALS[rough]}", others, scene.finish(min(3, d.difficulty)), scene.events,
        f"The {ORDINALS[rough]} chord has notes a semitone apart that beat against each other.",
    )  # fmt: skip


@family("ending", "Aesthetic Evaluation", "music")
def ending(d: Draw) -> Draft:
    """How a phrase of chords ends: home, in suspense, by surprise or in the minor."""
    gold = d.pick(
        ["It ends at rest", "It breaks off in suspense", "It ends with a surprise", "It fades away"]
    )
    root = d.note(54, 60)
    instrument = d.pick(["an organ", "a plucked string", "a clarinet"])
    home, fourth, fifth = (0, 4, 7), (5, 9, 12), (7, 11, 14)
    last = {"It breaks off in suspense": fifth, "It ends with a surprise": (8, 12, 15)}.get(gold, home)
    before = fourth if gold == "It breaks off in suspense" else fifth
    scene = Scene(d.rng, 5.2)
    for k, steps in enumerate((home, fourth, before, last)):
        level = 0.7 * (0.5**k if gold == "It fades away" else 1)
        name = ("home chord", "fourth chord", "tense chord", "last chord")[k]
        length = 1.5 if k == 3 else 0.9
        scene.add(chord(d.rng, instrument, root, steps, length), 0.3 + 1.05 * k, name, level)
    question = d.pick(
        [
            "How does the musical phrase end?",
            "What impression does the ending leave?",
            "How would you describe the end of the phrase?",
            "What is the effect of the last chord?",
        ]
    )
    why = {
        "It ends at rest": "The tense chord resolves to the home chord.",
        "It breaks off in suspense": "The last chord is the tense one and is not resolved.",
        "It ends with a surprise": "After the tense chord comes a chord foreign to the key.",
        "It fades away": "Every chord is half as loud as the one before.",
    }
    return Draft(
        question,
        gold,
        [e for e in why if e != gold],
        scene.finish(min(3, d.difficulty)),
        scene.events,
        why[gold],
    )


@family("instrument", "Professional Knowledge and Reasoning", "music")
def instrument(d: Draw) -> Draft:
    """Which kind of instrument plays; fewer and shorter notes and more noise when harder."""
    names = d.some(list(INSTRUMENTS), 4)
    play = INSTRUMENTS[names[0]]
    scene = Scene(d.rng, 3.4)
    for k in range(d.harder(5, 2, 2)):
        scene.add(play(d.rng, hertz(d.note(57, 72)), d.harder(0.5, 0.3, 0.2)), 0.3 + 0.55 * k, names[0], 0.7)
    question = d.pick(
        [
            "Which instrument plays?",
            "What instrument do you hear?",
            "Which kind of instrument makes these notes?",
            "Name the instrument.",
        ]
    )
    return Draft(
        question, names[0].capitalize(), [n.capitalize() for n in names[1:]],
        scene.finish(d.difficulty, snr=d.harder(None, 2.0, 0.0)),
        scene.events, f"Attack and overtones are those of {names[0]}.",
    )  # fmt: skip


PULSES = {
    "Very slow, under 50": 42,
    "Normal, 60 to 90": 75,
    "Fast, 110 to 140": 125,
    "Very fast, over 160": 172,
}


@family("heart_rate", "Professional Knowledge and Reasoning")
def heart_rate(d: Draw) -> Draft:
    """The heart rate by its double beat, in beats a minute; a murmur of noise when harder."""
    gold = d.pick(list(PULSES))
    rate = PULSES[gold] * d.between(0.94, 1.06)
    period = 60 / rate
    scene = Scene(d.rng, 6.0)
    t = seconds(0.12)
    first, second = (shaped(np.exp(-t * 35) * sweep(t, f)) for f in (58.0, 85.0))
    at = 0.3
    while at < scene.duration - 0.4:
        scene.add(first, at, "heart beat", 0.8)
        scene.add(second, at + min(0.3, period * 0.36), None, 0.6)
        at += period
    question = d.pick(
        [
            "How fast does this heart beat, in beats a minute?",
            "What is the heart rate?",
            "A doctor listens to this heart. Which rate would be noted?",
            "Which range does the pulse lie in?",
        ]
    )
    return Draft(
        question, gold, [p for p in PULSES if p != gold],
        scene.finish(d.difficulty, snr=d.harder(None, 4.0, 1.5)), scene.events,
        f"A beat comes about every {period:.1f} s, which is {60 / period:.0f} a minute.",
    )  # fmt: skip


LINES = {
    "The line is free": ((440, 480), 1.0, 2.0),
    "The line is busy": ((480, 620), 0.5, 0.5),
    "The network is overloaded": ((480, 620), 0.25, 0.25),
    "You may dial now": ((350, 440), 9.0, 0.0),
}


@family("line_signal", "Professional Knowledge and Reasoning", held_out=True)
def line_signal(d: Draw) -> Draft:
    """What a telephone line says by its tones (the North American plan, out of tune)."""
    gold = d.pick(list(LINES))
    (low, high), on, off = LINES[gold]
    scene, tuning = Scene(d.rng, 6.0), d.between(0.93, 1.07)
    at = 0.3
    while at < scene.duration - 0.3:
        t = seconds(min(on, scene.duration - 0.2 - at))
        tone = sweep(t, low * tuning) + sweep(t, high * tuning)
        scene.add(shaped(tone, 0.01, 0.01), at, "line tone", 0.5)
        at += on + off
    question = d.pick(
        [
            "What does this telephone signal mean?",
            "Which state of the line does the tone announce?",
            "You hear this in the receiver. What does it tell you?",
            "What is the telephone exchange signalling?",
        ]
    )
    rhythm = "one unbroken tone" if not off else f"{on:.2g} s of tone and {off:.2g} s of pause"
    return Draft(
        question, gold, [name for name in LINES if name != gold], scene.finish(d.difficulty), scene.events,
        f"The rhythm is {rhythm}.",
    )  # fmt: skip


@family("announcement", "Culture of Speaker", "mix-sound-speech", speech=True)
def announcement(d: Draw) -> Draft:
    """Where an announcement is made, from its words and the sounds around it; noisier when harder."""
    places = {
        "At a railway station": ("The train to the north is late", "a train ride"),
        "At the seaside": ("Swimming is not allowed today", "sea waves"),
        "On a street": ("The next bus stops at the market", "street traffic"),
        "At a camp in the evening": ("Dinner is ready by the fire", "a fire"),
    }
    gold = d.pick(list(places))
    text, around = places[gold]
    voice = pick_voice(d)
    speech = say(text, voice, speaking(d))
    scene = Scene(d.rng, fitted(len(speech) / SR + 1.4))
    bed = SCENES[around](d.texture, len(scene.samples))
    scene.add((0.2 * bed / bed.std()).astype(np.float32), 0.0, around, 0.35 + 0.1 * d.difficulty)
    scene.add(speech, 0.7, "announcement", 0.7)
    question = d.pick(
        [
            "Where is this announcement made?",
            "In which place does the speaker talk?",
            "Which place fits the words and the background?",
            "Where are the people who hear this?",
        ]
    )
    return Draft(
        question, gold, [p for p in places if p != gold],
        scene.finish(1, snr=d.harder(None, -2.5, -3.5)), scene.events,
        f"The words and {around} in the background belong together: {gold.lower()}.", voice=voice,
    )  # fmt: skip
