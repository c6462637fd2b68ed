"""Folded text -> tokens that compare by meaning: words, numbers as values, quantities with their unit. Pure.

"twenty-one" and "21" are one token, "5 seconds" and "0:05" another, "C sharp" and "C#" a third; "-3" is not
"3", "20-21" neither of its ends, "isn't" is "is" and "not". Scripts without spaces give a token a character.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from audioreason.answers import languages

# characters that are words of their own: Chinese, kana, Hangul, Thai, Lao, Khmer, Burmese
SINGLE = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_LETTER = rf"(?:(?![{SINGLE}])[^\W\d_]|[\u0900-\u0df4])"
_TOKEN = re.compile(
    rf"""
    (?P<clock>\d{{1,3}}:[0-5]\d(?::[0-5]\d)?(?:\.\d+)?)(?![\d:])
  | (?P<number>(?:(?<![\w)\]%.,:/])[-+](?=[\d$€£]|\.\d))?(?P<money>[$€£¥₹])?\d+(?:,\d{{3}})+(?:\.\d+)?(?!\d)
      |(?:(?<![\w)\]%.,:/])[-+](?=[\d$€£]|\.\d))?(?P<money2>[$€£¥₹])?(?:\d+(?:[.,]\d+)?|\.\d+)(?!\d))
      (?P<suffix>(?:st|nd|rd|th)\b|/\d+(?![\d/])|\#?{_LETTER}[^\W_]*[\#+°]*)?
  | (?P<han>[零〇一二三四五六七八九十百千万亿两]+)
  | (?P<hangul>(?:한|두|세|네|다섯|여섯|일곱|여덟|아홉|열)(?=\s?(?:번|명|마리|개|대|회|초|분|사람|곳|가지)))
  | (?P<single>[{SINGLE}])
  | (?P<word>{_LETTER}(?:{_LETTER}|\d|'(?={_LETTER}))*[\#+°]*)
  | (?P<sign>->|=>|→|%|&|°c|°f|°)
    """,
    re.VERBOSE,
)
_MERIDIEM = re.compile(r"\s?([ap])\.?\s?m\b\.?")
_CLOCK = re.compile(r"(\d{1,2})[.h]([0-5]\d)")
_RANGE_GAP = re.compile(r"\s*(?:-|~|\.\.\.?)\s*\Z")
_SMALL = re.compile(r"(?:\s|-)+\Z")
_BEFORE_WORD = re.compile(r"[\s\"'*_`]+\w")
_ONLY_ONE = re.compile(r"(?<!the )only one\Z")
_REPEATED = {"once": 1, "twice": 2, "thrice": 3}
_ACCIDENTALS = {"sharp": "#", "flat": "b", "natural": "", "♭": "b"}
_NUMERIC = languages.NUMBER_WORDS.keys() | _REPEATED.keys() | {"half", "quarter"}


class Token(NamedTuple):
    """One token: what it means, and where it stands in the folded text."""

    value: Hashable
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the choices are about decides what some words mean: note names, time signatures, times of day."""

    music: bool = False
    meter: bool = False
    clock: bool = False


PLAIN = Dialect()


class Quantity(NamedTuple):
    """A value of a unit: seconds, hertz, "time" for how often, or a currency."""

    unit: str
    value: Fraction | tuple[Fraction, ...]


def tokenize(
    text: str, dialect: Dialect = PLAIN, start: int = 0, end: int | None = None, *, units: bool = True
) -> list[Token]:
    """Tokens of a folded text (or of a part of it); punctuation and articles give none.

    Without `units` a number stays apart from its unit.
    """
    words: list[Token] = []
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        kind = match.lastgroup
        if kind == "word":
            _add_word(words, match[0], match.start(), match.end())
        elif kind == "single":
            words.append(Token(match[0], match.start(), match.end()))
        else:
            _add_other(words, match, dialect)
    if dialect.music:
        words = _with_notes(words, text)
    else:
        words = [
            token for token in words if token[0] not in languages.ARTICLES or not _is_article(text, token)
        ]
    if any(not isinstance(token[0], str) or token[0] in _NUMERIC for token in words):
        words = _with_ranges(_with_numbers(words, text, dialect), text)
        if units:
            words = _with_ranges(_with_quantities(words, text), text)
        words = [
            Token(int(token.value), token.start, token.end)
            if isinstance(token.value, Fraction) and token.value.denominator == 1
            else token
            for token in words
        ]
    return words


def _is_article(text: str, token: Token) -> bool:
    """Whether an "a" is an article, not the letter of an option: it stands before a word."""
    return token.value != "a" or _BEFORE_WORD.match(text, token.end) is not None


def _add_word(words: list[Token], word: str, start: int, end: int) -> None:
    if "'" in word:
        for suffix in ("n't", "'s", "'re", "'ve", "'ll", "'d", "'m"):
            if not word.endswith(suffix):
                continue
            stem = word[: -len(suffix)]
            if suffix == "n't":
                stem = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}.get(stem, stem)
                words += [Token(stem, start, end - 3), Token("not", end - 3, end)]
                return
            if suffix != "'s" or stem in languages.PRONOUNS:
                words.append(Token(stem, start, end - len(suffix)))
                return
        words.append(Token(word, start, end))
        return
    if word == "cannot":
        words += [Token("can", start, end), Token("not", start, end)]
        return
    if len(word) > 4 and "\u0600" <= word[0] <= "\u06ff" and word.startswith("ال"):
        word = word[2:]
    words.append(Token(languages.SAME_WORDS.get(word, word), start, end))


def _add_other(words: list[Token], match: re.Match[str], dialect: Dialect) -> None:
    start, end = match.span()
    if dialect.clock and (clock := _CLOCK.fullmatch(match[0])):
        words.append(Token(Quantity("s", Fraction(int(clock[1]) * 60 + int(clock[2]))), start, end))
        return
    if match["clock"]:
        parts = [Fraction(part) for part in match["clock"].split(":")]
        seconds = sum((part * 60 ** (len(parts) - 1 - i) for i, part in enumerate(parts)), Fraction())
        words.append(Token(Quantity("s", seconds), start, end))
        return
    if match["number"]:
        digits, suffix = match["number"], match["suffix"] or ""
        money = match["money"] or match["money2"]
        plain = digits.replace(money or "", "").replace("+", "")
        _whole, comma, rest = plain.rpartition(",")
        plain = (
            plain.replace(",", "") if (len(rest) == 3 and comma) or "." in rest else plain.replace(",", ".")
        )
        value: Hashable = Fraction(plain)
        body = end - len(suffix)
        if suffix in ("st", "nd", "rd", "th"):
            words.append(Token(("ordinal", int(Fraction(plain))), start, end))
        elif suffix.startswith("/"):
            words.append(Token(_fraction(plain, suffix[1:]), start, end))
        elif suffix and suffix not in languages.UNITS:
            words.append(Token(match[0].replace(" ", ""), start, end))  # "4th", "3d", "2x", "7#9"
        else:
            words.append(Token(value, start, body))
            if money:
                words.append(Token(languages.CURRENCIES[money], body, body))
            if suffix:
                words.append(Token(suffix, body, end))
        return
    if match["han"]:
        words.append(Token(("han", match["han"]), start, end))
        return
    if match["hangul"]:
        words.append(Token(Fraction(languages.HANGUL_NUMBERS[match["hangul"]]), start, end))
        return
    sign = match[0]
    words.append(Token({"->": ">", "=>": ">", "→": ">", "&": "and"}.get(sign, sign), start, end))


def _fraction(above: str, below: str) -> Hashable:
    """1/2 and 0.5 are one number; 4/4 and 6/8 are what they are."""
    if int(below) == 0 or "." in above:
        return f"{above}/{below}"
    value = Fraction(int(above), int(below))
    return value if value.denominator == int(below) else f"{above}/{below}"


def _with_notes(words: list[Token], text: str) -> list[Token]:
    """Note names with their accidental as one token; a single "a" stays, as it may be a note."""
    made: list[Token] = []
    for token in _without_chords(words):
        if (
            made
            and token.value in _ACCIDENTALS
            and isinstance(made[-1].value, str)
            and len(made[-1].value) == 1
            and made[-1].value in "abcdefg"
            and _SMALL.match(text[made[-1].end : token.start])
        ):
            made[-1] = Token(made[-1].value + _ACCIDENTALS[str(token.value)], made[-1].start, token.end)
        elif token.value != "the":
            made.append(token)
    notes: list[Token] = []
    for i, token in enumerate(made):
        # B♭: the flat sign is no letter, so it stands behind the token
        if isinstance(token.value, str) and text[token.end : token.end + 1] == "♭" and len(token.value) == 1:
            token = Token(token.value + "b", token.start, token.end + 1)
        following = made[i + 1].value if i + 1 < len(made) else None
        if (
            token.value in ("a", "an")
            and isinstance(following, str)
            and following not in languages.KEYS
            and len(following) > 2
            and text[token.end : made[i + 1].start] == " "
        ):
            continue  # an article
        notes.append(token)
    return notes


_CHORD = re.compile(r"([a-g](?:#|b)?)(maj|min|m)(\d*)\Z")


def _without_chords(words: list[Token]) -> list[Token]:
    """ "Cmaj7" as "C", "major" and "7"."""
    made: list[Token] = []
    for token in words:
        chord = _CHORD.match(token.value) if isinstance(token.value, str) and token.value != "am" else None
        if chord is None:
            made.append(
                {"maj": token._replace(value="major"), "min": token._replace(value="minor")}.get(
                    str(token.value), token
                )
            )
            continue
        made.append(Token(chord[1], token.start, token.start + len(chord[1])))
        made.append(Token("major" if chord[2] == "maj" else "minor", token.start + len(chord[1]), token.end))
        if chord[3]:
            made.append(Token(Fraction(int(chord[3])), token.end - len(chord[3]), token.end))
    return made


def _with_numbers(words: Sequence[Token], text: str, dialect: Dialect) -> list[Token]:
    """Number words as values: "twenty-one", "one and a half", "一百二十"."""
    made: list[Token] = []
    i = 0
    while i < len(words):
        token = words[i]
        value = token.value
        if isinstance(value, tuple) and value[0] == "han":
            made += _han(words, i, text)
            i += 1
        elif isinstance(value, str) and value in _REPEATED and _counts(words, i, text):
            made.append(Token(Quantity("time", Fraction(_REPEATED[value])), token.start, token.end))
            i += 1
        elif isinstance(value, str) and value in languages.NUMBER_WORDS and _counts(words, i, text):
            number, used = _number_at(words, i, text)
            made.append(Token(number, token.start, words[i + used - 1].end))
            _negate(made)
            i += used
        else:
            made.append(token)
            _negate(made)
            i += 1
    return _joined(made, text, dialect)


def _negate(made: list[Token]) -> None:
    """ "minus three", "negative 3"."""
    value = made[-1].value
    if len(made) > 1 and made[-2].value in ("minus", "negative") and isinstance(value, Fraction):
        made[-2:] = [Token(-value, made[-2].start, made[-1].end)]


def _counts(words: Sequence[Token], i: int, text: str) -> bool:
    """Whether a number word is a number there: "one" is a pronoun as often, "once" a conjunction."""
    before = words[i - 1].value if i else ""
    after = words[i + 1].value if i + 1 < len(words) else ""
    value = words[i].value
    if value == "one":
        return not (
            (
                before in languages.BEFORE_PRONOUN_ONE
                and not _ONLY_ONE.search(text, max(0, words[i].end - 16), words[i].end)
            )
            or (isinstance(before, tuple) and before[0] == "ordinal")
            or after in languages.AFTER_PRONOUN_ONE
        )
    if value == "once":
        return after not in languages.AFTER_ONCE
    return True


def _number_at(words: Sequence[Token], i: int, text: str) -> tuple[Hashable, int]:
    """(value, how many tokens) of the number that begins at word i."""
    first = languages.NUMBER_WORDS[str(words[i].value)]
    if not isinstance(first, Fraction):
        return first, 1
    total, part, used = Fraction(), first, 1
    scale = first if first in (100, 1000, 1_000_000) else Fraction(0)
    if scale and str(words[i].value) in ("hundred", "thousand", "million"):
        part = first  # "a hundred"
    while i + used < len(words):
        gap = text[words[i + used - 1].end : words[i + used].start]
        value = words[i + used].value
        if not _SMALL.match(gap) and gap:
            break
        ahead = used
        if value == "and" and i + used + 1 < len(words):
            ahead += 1
            value = words[i + ahead].value
            if value == "half" or value == "quarter":
                return total + part + (Fraction(1, 2) if value == "half" else Fraction(1, 4)), ahead + 1
            if part < 100 and not total:
                break
        number = languages.NUMBER_WORDS.get(str(value)) if isinstance(value, str) else None
        if not isinstance(number, Fraction) or number.denominator != 1:
            break
        if number >= 1000 and part:
            total, part = total + part * number, Fraction(0)
        elif number == 100 and 0 < part < 100:
            part *= 100
        elif _adds(part, number) or (not part and total):
            part += number
        else:
            break
        used = ahead + 1
    return total + part, used


def _adds(part: Fraction, number: Fraction) -> bool:
    """Whether a number word goes on with another: "twenty" with "one", "hundred" with "five"."""
    if part % 100 == 0:
        return part > 0 and number < 100
    return part % 100 >= 20 and part % 10 == 0 and number < 10


def _han(words: Sequence[Token], i: int, text: str) -> list[Token]:
    """A run of Chinese numerals: a number before a measure word or alone, else characters."""
    token = words[i]
    run = str(token.value[1])  # type: ignore[index]
    after = words[i + 1].value if i + 1 < len(words) else None
    before = words[i - 1].value if i else None
    ordinal = before == "第"
    alone = len(words) == 1 or (after is None and i == 0)
    counts = alone or ordinal or (len(run) > 1 and set(run) & set("十百千万")) or after in languages.MEASURES
    if counts and (number := _han_value(run)) is not None:
        return [Token(Fraction(number), token.start, token.end)]
    return [Token(letter, token.start + k, token.start + k + 1) for k, letter in enumerate(run)]


def _han_value(run: str) -> int | None:
    if not set(run) & set("十百千万亿"):
        digits = [languages.HAN_DIGITS[letter] for letter in run]
        return int("".join(map(str, digits))) if len(run) == 1 or len(run) >= 4 else None
    total = section = digit = 0
    for letter in run:
        if letter in languages.HAN_DIGITS:
            digit = languages.HAN_DIGITS[letter]
        elif letter == "万" or letter == "亿":
            total = (total + section + digit or 1) * (10_000 if letter == "万" else 100_000_000)
            section = digit = 0
        else:
            section += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[letter]
            digit = 0
    return total + section + digit


def _joined(words: list[Token], text: str, dialect: Dialect) -> list[Token]:
    """Numbers that belong together: clock times, years, fractions and time signatures in words."""
    made: list[Token] = []
    i = 0
    while i < len(words):
        token = words[i]
        following = words[i + 1] if i + 1 < len(words) else None
        a, b = token.value, following.value if following else None
        gap = text[token.end : following.start] if following else ""
        if isinstance(a, Fraction) and isinstance(b, Fraction) and following and _SMALL.match(gap):
            spelled = not text[token.start].isdigit() and not text[following.start].isdigit()
            value: Hashable | None = None
            if dialect.meter and b in (1, 2, 4, 8, 16) and a <= 16 and spelled:
                value = _fraction(str(a), str(b))
            elif spelled and "-" not in gap and 1 <= a <= 12 and 10 <= b <= 59:
                value = Quantity("s", a * 60 + b)
            elif spelled and "-" not in gap and 13 <= a <= 21 and 10 <= b <= 99:
                value = a * 100 + b
            if value is not None:
                made.append(Token(value, token.start, following.end))
                i += 2
                continue
        if isinstance(a, Fraction) and b in ("quarter", "quarters", "third", "thirds", "halves", "half"):
            below = {"q": 4, "t": 3, "h": 2}[str(b)[0]]
            if following is not None and str(b) != "third":
                made.append(Token(a / below, token.start, following.end))
                i += 2
                continue
        if a in ("half", "quarter") and b in ("past", "after", "to") and i + 2 < len(words):
            hour = words[i + 2].value
            if isinstance(hour, Fraction):
                minutes = 30 if a == "half" else 15
                value = Quantity("s", hour * 60 + (minutes if b != "to" else -minutes))
                made.append(Token(value, token.start, words[i + 2].end))
                i += 3
                continue
        if a in ("half", "quarter") and (b in languages.UNITS or b == ("ordinal", 2)):
            part = Fraction(1, 2 if a == "half" else 4)
            made.append(Token(part, token.start, token.end))
            i += 1
            if b == ("ordinal", 2) and following is not None:  # half a second
                made[-1] = Token(Quantity("s", part), token.start, following.end)
                i += 1
            continue
        made.append(token)
        i += 1
    return made


def _with_quantities(words: Sequence[Token], text: str) -> list[Token]:
    """Numbers with their unit as one token, ranges as one token."""
    made: list[Token] = []
    i = 0
    while i < len(words):
        token = words[i]
        if isinstance(token.value, Fraction):
            meridiem = _MERIDIEM.match(text, token.end)
            unit, used = _unit_at(words, i + 1)
            if unit == "o'clock":
                made.append(Token(Quantity("s", token.value * 60), token.start, words[i + used].end))
                i += used + 1
                continue
            if meridiem and 1 <= token.value <= 12:
                made.append(Token(Quantity("s", token.value * 60), token.start, token.end))
                made.append(Token(meridiem[1] + "m", token.end, meridiem.end()))
                i += 1
                while i < len(words) and words[i].start < meridiem.end():
                    i += 1
                continue
            if unit:
                name, factor = languages.UNITS[unit]
                made.append(Token(Quantity(name, token.value * factor), token.start, words[i + used].end))
                i += used + 1
                continue
        elif isinstance(token.value, Quantity) and token.value.unit == " range":
            unit, used = _unit_at(words, i + 1)
            name, factor = languages.UNITS.get(unit, ("", Fraction(1)))
            if unit and isinstance(token.value.value, tuple):
                low, high = token.value.value
                made.append(
                    Token(
                        Quantity(f"{name} range", (low * factor, high * factor)),
                        token.start,
                        words[i + used].end,
                    )
                )
                i += used + 1
                continue
        elif isinstance(token.value, Quantity) and (meridiem := _MERIDIEM.match(text, token.end)):
            made += [token, Token(meridiem[1] + "m", token.end, meridiem.end())]
            i += 1
            while i < len(words) and words[i].start < meridiem.end():
                i += 1
            continue
        made.append(token)
        i += 1
    return _with_ranges(made, text)


def _unit_at(words: Sequence[Token], i: int) -> tuple[str, int]:
    """(unit, how many tokens) that stand at word i; ("", 0) if there is none."""
    if i >= len(words) or not isinstance(words[i].value, str):
        return "", 0
    word = str(words[i].value)
    if word in ("o'clock", "oclock"):
        return "o'clock", 1
    if i + 2 < len(words):
        three = f"{word} {words[i + 1].value} {words[i + 2].value}"
        if three in languages.UNITS:
            return three, 3
    if i + 1 < len(words):
        two = f"{word} {words[i + 1].value}"
        if two in languages.UNITS:
            return two, 2
        two = f"{word}{words[i + 1].value}"
        if len(word) == 1 and two in languages.UNITS and not word.isascii():
            return two, 2
    return (word, 1) if word in languages.UNITS else ("", 0)


def _with_ranges(words: Sequence[Token], text: str) -> list[Token]:
    """ "10 to 20 s", "10-20", "between 10 and 20": one token, neither of its ends."""
    made: list[Token] = []
    i = 0
    while i < len(words):
        token = words[i]
        first = _value(token)
        if first is not None and i + 1 < len(words):
            j = i + 1
            between = made and made[-1].value in ("between", "from")
            word = words[j].value
            gap = text[token.end : words[j].start]
            joined = bool(_RANGE_GAP.match(gap))
            if j + 1 < len(words) and (
                word in languages.RANGE_WORDS or (word == "and" and between and made[-1].value == "between")
            ):
                joined, j = True, j + 1
            last = _value(words[j])
            if joined and last is not None and last[1] == first[1]:
                if between:
                    made.pop()
                ends = (first[0], last[0])
                made.append(Token(Quantity(f"{last[1]} range", ends), token.start, words[j].end))
                i = j + 1
                continue
        made.append(token)
        i += 1
    return made


def _value(token: Token) -> tuple[Fraction, str] | None:
    """(value, unit) of a number or quantity."""
    if isinstance(token.value, Fraction):
        return token.value, ""
    if isinstance(token.value, Quantity) and isinstance(token.value.value, Fraction):
        return token.value.value, token.value.unit
    return None
