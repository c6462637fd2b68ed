"""Semantic Layer: what is said or signalled, by whom, and how."""

from __future__ import annotations

import numpy as np

from audioreason.soundcheck.music import MORSE, dtmf, morse
from audioreason.soundcheck.registry import Draft, Draw, family
from audioreason.soundcheck.scene import Scene, fitted
from audioreason.soundcheck.synth import SR, Samples
from audioreason.soundcheck.voices import HIGH, LOW, Style, say
from audioreason.soundcheck.words import (
    NUMBERS,
    SENTENCES,
    WORDS,
    altered,
    listed,
    pick_voice,
    speaking,
    voices,
    window,
)

CODE_WORDS = ("SOS", "DOG", "SUN", "TEN", "RED", "KIT", "MAN", "TOE", "GUN", "ONE", "RAT", "ART")
MORSE_WORDS = tuple(word for word in CODE_WORDS if all(letter in MORSE for letter in word))


def _spoken(d: Draw, parts: list[tuple[Samples, str]], gap: float = 0.3) -> Scene:
    """Utterances one after another, each an event."""
    total = sum(len(sound) for sound, _ in parts) / SR + gap * len(parts) + 0.5
    scene = Scene(d.rng, fitted(total))
    at = 0.3
    for sound, label in parts:
        at = scene.add(sound, at, label, 0.7) + gap * d.rng.uniform(0.7, 1.1)
    return scene


@family("spoken_word", "Content Analysis", "speech", speech=True)
def spoken_word(d: Draw) -> Draft:
    """Which word is said among several; noise and more words when harder."""
    count = 1 + (d.difficulty + 1) // 2
    words = d.some(WORDS, count + 3)
    said, wrong = words[:count], words[count:]
    voice = pick_voice(d)
    style = speaking(d)
    scene = _spoken(d, [(say(word, voice, style), f"word {word}") for word in said])
    gold = d.pick(said)
    question = d.pick(
        [
            "Which of these words is spoken?",
            "Which word does the speaker say?",
            "One of these words is in the recording. Which one?",
            "Which word do you hear?",
        ]
    )
    return Draft(
        question,
        gold,
        wrong,
        scene.finish(d.difficulty),
        scene.events,
        f"The words are {listed(said)}.",
        voice=voice,
    )


