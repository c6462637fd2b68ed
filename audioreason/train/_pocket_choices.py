"""The same item with other words for its choices, so that the model must read them.

A model that only ever sees "The first" answers "The first" even where the choices say "The first note". Here
a rule is drawn and applied to all choices of an item alike; the right one stays right. Knows nothing about
prompts or sound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from audioreason.items.schema import Item
from audioreason.train import _pocket_phrases as phrases

_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
_THE_NTH = re.compile(rf"The ({'|'.join(_ORDINALS)})")
_NOUNS = (
    "one",
    "part",
    "sound",
    "tone",
    "note",
    "time",
    "chord",
    "utterance",
    "half",
    "phrase",
    "event",
    "beat",
)


def reworded(rng: Random, item: Item) -> Item:
    """The item with its choices in another order and, half of the time, in other words or fewer."""
    gold = item.gold
    if gold is None:
        return item
    texts = list(item.choices)
    if rng.random() < 0.5:
        rule = _rule(rng, texts)
        changed = [rule(text) for text in texts]
        if len(set(changed)) == len(texts) and all(changed):
            texts = changed
    right = texts[gold]
    others = [text for text in texts if text != right]
    rng.shuffle(others)
    if len(others) > 1 and rng.random() < 0.12:
        others = others[: rng.randrange(1, len(others))]
    choices = [right, *others]
    rng.shuffle(choices)
    return item.model_copy(update={"choices": tuple(choices), "answer": right})


def reading_exercise(rng: Random, item: Item) -> Item:
    """A question about the choices themselves: which one is third, which one says ...? The clip stays."""
    count = rng.choice((2, 3, 4, 4, 4, 4, 5))
    texts: list[str] = []
    while len(texts) < count:
        text = " ".join(rng.choice(phrases.WORDS) for _ in range(rng.choice((1, 1, 2, 3))))
        if text not in texts:
            texts.append(text)
    which = rng.randrange(count)
    name = list(_ORDINALS)[which]
    if rng.random() < 0.6:
        question = rng.choice(phrases.EXERCISES).format(nth=name)
    else:
        question = rng.choice(phrases.COPIES).format(text=texts[which])
    return item.model_copy(
        update={
            "question": question,
            "choices": tuple(texts),
            "answer": texts[which],
            "thinking": f"The {name} choice is {texts[which]}.",
        }
    )


def _rule(rng: Random, texts: list[str]) -> Callable[[str], str]:
    """A way of rewording that suits these choices."""
    rules: list[Callable[[str], str]] = [
        str.lower,
        str.upper,
        lambda text: f"{text}.",
        _without_article,
        lambda text: f"It is {_lower(text)}",
        lambda text: f"Probably {_lower(text)}",
        lambda text: f"I think {_lower(text)}",
        lambda text: f"{_lower(text)}, that is",
    ]
    if all(text.isdigit() and int(text) < len(_NUMBERS) for text in texts):
        return rng.choice(
            [
                lambda text: _NUMBERS[int(text)],
                lambda text: _NUMBERS[int(text)].capitalize(),
                lambda text: f"{text} times",
                lambda text: f"{text} in all",
                lambda text: f"exactly {text}",
                rules[2],
            ]
        )
    if any(_THE_NTH.fullmatch(text) for text in texts) and rng.random() < 0.8:
        noun = rng.choice(_NOUNS)
        forms: list[Callable[[str], str]] = [
            lambda nth: f"The {nth} {noun}",
            lambda nth: f"the {nth}",
            lambda nth: f"{nth}",
            lambda nth: nth.capitalize(),
            lambda nth: f"Number {_ORDINALS[nth]}",
            lambda nth: f"{noun.capitalize()} {_ORDINALS[nth]}",
            lambda nth: f"{noun} {_NUMBERS[_ORDINALS[nth]]}",
        ]
        form = rng.choice(forms)
        return lambda text: form(match.group(1)) if (match := _THE_NTH.fullmatch(text)) else text
    return rng.choice(rules)


def _without_article(text: str) -> str:
    bare = re.sub(r"^(?:an?|the) ", "", text, flags=re.I)
    return bare[:1].upper() + bare[1:] if text[:1].isupper() else bare


def _lower(text: str) -> str:
    """Without its capital, unless it is a name or a code."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