@family("spoken_digits", "Content Analysis", "speech", speech=True)
def spoken_digits(d: Draw) -> Draft:
    """A row of spoken digits; longer when harder, and the choices differ in one place or two."""
    keys = [str(n) for n in d.rng.integers(0, 10, 3 + d.difficulty // 2)]
    digits, wrong = altered(d, keys, "0123456789")
    voice = pick_voice(d)
    style = speaking(d)
    scene = _spoken(d, [(say(NUMBERS[int(n)], voice, style), f"number {n}") for n in digits], gap=0.22)
    question = d.pick(
        [
            "Which number is read out?",
            "Which digits does the speaker say, in order?",
            "What is the number that you hear?",
            "Which code is spoken?",
        ]
    )
    gold = " ".join(digits)
    return Draft(
        question,
        gold,
        [" ".join(row) for row in wrong],
        scene.finish(d.difficulty, snr=d.harder(None, 3.0, 1.0)),
        scene.events,
        f"Digit by digit: {gold}.",
        voice=voice,
    )


@family("spoken_sum", "Content Analysis", "speech", speech=True)
def spoken_sum(d: Draw) -> Draft:
    """A spoken sum that must be worked out; three numbers when harder."""
    total, wrong = window(d, 3, 12 if d.difficulty < 3 else 18)
    first = int(d.rng.integers(max(1, total - 9), min(9, total - 1) + 1))
    terms = [first, total - first]
    if d.difficulty >= 4 and terms[1] > 1:
        part = int(d.rng.integers(1, terms[1]))
        terms = [first, part, terms[1] - part]
    voice, style = pick_voice(d), speaking(d)
    parts: list[tuple[Samples, str]] = []
    for k, n in enumerate(terms):
        if k:
            parts.append((say("plus", voice, style), "word plus"))
        parts.append((say(NUMBERS[n], voice, style), f"number {n}"))
    scene = _spoken(d, parts, gap=0.15)
    question = d.pick(
        [
            "What is the result of the spoken sum?",
            "The speaker adds numbers. What is the total?",
            "Work out the sum that you hear.",
            "What do the spoken numbers add up to?",
        ]
    )
    return Draft(
        question, str(total), [str(n) for n in wrong], scene.finish(d.difficulty), scene.events,
        f"{' + '.join(map(str, terms))} = {total}.", voice=voice,
    )  # fmt: skip


@family("dialled", "Content Analysis", "sound")
def dialled(d: Draw) -> Draft:
    """Keys of a telephone by their tones; more and shorter when harder."""
    count = 2 + (d.difficulty + 1) // 2
    row = [str(n) for n in d.rng.integers(0, 10, count)]
    keys, wrong = altered(d, row, "0123456789")
    period = d.between(0.35, 0.55)
    scene = Scene(d.rng, fitted(period * count + 0.9))
    for k, key in enumerate(keys):
        held = period * d.harder(0.67 - 0.067 * d.difficulty, 0.16, 0.14) * d.rng.uniform(0.9, 1.1)
        scene.add(dtmf(key, held), 0.3 + period * k, f"key {key}", 0.6)
    question = d.pick(
        [
            "Which telephone keys are pressed?",
            "Which number is dialled?",
            "Decode the key tones. Which keys are they?",
            "What is the dialled sequence?",
        ]
    )
    return Draft(
        question, " ".join(keys), [" ".join(other) for other in wrong],
        scene.finish(d.difficulty, snr=d.harder(None, 4.0, 0.0)), scene.events,
        f"Key by key: {' '.join(keys)}.",
    )  # fmt: skip


@family("morse_word", "Content Analysis", "sound")
def morse_word(d: Draw) -> Draft:
    """A short word in Morse code; faster when harder."""
    words = d.some(MORSE_WORDS, 4)
    sound, marks = morse(words[0], (0.13 - 0.012 * d.difficulty) * d.between(0.85, 1.15), d.between(550, 900))
    scene = Scene(d.rng, fitted(len(sound) / SR + 0.5))
    scene.add(sound, 0.3, None, 0.6)
    code = " ".join(MORSE[letter] for letter in words[0])
    for start, end, label in marks:
        scene.add(np.zeros(int((end - start) * SR), np.float32), 0.3 + start, label)
    question = d.pick(
        [
            "Which word is sent in Morse code?",
            "Decode the Morse signal.",
            "What does the Morse message say?",
            "Which word do the short and long tones spell?",
        ]
    )
    return Draft(
        question,
        words[0],
        words[1:],
        scene.finish(d.difficulty),
        scene.events,
        f"The marks {code} spell {words[0]}.",
    )


STYLES = {
    "Calm and slow": Style(rate=110, pitch=35, range=35),
    "Hurried and excited": Style(rate=265, pitch=72, range=90),
    "Flat, like a machine": Style(rate=165, pitch=45, range=0),
    "Whispering": Style(rate=150, pitch=50, range=40),
}


@family("manner", "Emotion and Intention", "speech", speech=True)
def manner(d: Draw) -> Draft:
    """How a sentence is said, by speed, pitch and its range; milder and noisier when harder."""
    gold = d.pick(list(STYLES))
    voice = pick_voice(d)
    ease = d.harder(1.1 - 0.1 * d.difficulty, 0.55, 0.5)
    plain, full = Style(), STYLES[gold]
    style = Style(
        rate=round(d.between(0.9, 1.1) * (plain.rate + ease * (full.rate - plain.rate))),
        pitch=round(plain.pitch + ease * (full.pitch - plain.pitch)),
        range=max(0, round(plain.range + ease * (full.range - plain.range))),
    )
    voice = "en+whisper" if gold == "Whispering" else voice
    scene = _spoken(d, [(say(d.pick(SENTENCES), voice, style), f"speech, {gold.lower()}")])
    question = d.pick(
        [
            "How does the speaker sound?",
            "In which manner is the sentence spoken?",
            "Which mood does the voice convey?",
            "How would you describe the way of speaking?",
        ]
    )
    return Draft(
        question, gold, [s for s in STYLES if s != gold],
        scene.finish(d.difficulty, snr=d.harder(None, 5.0, 2.0)), scene.events,
        f"By its speed, pitch and melody the voice is {gold.lower()}.", voice=voice,
    )  # fmt: skip


COMMANDS = (
    "open the door",
    "close the window",
    "stop the car",
    "read the letter",
    "call your mother",
    "sing a song",
)


@family("question_or_statement", "Emotion and Intention", "speech", speech=True)
def question_or_statement(d: Draw) -> Draft:
    """Which of several utterances is a question, by its melody alone."""
    phrase = d.pick(["you are ready", "it is raining", "he is at home", "they have won", "she is coming"])
    count = 2 if d.difficulty < 2 else 3
    asked = int(d.rng.integers(count + 1))
    voice = pick_voice(d)
    style = Style(rate=round(d.between(140, 200)), range=max(30, 95 - 12 * d.difficulty))
    parts = [
        (
            say(f"{phrase}{'?' if k == asked else '.'}", voice, style),
            "question" if k == asked else "statement",
        )
        for k in range(count)
    ]
    scene = _spoken(d, parts)
    names = [*("The first", "The second", "The third")[:count], "None of them"]
    question = d.pick(
        [
            "The same words are said several times. Which time are they a question?",
            "Which utterance is meant as a question?",
            "In which utterance does the voice ask?",
            "Which time does the melody rise to a question?",
        ]
    )
    gold = names[asked]
    why = "The melody never rises at the end." if asked == count else f"{gold} one rises at the end."
    return Draft(
        question,
        gold,
        [n for n in names if n != gold],
        scene.finish(d.difficulty),
        scene.events,
        why,
        voice=voice,
    )


@family("wanted", "Emotion and Intention", "speech", speech=True)
def wanted(d: Draw) -> Draft:
    """What the speaker wants from the listener, in other words than the choices; and what not, when hard."""
    means = {
        "open the door": "To be let in",
        "close the window": "Less noise or cold from outside",
        "stop the car": "To get out of a vehicle",
        "read the letter": "To learn what was written",
        "call your mother": "A telephone call to a parent",
        "sing a song": "Some music",
    }
    command, *rest = d.some(COMMANDS, 4)
    voice = pick_voice(d)
    style = speaking(d)
    parts = [(say(f"Please {command}.", voice, style), f"words please {command}")]
    if d.difficulty >= 4:  # the same voice says what it does not want
        parts.insert(
            int(d.rng.integers(2)), (say(f"Do not {rest[0]}.", voice, style), f"words do not {rest[0]}")
        )
    scene = _spoken(d, parts)
    question = d.pick(
        [
            "What does the speaker want?",
            "What is the intention of the speaker?",
            "What would satisfy the speaker?",
            "What is the speaker asking for?",
        ]
    )
    return Draft(
        question, means[command], [means[c] for c in rest],
        scene.finish(d.difficulty, snr=d.harder(None, 12.0, 4.0)), scene.events,
        f"The words are: please {command}. So the wish is: {means[command].lower()}.", voice=voice,
    )  # fmt: skip


@family("speaker_turns", "Speaker Analysis", "speech", speech=True)
def speaker_turns(d: Draw) -> Draft:
    """The order of low and high voices over several turns; more turns, then noise, when harder."""
    count = 2 if d.difficulty < 3 else 3
    low, high = d.pick(voices(d, LOW)), d.pick(voices(d, HIGH))
    kinds = [d.pick(["low", "high"]) for _ in range(count)]
    words, style = d.some(WORDS, count), speaking(d)
    parts = [
        (say(word, low if kind == "low" else high, style), f"{kind} voice")
        for word, kind in zip(words, kinds, strict=True)
    ]
    scene = _spoken(d, parts)
    patterns: list[list[str]] = [[]]
    for _ in range(count):
        patterns = [[*p, kind] for p in patterns for kind in ("low", "high")]
    wrong = d.some([listed(p) for p in patterns if p != kinds], 3)
    question = d.pick(
        [
            "In which order do the low and the high voice speak?",
            "Which voices speak, one after the other?",
            "Give the order of low and high voices.",
            "Who speaks when: the low or the high voice?",
        ]
    )
    return Draft(
        question, listed(kinds).capitalize(), [w.capitalize() for w in wrong],
        scene.finish(d.difficulty, snr=d.harder(None, -3.5, -4.5)),
        scene.events, f"Turn by turn the voice is {listed(kinds)}.", voice=f"{low},{high}",
    )  # fmt: skip


@family("speaker_count", "Speaker Analysis", "speech", speech=True)
def speaker_count(d: Draw) -> Draft:
    """How many different speakers take turns."""
    people = int(d.rng.integers(1, 5))
    pool = d.some([*voices(d, LOW)[:2], *voices(d, HIGH)[-2:]], people)
    turns = d.some([*pool, *(d.pick(pool) for _ in range(max(0, 3 - people) + d.difficulty // 3))], 99)
    words = d.some(WORDS, len(turns))
    rate = speaking(d).rate
    parts = [
        (
            say(word, voice, Style(rate=rate, pitch=35 + 12 * pool.index(voice))),
            f"speaker {pool.index(voice) + 1}",
        )
        for word, voice in zip(words, turns, strict=True)
    ]
    scene = _spoken(d, parts, gap=0.2)
    question = d.pick(
        [
            "How many different people speak?",
            "How many speakers are in the recording?",
            "Count the different voices.",
            "How many persons take part in this conversation?",
        ]
    )
    gold = NUMBERS[people].capitalize()
    wrong = [NUMBERS[n].capitalize() for n in range(1, 5) if n != people]
    return Draft(
        question, gold, wrong, scene.finish(d.difficulty), scene.events,
        f"{people} different voice{'s' * (people != 1)} in {len(turns)} turns.", voice=",".join(pool),
    )  # fmt: skip


@family("who_said_it", "Speaker Analysis", "speech", speech=True)
def who_said_it(d: Draw) -> Draft:
    """Which word the low, or the high, voice says."""
    low, high = d.pick(voices(d, LOW)), d.pick(voices(d, HIGH))
    words = d.some(WORDS, 5)
    want = d.pick(["low", "high"])
    kinds = [want, *("high" if want == "low" else "low" for _ in range(1 if d.difficulty < 4 else 2))]
    style = speaking(d)
    arranged = [int(k) for k in d.rng.permutation(len(kinds))]
    parts = [
        (say(words[k], low if kinds[k] == "low" else high, style), f"{kinds[k]} voice: {words[k]}")
        for k in arranged
    ]
    scene = _spoken(d, parts)
    question = d.pick(
        [
            f"Which word does the {want} voice say?",
            f"What is said by the {want} voice?",
            f"Name the word spoken by the {want} voice.",
            f"Which of the words belongs to the {want} voice?",
        ]
    )
    return Draft(
        question, words[0], words[1:4], scene.finish(d.difficulty), scene.events,
        f"The {want} voice says {words[0]}.", voice=f"{low},{high}",
    )  # fmt: skip
