"""Stage 3: a stated answer -> one choice or none, with the rule that fired. Never a guess between two.

Texts compare as tokens (see `tokens`), letters in any wrapper; what is denied, doubted or corrected is told
from what is claimed. The text of a choice wins over its letter. Knows nothing about gold answers. Pure.
"""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from audioreason.answers import languages
from audioreason.answers.fold import Folded, fold
from audioreason.answers.statements import alternatives
from audioreason.answers.tokens import Dialect, Quantity, Token, tokenize

LONGEST = 8000  # characters of a text in which choices are looked for, half at each end
Number = int | Fraction
_EDGES = " \t\r\n*_`\"'#~>|.,;:!?()[]{}<=$\\-•✅☑✓✔👉🔹🎯+/"
_OPTION_WORD = (
    r"(?:options?|choices?|letter|answer|opción|opcion|opção|option|opzione|lettera|letra|lettre|inciso"
    r"|alternativa|buchstabe|antwort|"
    r"вариант|букв[аы]|пункт|الخيار|选项|选择|选|选択肢|선택지|보기)"
)
_LETTER = re.compile(
    rf"(?P<word>(?<![^\W_]){_OPTION_WORD}\s{{0,2}})?(?P<open>[(\[{{<\"'*`_$|]{{0,6}})(?<![^\W_\u3000-\u9fff\uac00-\ud7af\u3040-\u30ff'])(?<!\w[-'])(?P<letter>[a-z])"
    r"(?P<close>[)\]}>\"'*`_$|.:,;]{0,6})(?![^\W_\u3000-\u9fff\uac00-\ud7af]|['#♭♯+°&]\w?"
    r"|-[a-z])(?P<item>\s?(?:项|选项|가|이|은|는|です|だ|입니다|이다))?"
)
_BEFORE_ITEM = " \t*_#->|•`\"'([✅👉☑]x✓✔"
_OPEN, _CLOSE = "([{<\"'`*_$|", ")]}>\"'`*_$|"
_NOT_AN_OPTION = re.compile(
    r"\b(?:vitamin|plan|speaker|person|section|type|group|part|note|chord|key|track|team|grade|class|model"
    r"|voice|channel|hepatitis|segment|block"
    r"|string|scale|tune|side|movement|major|minor|in|line|theme|row|exhibit|phase|room|gate|platform"
    r"|terminal|mr|mrs|dr|point|from|to|with)\.?\s*\Z"
)
# words that may follow a letter that is an option
_AFTER_LETTER = re.compile(
    r"\s*(?:\Z|[^\w\s]|\n|[\u3040-\u9fff\uac00-\ud7af]|(?:because|as|since|is|was|and|or|for|due|given"
    r"|based|here|with|which|instead|but|over|rather than|not|fits|matches|seems"
    r"|would|must|should|can be (?:excluded|ruled|eliminated|discarded)|cannot|could|has|might|may|makes"
    r"|sounds|looks|best (?:fits|matches|describes)|being|from|in|at|after|to|where"
    r"|when|while|if|so|then|corresponds|describes|"
    r"therefore|weil|da|denn|parce|porque|pois|perché|потому|так|und|oder|et|ou|y|o|e|и|или|ist|est|es"
    r"|é|è|(?:confident|correct|clear|definite|probab|obvious|certain|perfect|exact|most|sure|on)ly|vs|versus)\b)"
)
_CONNECTED = re.compile(
    r"[\s)\]\"'*_`.]{0,6}(?:,|/|&|\band\b|\bor\b|\bund\b|\boder\b|\bet\b|\bou\b|\by\b|\be\b|\bo\b|\bи\b"
    r"|\bили\b|\bas well as\b|\balong with\b|\bplus\b|;|和|或|と|、|와|및|\+)"
    r"(?:\s?(?:and|or|option|both|also|possibly|maybe|perhaps|even|the|an?)\b)*[\s(\[\"'*_`]{0,6}\Z"
)
_LABEL = re.compile(
    r"\s*[(\[]?([A-Za-z])(?:[)\]][.:]?|[.:、])\s+(?=\S)|\s*[(\[]([A-Za-z])[)\]][.:]?\s*(?=\S)"
)
_BEFORE_WORD = re.compile(r"\s\w")
_NUMBER_LABEL = re.compile(r"\s*(\d{1,2})[.)]\s+(?=\S)")
_BOLD = re.compile(
    r"\*\*([^*\n]{1,400})\*\*|__([^_\n]{1,400})__|<(?:b|strong|mark|u)>([^<\n]{1,400})<|\\text(?:bf"
    r"|it)?\{([^{}\n]{1,400})\}|✅\s?([^\n]{1,400})|👉\s?([^\n]{1,400})"
)
_QUOTED = re.compile(r"\"([^\"\n]{1,400})\"|`([^`\n]{1,400})`")
_NAMES_PAIR = re.compile(r"\b(?:both )?\(?([a-z])\)?\s?(?:and|&|\+)\s?\(?([a-z])\)?\Z")
_CLAUSE_ENDS = re.compile(
    r"\s*(?:\Z|[^\w\s]|\n|(?:because|since|as|it|he|she|they|i|you|we|there|and|or|nor|but)\b)"
)
_DENIED_BEHIND = re.compile(
    r"[\s\"'*_`)\]]{0,6}(?:[(,](?!\s*(?:\w+ly )?(?:no|not)\b)\s?)?" + languages.DENIED_BEHIND
)
_COUNTERFACTUAL = re.compile(r"[\s\"'*_`)\]]{0,4}(?:\(?[a-z]\)?\s)?" + f"(?:{languages.COUNTERFACTUAL})")
_HEDGED_BEHIND = re.compile(r"[\s\"'*_`)\]]{0,4}" + f"(?:{languages.HEDGES_BEHIND})")
_ANSWERED = re.compile(
    r"[^.!?;\n]{0,24}\?[\s\"'*_(-]{0,6}(?:(?P<yes>yes|yeah|indeed|是的)|no|nope|not|unlikely|不是)\b"
)
_ENDS = re.compile(r"[\s\"'*_`)]{0,4}(?:,\s(?=that|which|because|since|as|so|not)|[.!]?[\s*_\"']*\Z|[.!\n])")
_CORRECTION = re.compile(languages.CORRECTIONS)
_CONCLUSION = re.compile(languages.CONCLUSIONS)
_CLAUSE_BREAK = re.compile(r"[.;!?\n]|,(?=\s)|\s-\s|[,:](?=[\u3040-\u9fff\uac00-\ud7af])|:\s")
_ANY_OF = re.compile(r"\b(?:and|or|nor|und|oder|et|ou|y|o|e)\b|和|或|/|&")
_SO = re.compile(
    r"[,;]\s(?:and )?(?:so|thus|therefore|hence|consequently|which means(?: that)?)\b"
    r"(?! (?:can|is|are|was)\b)"
)
_TAKEN_BACK = re.compile(
    r"[\s.!*_\"')-]{0,8}(?:no,? )?(?:wait|actually|correction|scratch that|sorry|or rather"
    r"|on second thought)\b"
)
_OR_BEHIND = re.compile(r"[\s\"'*_`)]{0,4}(?:or|oder|ou)\b")
_LISTED = re.compile(r"\s*(?:an?\s|the\s)?[\"'*_`(]{0,3}\Z")
_LIST_GOES_ON = re.compile(r"[\s\"'*_`)]{0,4},?\s?(?:or|nor)\b")
_HARD_BREAK = re.compile(
    r"[.;!?](?=[\s\"'*)\]]|\Z)|\n|[.!?;](?=[\u3040-\u9fff\uac00-\ud7af])|(?<=[\u3040-\u9fff])[.!?;]"
)
_REASON = re.compile(
    r"[.;!?](?=[\s\"'*)\]]|\Z)|\n|\s-+\s|:\s|\(|[.!?;,](?=[\u3040-\u9fff\uac00-\ud7af])|,\swith\b|\swith "
    r"(?:a (?:bit|hint|touch|trace|little)|some|no)\b|,?\s(?:because|since|as|given|due to|based on|for"
    r"|which|where|while|whereas|although|though|considering|supported|denn|weil|parce|car|porque|pois"
    r"|perché|потому|without|who|(?<!says )(?<!said )(?<!thinks )(?<!tells )that|like)\b|因为|由于|から|ので"
)
_SAID_OF = re.compile(
    r",? it is (?:an? )?"
    r"|(?:(?!\b(?:and|but|or|not|while|because|since|as|if|when|so|than|then)\b)[^.,;:!?\n])*"
    r"\b(?:is|are|was|were|be|on|called)\s(?:\w+ly )?(?:an? |the )?"
)
_ALSO = re.compile(r"\bor (?:it|maybe|perhaps|possibly)\b|\b(?:it )?could also be\b|也可能|或者|也有可能")
_SPECIAL = {kind: re.compile(pattern) for kind, pattern in languages.SPECIAL.items()}
_DECLINED = re.compile(languages.DECLINING)
_YES, _NO = (
    re.compile(r"\W*(?:yes|yeah|yep|correct|是的?|はい|네|예|ja|oui|sí|sim|sì|да|نعم)\b"),
    re.compile(
        r"\W*(?:no|nope|不是?|否|いいえ|아니요|nein|non|não|нет|لا)(?![^\W_])(?! (?:one|longer|idea))"
    ),
)


@dataclass(frozen=True, slots=True)
class Match:
    """Index of the choice or None, the rule that says so, and where in the folded text it was read."""

    index: int | None
    rule: str
    start: int = 0
    end: int = 0


NOTHING = Match(None, "none")


@dataclass(frozen=True, slots=True)
class Mention:
    """A choice that is named in a text: claimed, hedged or denied."""

    index: int | None  # None: a letter against the text beside it
    start: int
    end: int
    how: str  # letter, text, lettered_text, conflict
    state: str = "claimed"
    sure: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """Choices prepared for reading."""

    raw: tuple[str, ...]
    names: tuple[str, ...]  # folded, without markup at the edges
    tokens: tuple[tuple[Hashable, ...], ...]  # without letters of their own
    starts: dict[Hashable, tuple[tuple[int, tuple[Hashable, ...]], ...]]
    letters: tuple[str, ...] | None  # their own, where all have one
    dialect: Dialect
    special: dict[str, int]  # "none", "all", "both" -> index
    counts: tuple[Fraction | None, ...]
    longest: int  # characters of the longest choice

    def position(self, letter: str) -> int | None:
        """The choice that a letter means; None if there is none, or if its own letters say otherwise."""
        place = ord(letter) - ord("a")
        if place >= len(self.raw):
            return None
        return None if self.letters and self.letters[place] != letter else place

    def agrees(self, letter: str, index: int) -> bool:
        """Whether a letter and a text may name the same choice."""
        if self.letters:
            return self.letters[index] == letter
        return ord(letter) - ord("a") == index


def options(choices: Sequence[str]) -> Options:
    """Prepare choices; the same choices are prepared once."""
    return _options(tuple(choices))


_METER = re.compile(r"\d{1,2}/(?:1|2|4|8|16)\Z")
_MUSIC = re.compile(
    r"(?:the )?(?:note |key of |chord )?[a-g](?:[#♯♭b]|[- ](?:sharp|flat))?(?:[- ]?(?:major|minor|maj|min"
    r"|m|dim|aug|sus|\d)\w*)?(?: chord| note| key)?\Z"
)


def _strip(text: str) -> str:
    """Folded text without markup at its edges; a sign before it and a sharp behind it belong to it."""
    return text.lstrip(_EDGES_BEFORE).rstrip(_EDGES_BEHIND)


_EDGES_BEFORE = _EDGES.replace("-", "").replace("+", "").replace("$", "")
_EDGES_BEHIND = _EDGES.replace("#", "").replace("+", "")


@lru_cache(maxsize=4096)
def _options(choices: tuple[str, ...]) -> Options:
    folded = [fold(choice).text for choice in choices]
    labels = [_LABEL.match(choice) for choice in choices]
    letters = None
    if len(choices) > 1 and all(labels):
        letters = tuple((label[1] or label[2]).lower() for label in labels if label)
        if len(set(letters)) < len(letters) or max(letters) > chr(ord("a") + len(choices)):
            letters = None
    bodies = [
        fold(choice[label.end() :]).text if label and letters else text
        for choice, text, label in zip(choices, folded, labels, strict=True)
    ]
    counted = bodies
    numbers = [_NUMBER_LABEL.match(body) for body in bodies]
    if {int(number[1]) for number in numbers if number} == set(range(1, len(choices) + 1)):
        bodies = [body[number.end() :] for body, number in zip(bodies, numbers, strict=True) if number]
    plain = [body.strip(_EDGES) for body in bodies]
    dialect = Dialect(
        music=any(_MUSIC.match(body) for body in plain),
        meter=any(_METER.match(body) for body in plain),
        clock=any(re.fullmatch(r"\d{1,2}:\d\d", body) for body in plain),
    )
    tokens = tuple(tuple(token.value for token in tokenize(body, dialect)) for body in bodies)
    starts: dict[Hashable, list[tuple[int, tuple[Hashable, ...]]]] = defaultdict(list)
    for i, name in enumerate(tokens):
        for variant in _variants(name):
            starts[variant[0]].append((i, variant))
    special: dict[str, int] = {}
    for kind, pattern in _SPECIAL.items():
        found = [i for i, body in enumerate(plain) if pattern.search(body) and len(body) < 60]
        if len(found) == 1:
            special[kind] = found[0]
    return Options(
        choices,
        tuple(map(_strip, folded)),
        tokens,
        {first: tuple(sorted(names, key=lambda name: -len(name[1]))) for first, names in starts.items()},
        letters,
        dialect,
        special,
        tuple(_count(body, dialect) for body in counted),
        max((len(text) for text in folded), default=0),
    )


def _variants(name: tuple[Hashable, ...]) -> set[tuple[Hashable, ...]]:
    """A choice's tokens, and those without an article of another language before them."""
    if not name:
        return set()
    leading = (
        "un",
        "une",
        "le",
        "la",
        "les",
        "el",
        "los",
        "las",
        "der",
        "die",
        "das",
        "ein",
        "eine",
        "um",
        "uma",
        "il",
        "uno",
        "una",
    )
    return {name, name[1:]} if len(name) > 1 and (name[0] in leading or name[0] == "both") else {name}


def _count(body: str, dialect: Dialect) -> Fraction | None:
    """The number that a choice begins with, as it is written: 2 of "2 minutes"."""
    tokens = tokenize(body, dialect, units=False)
    first = tokens[0].value if tokens else None
    if isinstance(first, Quantity) and first.unit == "time" and isinstance(first.value, Fraction):
        return first.value
    return Fraction(first) if isinstance(first, Number) else None


class Reader:
    """One text to be read for one set of choices: folded, with its tokens and mentions made when needed."""

    def __init__(self, text: str, folded: Folded, choices: Options) -> None:
        self.raw, self.folded, self.text, self.choices = text, folded, folded.text, choices

    # --- a stated answer ---

    def statement(self, start: int, end: int, *, firm: bool = True) -> Match:
        """What the part [start, end) states, which something announced as the answer."""
        start, end = self._trim(start, end)
        if start >= end:
            return NOTHING
        if self.text.startswith("~~", start):  # struck out
            return Match(None, "ambiguous", start, end)
        end = max(end, self._reach(start, end))
        if _TAKEN_BACK.match(self.text, end):
            end = self._sentences(end, min(len(self.text), end + 400))[0][1]
        whole = self._whole(start, end)
        if whole is not None:
            return whole
        lines = self._lines(start, end)
        first = self._claim(*lines[0], firm=firm)
        if len(lines) == 1:
            return self._corrected(first, start, end) if first.index is not None else first
        if first.index is not None:
            last = self._whole(*lines[-1])
            if last is not None and last.index is not None and last.index != first.index:
                return self._corrected(replace(first, index=None, rule="ambiguous"), start, end)
            return self._corrected(first, start, end)
        if first.rule in ("conflict", "ambiguous") and len(lines) > 1:
            return first
        later = [self._whole(*line) for line in lines[1:]]
        found = {match.index: match for match in later if match is not None and match.index is not None}
        if len(found) == 1:
            return next(iter(found.values()))
        return self._claim(start, end, firm=firm) if not found else replace(first, rule="ambiguous")

    def whole(self, start: int, end: int) -> Match | None:
        """A part that is nothing but a choice or its letter, whatever else it may look like; else None."""
        start, end = self._trim(start, end)
        return self._whole(start, end) if start < end else None

    def _reach(self, start: int, end: int) -> int:
        """Where a choice of several sentences ends that stands word for word at the start of a statement."""
        if end - start >= self.choices.longest + 16:
            return end
        while start < end and self.text[start] in _EDGES:
            start += 1
        return max(
            (start + len(name) for name in self.choices.names if name and self.text.startswith(name, start)),
            default=end,
        )

    def by_place(self, match: Match, start: int) -> Match:
        """Where choices are letters themselves, as notes are, "A" may mean the first one after all.

        It does if the text before speaks of that one and not of the choice that reads "A": "starts on G, so
        the answer is A" with G as the first choice.
        """
        if match.index is None or not start or match.rule not in ("exact", "normalised", "contained"):
            return match
        said = _strip(self.text[match.start : match.end])
        if len(said) != 1 or not "a" <= said <= "z":
            return match
        place = self.choices.position(said)
        before = {one.index for one in self._texts(0, start) if one.sure}
        if place is None or place == match.index or place not in before or match.index in before:
            return match
        return replace(match, index=place, rule="letter")

    def confirmed(self, start: int, end: int) -> Match:
        """The choice that stands before "is correct" and the like, which begins at `end`."""
        said = self.text[max(0, end - self.choices.longest - 8) : end].rstrip(_EDGES)
        for name in self.choices.names:  # a choice of several sentences, word for word
            if name and said.endswith(name):
                start = min(start, end - len(name) - 8)
        start = max(0, start)
        mentions = self.mentions(start, end, firm=False)
        if not mentions or _fill(self.text[mentions[-1].end : end]):
            return NOTHING
        last = mentions[-1]
        if last.state == "denied":
            return Match(None, "denied", last.start, last.end)
        if (
            len(mentions) > 1
            and mentions[-2].state == last.state
            and _CONNECTED.fullmatch(self.text[mentions[-2].end : last.start])
        ):
            return self._only(mentions[-2:])
        return self._only([last])

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        text = self.text
        while start < end and text[start] in " \t\r\n":
            start += 1
        while end > start and text[end - 1] in " \t\r\n":
            end -= 1
        return start, end

    def _lines(self, start: int, end: int) -> list[tuple[int, int]]:
        lines, position = [], start
        for line in self.text[start:end].split("\n"):
            if line.strip(_EDGES):
                lines.append(self._trim(position, position + len(line)))
            position += len(line) + 1
        return lines or [(start, end)]

    def _whole(self, start: int, end: int) -> Match | None:
        """A part that is nothing but a choice, its letter, or both; None if it is more."""
        if end - start > self.choices.longest + 160:
            return None
        exact = self.raw[slice(*self.folded.place(start, end))].strip()
        same = [i for i, choice in enumerate(self.choices.raw) if choice.strip() == exact]
        if len(same) == 1:
            return Match(same[0], "exact", start, end)
        if same:
            return Match(None, "ambiguous", start, end)
        body = _strip(self.text[start:end])
        if body:
            same = [i for i, name in enumerate(self.choices.names) if name == body]
            if len(same) == 1:
                return Match(same[0], "normalised", start, end)
        values = tuple(token.value for token in tokenize(self.text, self.choices.dialect, start, end))
        if values:
            same = [
                i
                for i, name in enumerate(self.choices.tokens)
                if values in _variants(name) or (name[0:1] in (("yes",), ("no",)) and values == name[1:])
            ]
            same = same or self._same_letters(body) or self._same_clauses(start, end)
            if same:
                return (
                    Match(same[0], "normalised", start, end)
                    if len(same) == 1
                    else Match(None, "ambiguous", start, end)
                )
        if end - start <= 200 and (pair := self._lettered(start, end)) is not None:
            return pair
        letter = re.fullmatch(
            rf"[^\w]{{0,8}}(?:(?:the |la |le |die |der "
            rf")?{_OPTION_WORD}[\s:]{{0,3}})?[^\w-]{{0,8}}([a-z])[^\w#♭♯+°]{{0,8}}(?:项|选项|です|だ|입니다|이다"
            rf"|번)?[^\w]{{0,4}}",
            self.text[start:end].replace("_", " ").replace("text", " ")
            if "\\" in self.text[start:end]
            else self.text[start:end].replace("_", " "),
        )
        if letter is not None and not re.search(r":[a-z]:", self.text[start:end]):
            index = self.choices.position(letter[1])
            return Match(index, "letter" if index is not None else "none", start, end)
        return None

    def _same_letters(self, body: str) -> list[int]:
        """The one choice of the same letters without accents and stops: "UK" for "U.K.", "si" for "Sí"."""
        if self.choices.dialect.music or not (letters := _letters_of(body)):
            return []
        same = [i for i, name in enumerate(self.choices.names) if _letters_of(name) == letters]
        return same if len(same) == 1 else []

    def _same_clauses(self, start: int, end: int) -> list[int]:
        """The one choice of the same clauses in another order; a list of mere names may be an order."""
        said = self._clauses(self.text[start:end])
        same = [i for i, name in enumerate(self.choices.names) if said and self._clauses(name) == said]
        return same if len(same) == 1 else []

    def _clauses(self, text: str) -> frozenset[tuple[Hashable, ...]]:
        parts = re.split(r"[,;]\s(?:and\s)?|\sand\s", text.strip(_EDGES))
        if not 1 < len(parts) < 8:
            return frozenset()
        clauses = [tuple(token.value for token in tokenize(part, self.choices.dialect)) for part in parts]
        return frozenset(clauses) if all(len(clause) > 2 for clause in clauses) else frozenset()

    def _lettered(self, start: int, end: int) -> Match | None:
        """A part that is a letter with its text (or against it), and nothing else."""
        if not _LETTER_BESIDE.match(self.text, start, end):
            return None
        mentions = self._paired(self._texts(start, end), self._letters(start, end, firm=True))
        if len(mentions) != 1 or mentions[0].how not in ("lettered_text", "conflict"):
            return None
        only = mentions[0]
        if _fill(self.text[start : only.start] + self.text[only.end : end]):
            return None
        return Match(only.index, only.how, only.start, only.end)

    def _claim(self, start: int, end: int, *, firm: bool) -> Match:
        """The one choice that a line or a sentence claims."""
        mentions = self.mentions(start, end, firm=firm)
        match = self._decide(mentions, start, end, firm=firm)
        if match.index is not None or match.rule in ("conflict", "ambiguous"):
            return self._named_together(match, mentions, start, end)
        if not firm and match.rule == "denied":
            return match
        return self._loosely(match, mentions, start, end)

    def _named_together(self, match: Match, mentions: Sequence[Mention], start: int, end: int) -> Match:
        """ "A and B" where a choice says "both": that one."""
        if match.rule == "contained" or match.rule == "ambiguous":
            match = self._combined(match, mentions, start, end)
        if match.rule != "ambiguous":
            return match
        said = {
            mention.index for mention in mentions if mention.state == "claimed" and mention.index is not None
        }
        for kind, index in self.choices.special.items():
            others = said - {index}
            if kind == "both" and len(others) == 2:
                pair = _NAMES_PAIR.search(self.choices.names[index])
                named = {self.choices.position(pair[1]), self.choices.position(pair[2])} if pair else others
                if (
                    others == named
                    and re.search(r"\band\b|&|\bboth\b|\+|和|与|と", self.text[start:end])
                    and not re.search(r"\bor\b", self.text[start:end])
                ):
                    return Match(index, "special", start, end)
            if (
                kind == "all"
                and len(said) == len(self.choices.raw) - 1
                and index not in said
                and not re.search(r"\b(?:or|options?|choices?)\b|\?", self.text[start:end])
                and re.search(
                    r"\b(?:are|is|be|hear|contains?|includes?|plays?|present)\b", self.text[start:end]
                )
            ):
                return Match(index, "special", start, end)
            if kind == "all" and index in said and len(others) == len(self.choices.raw) - 1:
                return Match(index, "special", start, end)
            if kind == "neither" and not others and said == {index}:
                return Match(index, "contained", start, end)
        return match

    def _loosely(self, match: Match, mentions: Sequence[Mention], start: int, end: int) -> Match:
        """Rules for statements that name no choice word for word."""
        text = self.text[start:end]
        choices = self.choices
        for kind, pattern in _SPECIAL.items():
            found = pattern.search(text)
            if found and kind in choices.special and not (kind == "unknown" and _LONG.search(text)):
                return Match(choices.special[kind], "special", start + found.start(), start + found.end())
        if _DECLINED.search(text) or _SPECIAL["none"].search(text):
            return Match(None, "declined", start, end)
        denied = {mention.index for mention in mentions if mention.state == "denied"}
        for rule in (
            self._opposite,
            self._polarity,
            self._ordinal,
            self._number,
            self._cut,
            self._spread,
            self._words,
            self._told,
            self._stems,
            self._fuzzy,
        ):
            found_match = rule(start, end)
            if found_match is not None and (found_match.index is None or found_match.index not in denied):
                return found_match
        return match

    # --- mentions ---

    def mentions(self, start: int, end: int, *, firm: bool) -> list[Mention]:
        """Choices named in [start, end), in order, each with its state."""
        texts = self._carried(
            [replace(one, state=self._state(one, start, end)) for one in self._texts(start, end)]
        )
        letters = [
            replace(one, state=self._state(one, start, end)) for one in self._letters(start, end, firm=firm)
        ]
        return self._carried(self._paired(texts, letters))

    def _texts(self, start: int, end: int) -> list[Mention]:
        tokens = tokenize(self.text, self.choices.dialect, start, end)
        values = [token.value for token in tokens]
        found: list[Mention] = []
        covered = 0
        position = 0
        while position < len(tokens):
            here: list[tuple[int, int]] = []
            for index, name in self.choices.starts.get(values[position], ()):
                size = len(name)
                if here and size < here[0][0]:
                    break
                if tuple(values[position : position + size]) == name and self._bounded(
                    tokens, position, size
                ):
                    here.append((size, index))
            if here:
                size = here[0][0]
                first, last = tokens[position], tokens[position + size - 1]
                indexes = {index for _, index in here}
                sure = self._is_sure(values[position : position + size], last.end, first.start)
                numbered = isinstance(values[position], Number) and _NUMBERED.search(
                    self.text, max(0, first.start - 12), first.start
                )
                if numbered and values[position] != here[0][1] + 1:
                    # "option 2" may mean its text or its place
                    found.append(Mention(None, first.start, last.end, "ambiguous"))
                elif len(indexes) > 1:
                    found.append(Mention(None, first.start, last.end, "ambiguous"))
                else:
                    found.append(Mention(here[0][1], first.start, last.end, "text", sure=sure))
                position += size
                covered = position
            else:
                position += 1
        del covered
        return found

    def _bounded(self, tokens: Sequence[Token], position: int, size: int) -> bool:
        """Whether a name ends where a word or a number does, and is no part of a measure there."""
        first, last = tokens[position], tokens[position + size - 1]
        text = self.text
        before = text[first.start - 1 : first.start]
        if (
            isinstance(first.value, str)
            and "\uac00" <= first.value <= "\ud7af"
            and "\uac00" <= before <= "\ud7af"
            and before not in "은는이가"
        ):
            return False
        value = first.value
        if isinstance(value, str) and len(value) == 1 and value.isascii() and size == 1:
            return self._stands_as_letter(first)
        if isinstance(value, str) and size == 1 and len(value) == 1 and "\u4e00" <= value <= "\u9fff":
            before, after = text[first.start - 1 : first.start], text[first.end : first.end + 1]
            return not (
                ("\u4e00" <= before <= "\u9fff" and before not in "是的为了有在听选到")
                or ("\u4e00" <= after <= "\u9fff" and after not in "的了在和是声吧")
            )
        if isinstance(last.value, str) and text[last.end : last.end + 1] == "+":
            return False
        # an "in" of "C in the bass" is no ordinal; a note with its octave or quality is another one
        if self.choices.dialect.music and isinstance(last.value, str) and len(last.value) <= 2:
            following = tokens[position + size].value if position + size < len(tokens) else None
            if following in languages.KEYS and following not in ("chord", "note", "key"):
                return False
        return True

    def _stands_as_letter(self, token: Token) -> bool:
        """Whether a single letter stands for itself: not an article, not an "I"."""
        raw = self.raw[slice(*self.folded.place(token.start, token.end))]
        if token.value in ("a", "i") and not _AFTER_LETTER.match(self.text, token.end):
            return False
        if token.value == "i" and re.match(r"\s\w", self.text[token.end : token.end + 2]):
            return False
        return raw.isupper() or not raw.isalpha() or _AFTER_LETTER.match(self.text, token.end) is not None

    def _is_sure(self, values: Sequence[Hashable], end: int, start: int) -> bool:
        if len(values) > 1 or values[0] not in languages.COMMON:
            return True
        if values[0] in ("yes", "no"):
            return _CLAUSE_ENDS.match(self.text, end) is not None
        return _CLAUSE_ENDS.match(self.text, end) is not None

    def _letters(self, start: int, end: int, *, firm: bool) -> list[Mention]:
        found: list[Mention] = []
        text = self.text
        leads = firm
        for match in _LETTER.finditer(text, start, end):
            letter, at = match["letter"], match.start("letter")
            opening, closing = match["open"], match["close"]
            place = ord(letter) - ord("a")
            if place >= len(self.choices.raw):
                continue
            index = self.choices.position(letter)
            raw = self.raw[self.folded.place(at, at + 1)[0]]
            upper = not raw.isalpha() or raw.isupper() or not raw.isascii()
            if re.match(r":[a-z]:", text[at - 1 : at + 2]) or text[max(0, at - 2) : at] == "n/":
                continue
            head = (leads and not text[start:at].strip(_EDGES + " ")) or (firm and not _fill(text[start:at]))
            lone = head and not text[at + 1 : end].strip(_EDGES)
            wrapped = bool(set(opening) & set(_OPEN)) and bool(set(closing) & set(_CLOSE))
            bracket = ")" in closing and "(" not in opening
            line_start = not text[text.rfind("\n", 0, at) + 1 : at].strip(_BEFORE_ITEM)
            listed = line_start and (
                bool(
                    re.match(
                        r"[.:)\]]|\s?-\s|\s?\||\*\*|\s{2}",
                        closing + text[match.end("close") : match.end("close") + 3],
                    )
                )
            )
            word = match["word"] is not None or match["item"] is not None
            if word and letter in "ai" and not upper and not _AFTER_LETTER.match(text, match.end("close")):
                continue
            sure = lone or wrapped or listed or word or (bracket and upper)
            if (
                wrapped
                and not upper
                and "(" not in opening
                and "[" not in opening
                and "<" not in opening
                and not head
                and '"' not in opening
            ):
                sure = False
            if not sure:
                if not upper and not (
                    head and _AFTER_LETTER.match(text, match.end("close")) and (letter not in "ai" or closing)
                ):
                    continue
                if letter in "ai" and not closing and not _AFTER_LETTER.match(text, match.end("letter")):
                    continue
                if (
                    letter == "i"
                    and not closing
                    and re.match(r"\s(?:\w)", text[match.end() : match.end() + 2])
                ):
                    continue
                if not head and _NOT_AN_OPTION.search(text, max(start, at - 24), at):
                    continue
                if re.match(r"[.]\s?[a-z]?\.", text[at + 1 : at + 4]):  # an initial: "a.m.", "J. S. Bach"
                    continue
            found.append(
                Mention(index, at, at + 1, "letter" if index is not None else "conflict", sure=sure or head)
            )
        return found

    def _paired(self, texts: list[Mention], letters: list[Mention]) -> list[Mention]:
        """Letters beside the text of a choice are read together: one statement, or a contradiction."""
        made: list[Mention] = []
        used: set[int] = set()
        taken: set[int] = set()
        text = self.text
        spans = [(one.start, one.end) for one in texts]
        for letter in letters:
            inside = next((n for n, (s, e) in enumerate(spans) if s <= letter.start < e), None)
            if inside is not None and spans[inside] != (letter.start, letter.end):
                used.add(id(letter))
                continue
            for n, other in enumerate(texts):
                if inside is not None and not self._agree(letter, other):
                    continue
                gap = other.start - letter.end
                if not 0 <= gap <= 12 or n in taken:
                    continue
                if other.state != "claimed" and letter.state == "claimed" and not self._agree(letter, other):
                    continue  # "(B). A hospital would have monitors."
                between = text[letter.end : other.start]
                if (
                    re.fullmatch(
                        r"[\s)\]}>\"'*_`.:,;|=\-([$\\>→✅❌]{1,12}(?:(?:the|an?|is|means|say\w*|note) "
                        r"?){0,2}[\"'*]{0,3}",
                        between,
                    )
                    is None
                ):
                    continue
                if (
                    re.fullmatch(r",?\s", between)
                    and "," in between
                    and not self._agree(letter, other)
                    and other.how == "text"
                    and self._in_list(letter, letters)
                ):
                    continue
                if (
                    "." in between
                    and not self._agree(letter, other)
                    and other.index is not None
                    and (
                        len(self.choices.tokens[other.index]) > 2
                        or self.choices.tokens[other.index][0] in languages.BETWEEN
                    )
                    and _BEFORE_WORD.match(text, other.end)
                ):
                    continue  # another sentence: "B. The tempo is constant at first"
                made.append(self._pair(letter, other))
                used.add(id(letter))
                taken |= {n, inside if inside is not None else n}
                break
        for letter in letters:
            if id(letter) in used or not letter.sure:
                continue
            inside = next((n for n, (s, e) in enumerate(spans) if s <= letter.start < e), None)
            for n, other in enumerate(texts):
                if inside is not None and not self._agree(letter, other):
                    continue
                gap = letter.start - other.end
                between = text[other.end : letter.start]
                if (
                    n not in taken
                    and 0 < gap <= 20
                    and re.fullmatch(
                        r"[\s\"'*_`.]*[(\[][\s\"'*_`]*(?:option )?|\s?[-/]\s?option |, (?:so |i\.e\.,? "
                        r")?(?:option |choice )\(?",
                        between,
                    )
                ):
                    made.append(self._pair(letter, other))
                    used.add(id(letter))
                    taken |= {n, inside if inside is not None else n}
                    break
            if inside is not None:
                used.add(id(letter))
        used |= {id(one) for one in letters if any(s <= one.start < e for s, e in spans)}
        made += [letter for letter in letters if id(letter) not in used]
        made += [other for n, other in enumerate(texts) if n not in taken]
        return sorted(made, key=lambda mention: mention.start)

    def _in_list(self, letter: Mention, letters: Sequence[Mention]) -> bool:
        return any(other is not letter and abs(other.start - letter.start) < 8 for other in letters)

    def _agree(self, letter: Mention, other: Mention) -> bool:
        return other.index is not None and self.choices.agrees(self.text[letter.start], other.index)

    def _pair(self, letter: Mention, other: Mention) -> Mention:
        start, end = min(letter.start, other.start), max(letter.end, other.end)
        state = letter.state if letter.start < other.start and letter.state != "claimed" else other.state
        if other.how == "ambiguous" and letter.index is not None:
            return Mention(letter.index, start, end, "letter", state, letter.sure)
        if self._agree(letter, other):
            whole = Mention(other.index, start, end, "lettered_text")
            return replace(whole, state=self._state(whole, 0, len(self.text)))
        return Mention(None, start, end, "conflict", state)

    # --- claimed, hedged or denied ---

    def _state(self, mention: Mention, start: int, end: int) -> str:
        text = self.text
        left = max(start, mention.start - 90)
        before = text[left : mention.start]
        breaks = [m.end() for m in _CLAUSE_BREAK.finditer(before)]
        if breaks and _LISTED.match(before, breaks[-1]) and _LIST_GOES_ON.match(text, mention.end):
            breaks.pop()  # the comma of a list: "not a drill, a shovel or a hammer"
        clause = before[breaks[-1] :] if breaks else before
        words = re.findall(
            r"n't|[^\W_]+(?:-[^\W_]+)?", clause.replace("cannot", "can not").replace("n't", " not")
        )
        recent = words[-7:]
        for n in range(len(recent) - 1, -1, -1):
            if (
                recent[n] in languages.CONTRASTS
                and recent[n + 1 : n + 2] not in (["than"], ["of"])
                and recent[n - 1 : n] not in (["anything"], ["all"], ["everything"])
            ):
                recent = recent[n + 1 :]
                break
        name = text[mention.start : mention.end]
        if answered := _ANSWERED.match(text, mention.end, end):
            return "claimed" if answered["yes"] else "denied"
        if self._denied_before(recent, clause, name):
            return "denied"
        after = text[mention.end : mention.end + 70]
        if _DENIED_BEHIND.match(after) and not re.match(
            r"[\s\"'*_`)\]]{0,6}(?:- )?not\b(?! (?:heard|present|correct|right|possible|likely))", after
        ):
            return "denied"
        if any(sign in after[: len(sign) + 2] for sign in languages.DENIALS_BEHIND):
            return "denied"
        if self._denied_in_script(clause):
            return "denied"
        if _COUNTERFACTUAL.match(after):
            return "denied"
        if (
            any(word in languages.HEDGES for word in recent)
            or any(phrase in clause for phrase in languages.HEDGING_PHRASES)
        ) and not any(word in ("definitely", "clearly") for word in recent):
            return "hedged"
        if _HEDGED_BEHIND.match(after):
            return "hedged"
        return "claimed"

    def _denied_before(self, words: Sequence[str], clause: str, name: str) -> bool:
        joined = " ".join(words)
        if any(phrase in joined for phrase in languages.DENYING_PHRASES):
            return True
        for n, word in enumerate(words):
            if word not in languages.DENIALS:
                continue
            rest = words[n + 1 :]
            if word in ("no", "not") and rest[:1] in (["doubt"], ["only"], ["just"], ["surprise"]):
                continue
            if word == "doubt" and n and words[n - 1] in ("no", "without"):
                continue
            if word in ("pas", "ma", "mai", "sin", "ни", "no") and name.startswith(word):
                continue
            if len(rest) <= 5:
                return True
        return False

    def _denied_in_script(self, clause: str) -> bool:
        if clause.isascii():
            return False
        for sign in languages.DENIALS_BEFORE:
            at = clause.rfind(sign)
            if (
                at >= 0
                and len(clause) - at - len(sign) <= 6
                and not any(c in clause[at + len(sign) :] for c in languages.CONTRASTS_CJK)
            ):
                return True
        return False

    def _carried(self, mentions: list[Mention]) -> list[Mention]:
        """A denial or a hedge holds for all of a list: "neither A nor B", "A, B and C are ruled out"."""
        if len(mentions) < 2:
            return mentions
        states = [mention.state for mention in mentions]
        linked = [
            re.fullmatch(
                r"[\s\"'*_`)\](\[]*(?:,|/|&|\band\b|\bor\b|\bnor\b|\bas well as\b|和|或|、|と|,\s?(?:and|or"
                r"|nor)\b|\band so (?:can|is|are)\b|\bund\b|\boder\b|\bet\b|\bou\b|\by\b"
                r"|\be\b)?[\s\"'*_`(\[]*(?:(?:the|an?|option|options|also|so can|so is"
                r"|possibly|maybe|perhaps|even) ?)*[\"'*_`(\[]*",
                self.text[a.end : b.start],
            )
            is not None
            and a.end < b.start
            for a, b in itertools.pairwise(mentions)
        ]
        for n, link in enumerate(linked):
            if (
                link
                and states[n] in ("denied", "hedged")
                and states[n + 1] == "claimed"
                and not self._denied_behind(mentions[n])
                and not (
                    {mention.index for mention in mentions} == set(range(len(self.choices.raw)))
                    and n + 2 == len(mentions)
                    and not _ANY_OF.search(self.text, mentions[n].end, mentions[n + 1].start)
                )  # "not the train, the plane"
            ):
                states[n + 1] = states[n]
            elif (
                link
                and states[n] == "denied"
                and re.match(
                    r"[^.;]{0,24}\bso (?:can|is|are|was)\b",
                    self.text[mentions[n].end : mentions[n + 1].start + 1],
                )
            ):
                states[n + 1] = "denied"
        behind = [self._denied_behind(mention) for mention in mentions]
        for n in range(len(linked) - 1, -1, -1):  # "A, B and D are ruled out", "A or B?"
            if not linked[n] or states[n] != "claimed":
                continue
            if states[n + 1] == "denied" and behind[n + 1]:
                states[n], behind[n] = "denied", True
            elif states[n + 1] == "hedged" and (
                self._hedged_behind(mentions[n + 1])
                or " or " in self.text[mentions[n].end : mentions[n + 1].start]
            ):
                states[n] = "hedged"
        for n in range(1, len(mentions)):
            between = self.text[mentions[n - 1].end : mentions[n].start]
            if (
                states[n - 1] == "denied"
                and states[n] == "claimed"
                and re.search(r"\bso (?:can|is|are|was)\b", between)
            ):
                states[n] = "denied"
        return [replace(mention, state=state) for mention, state in zip(mentions, states, strict=True)]

    def _hedged_behind(self, mention: Mention) -> bool:
        return _HEDGED_BEHIND.match(self.text, mention.end) is not None

    def _denied_behind(self, mention: Mention) -> bool:
        after = self.text[mention.end : mention.end + 70]
        return _DENIED_BEHIND.match(after) is not None

    # --- the decision ---

    def _decide(self, mentions: Sequence[Mention], start: int, end: int, *, firm: bool) -> Match:
        """The one claim of a line; several are ambiguous."""
        if not mentions:
            return NOTHING
        claimed = [mention for mention in mentions if mention.state == "claimed"]
        claims = self._sure(claimed)
        if not claims:
            claims = [mention for mention in claimed if mention.how != "text"]
        if not claims:
            hedged = [mention for mention in mentions if mention.state == "hedged"]
            claims = self._sure(hedged)
            declined = _DECLINED.search(self.text, start, end)
            if claims and declined and " but " not in self.text[declined.end() : claims[0].start]:
                return Match(None, "declined", start, end)
            if claims and _OR_BEHIND.match(self.text, claims[-1].end):
                return Match(None, "ambiguous", start, end)
            if not claims:
                denied = any(mention.state == "denied" for mention in mentions)
                return Match(None, "denied" if denied else "none", start, end)
        claims = self._narrowed(self._after_correction(claims))
        if firm:
            claims = self._before_reasons(claims)
        head = claims[0]
        clear = firm and not _fill(self.text[start : head.start]) and _ENDS.match(self.text, head.end)
        return self._only(claims, clear=clear is not None and clear is not False)

    def _sure(self, mentions: Sequence[Mention]) -> list[Mention]:
        """Mentions that can hardly mean anything else, and letters that are listed with one."""
        return [
            mention
            for n, mention in enumerate(mentions)
            if mention.sure
            or (mention.how == "letter" and n and self._connected(mentions[n - 1], mention))
            or (
                mention.how == "letter"
                and n + 1 < len(mentions)
                and self._connected(mention, mentions[n + 1])
            )
        ]

    def _connected(self, a: Mention, b: Mention) -> bool:
        return _CONNECTED.fullmatch(self.text[a.end : b.start]) is not None

    def _only(self, claims: Sequence[Mention], *, clear: bool = False) -> Match:
        conflict = next((mention for mention in claims if mention.how == "conflict"), None)
        if conflict is not None:
            return Match(None, "conflict", conflict.start, conflict.end)
        if any(mention.how == "ambiguous" for mention in claims):
            return Match(None, "ambiguous", claims[0].start, claims[-1].end)
        if len({mention.index for mention in claims}) > 1:
            return Match(None, "ambiguous", claims[0].start, claims[-1].end)
        best = next((mention for mention in claims if mention.how == "lettered_text"), claims[0])
        if best.how == "text" and not clear and self._counted_otherwise(best, claims):
            return Match(None, "ambiguous", best.start, best.end)
        rule = {"text": "contained"}.get(best.how, best.how)
        return Match(best.index, rule, best.start, best.end)

    def _counted_otherwise(self, mention: Mention, claims: Sequence[Mention]) -> bool:
        """Whether a bare number that is a choice stands beside other counts: "3 barks, then 7 more"."""
        if mention.index is None or len(self.choices.tokens[mention.index]) != 1:
            return False
        if not isinstance(self.choices.tokens[mention.index][0], Number):
            return False
        left = max(
            m.end()
            for pattern in (_START, _HARD_BREAK, _CORRECTION, _SO)
            for m in pattern.finditer(self.text, 0, mention.start)
        )
        stop = _HARD_BREAK.search(self.text, mention.end)
        right = stop.start() if stop else len(self.text)
        if " = " in self.text[mention.end : right]:
            return True
        if colon := re.search(r":\s|\(", self.text[mention.end : right]):
            right = mention.end + colon.start()
        numbers = {
            token.value
            for token in tokenize(self.text, self.choices.dialect, left, right)
            if isinstance(token.value, Number)
        }
        return len(numbers) > 1

    def _after_correction(self, claims: list[Mention]) -> list[Mention]:
        """Only what follows the last correction, where something does."""
        if len({mention.index for mention in claims}) < 2:
            return claims
        for n in range(len(claims) - 1, 0, -1):
            between = self.text[claims[n - 1].end : claims[n].start]
            correction = _CORRECTION.search(between)
            if correction and not ("no" in correction[0] and self._has_no()):
                return claims[n:]
            if _SO.search(between) and "." not in between:
                return claims[n:]
        return claims

    def _narrowed(self, claims: list[Mention]) -> list[Mention]:
        """Only the last of two where it says the first more closely: "the water is cold water"."""
        if len(claims) != 2 or claims[0].index is None or claims[1].index is None:
            return claims
        wide, narrow = (set(self.choices.tokens[one.index or 0]) for one in claims)
        between = self.text[claims[0].end : claims[1].start]
        narrower = wide < narrow and len(between) < 80 and _SAID_OF.fullmatch(between)
        return claims[1:] if narrower else claims

    def _has_no(self) -> bool:
        return any(name[:1] == ("no",) for name in self.choices.tokens)

    def _before_reasons(self, claims: list[Mention]) -> list[Mention]:
        """Only what stands before the reasons, which mention other choices."""
        for n in range(1, len(claims)):
            between = self.text[claims[n - 1].end : claims[n].start]
            if _REASON.search(between) and not (_CONNECTED.fullmatch(between) or _ALSO.search(between)):
                tail = self.text[claims[n - 1].end : claims[n].start]
                if _CONCLUSION.search(tail):
                    continue
                return claims[:n]
        return claims

    def _corrected(self, match: Match, start: int, end: int) -> Match:
        """A statement that goes on to take itself back: "A. Wait, actually C."."""
        if match.index is None or match.rule == "exact" or end - match.end < 4:
            return match
        for correction in reversed(list(_STRONG_CORRECTION.finditer(self.text, match.end, end))):
            stop = min(end, correction.end() + 160)
            later = self._decide(
                self.mentions(correction.end(), stop, firm=True), correction.end(), stop, firm=True
            )
            if later.index is not None or later.rule == "ambiguous":
                return later
        return match

    # --- statements in other words ---

    def _opposite(self, start: int, end: int) -> Match | None:
        """ "not correct" is "incorrect", where that is a choice."""
        words = [str(token.value) for token in tokenize(self.text, self.choices.dialect, start, end)]
        words = [word for word in words if word not in ("been", "be", "being", "very", "really", "at", "all")]
        negated = {_stem(words[n + 1]) for n, word in enumerate(words[:-1]) if word == "not"}
        found = [
            i
            for i, name in enumerate(self.choices.tokens)
            if len(name) == 1
            and isinstance(name[0], str)
            and any(_stem(name[0]) in {prefix + word for prefix in _OPPOSITES} for word in negated)
        ]
        return Match(found[0], "opposite", start, end) if len(found) == 1 else None

    def _polarity(self, start: int, end: int) -> Match | None:
        """ "No, ..." where exactly one choice begins with a no (and the others with a yes)."""
        text = self.text[start:end].lstrip(_EDGES)
        said = "yes" if _YES.match(text) else "no" if _NO.match(text) else None
        if said is None:
            return None
        stances = [
            "yes" if _YES.match(name) else "no" if _NO.match(name) else None for name in self.choices.names
        ]
        if stances.count(said) != 1 or not re.match(
            r"\w+\W*(?:\Z|[,.;:!\n-]|\s(?:because|since|as|it|he|she|they|there|i|the)\b)", text
        ):
            return None
        return Match(stances.index(said), "polarity", start, end)

    def _ordinal(self, start: int, end: int) -> Match | None:
        """ "the second one", "option 3", "the last choice"."""
        text = self.text[start:end]
        size = len(self.choices.raw)
        found: set[int] = set()
        place = (start, end)
        has_ordinals = sum(
            any(isinstance(v, tuple) and v and v[0] == "ordinal" for v in name)
            for name in self.choices.tokens
        )
        numeric = sum(count is not None for count in self.choices.counts) > 1
        for match in _ORDINAL.finditer(text):
            word = match["ordinal"] or match["ordinal2"] or match["ordinal3"]
            if match["ordinal2"] and numeric and not has_ordinals:
                continue
            number = size if word in ("last", "final") else languages.ORDINALS.get(word or "", 0)
            if match["number"]:
                said = languages.NUMBER_WORDS.get(match["number"], match["number"])
                number = 0 if numeric or has_ordinals else int(str(said))
            if match["digits"]:
                number = int(match["digits"])
            if match["script"]:
                number = languages.SCRIPT_ORDINALS[match["script"]]
            if 1 <= number <= size:
                found.add(number - 1)
                place = (start + match.start(), start + match.end())
        if len(found) != 1:
            return None
        index = found.pop()
        if has_ordinals:
            wanted = ("ordinal", index + 1)
            named = [i for i, name in enumerate(self.choices.tokens) if wanted in name]
            return Match(named[0], "ordinal", *place) if len(named) == 1 else None
        state = self._state(Mention(index, place[0], place[1], "ordinal"), start, end)
        return Match(index, "ordinal", *place) if state == "claimed" else None

    def _number(self, start: int, end: int) -> Match | None:
        """A number without its unit, or with one where the choices have none."""
        tokens = tokenize(self.text, self.choices.dialect, start, end)
        numbers: set[int | Fraction] = set()
        place = (start, end)
        alone = len(tokens) <= 2
        for n, token in enumerate(tokens):
            value = token.value
            following = tokens[n + 1].value if n + 1 < len(tokens) else None
            if isinstance(value, Quantity) and isinstance(value.value, Fraction):
                if (value.unit == "s" and not alone) or ":" in self.text[token.start : token.end]:
                    continue  # "at 3 seconds" counts nothing
                if any(isinstance(name[0], Quantity) for name in self.choices.tokens if name):
                    return None  # units are compared
                value = value.value
            if isinstance(value, Number):
                numbers.add(value)
                place = (token.start, token.end)
                tails = {name[1:] for name in self.choices.tokens if name and isinstance(name[0], Number)}
                if len(tails) > 1 and isinstance(following, str) and not alone:
                    return None
        if len(numbers) != 1:
            return None
        number = numbers.pop()
        found = [i for i, count in enumerate(self.choices.counts) if count == number]
        if len(found) != 1:
            return None
        name = self.choices.tokens[found[0]]
        if len(name) > 3 and not alone:
            return None
        return Match(found[0], "number", *place)

    def _cut(self, start: int, end: int) -> Match | None:
        """The beginning of exactly one choice, of a reply that was cut off or abbreviates it."""
        said = _strip(self.text[start:end])
        values = tuple(token.value for token in tokenize(self.text, self.choices.dialect, start, end))
        if not values or len(values) > 40:
            return None
        begun = [i for i, name in enumerate(self.choices.tokens) if name[: len(values)] == values]
        if not begun and len(said) >= 4:
            begun = [
                i
                for i, name in enumerate(self.choices.names)
                if name.startswith(said) and not name[len(said) :][:1].isdigit()
            ]
            last = values[-1]
            begun = [i for i in begun if isinstance(last, str) and (len(last) > 1 or len(values) > 1)]
        if len(begun) > 1:
            return Match(None, "ambiguous", start, end)
        if not begun:
            return None
        rest = self.choices.tokens[begun[0]][len(values) :]
        if rest[:1] == ("not",) or (len(values) == 1 and isinstance(values[0], Number | Quantity)):
            return None
        others = [
            i for i, name in enumerate(self.choices.tokens) if i != begun[0] and set(values) <= set(name)
        ]
        if others and len(values) < 3:
            return Match(None, "ambiguous", start, end)
        return Match(begun[0], "cut", start, end)

    def _words(self, start: int, end: int) -> Match | None:
        """The words of one choice in another order, or the part of them that no other choice has."""
        tokens = tokenize(self.text, self.choices.dialect, start, end)
        said = _content(token.value for token in tokens)
        if not said or len(tokens) > 24:
            return None
        names = [_content(name) for name in self.choices.tokens]
        same = [i for i, name in enumerate(names) if name == said]
        if len(same) == 1 and sum(name >= said for name in names) == 1:
            return Match(same[0], "words", start, end)
        if len(same) > 1 or any(not isinstance(value, str) for value in said):
            return Match(None, "ambiguous", start, end) if len(same) > 1 else None
        within = [i for i, name in enumerate(names) if said <= name]
        if len(within) != 1:
            return Match(None, "ambiguous", start, end) if len(within) > 1 else None
        left = names[within[0]] - said
        shared = [name & said for i, name in enumerate(names) if i != within[0]]
        if left & languages.DENIALS or any(not isinstance(value, str) for value in left):
            return None
        if (any(shared) and len(said) < 2) or not _whole_enough(said):
            return None
        if not all(value.isascii() for value in said if isinstance(value, str)) and len(said) < 2:
            return None
        return Match(within[0], "words", start, end)

    def _spread(self, start: int, end: int) -> Match | None:
        """The words of one choice in its order, with small words between them."""
        for first, last in self._sentences(start, end):
            tokens = tokenize(self.text, self.choices.dialect, first, last)
            found: list[tuple[int, int, int]] = []
            for i, name in enumerate(self.choices.tokens):
                if len(name) < 2:
                    continue
                span = _subsequence(tokens, name)
                if span is not None:
                    found.append((i, *span))
            if len(found) == 1:
                index, a, b = found[0]
                mention = Mention(index, a, b, "text")
                if self._state(mention, first, last) == "claimed" and not re.search(
                    r"\b(?:not|never|no)\b|n't", self.text[a:b]
                ):
                    if _PASSIVE.search(self.text, a, b) and "by" not in self.choices.tokens[index]:
                        words = _stemmed(self.choices.tokens[index])
                        turned = [
                            i
                            for i, n in enumerate(self.choices.tokens)
                            if _stemmed(n) == words and i != index
                        ]
                        return Match(turned[0], "spread", a, b) if len(turned) == 1 else None
                    return Match(index, "spread", a, b)
        return None

    def _told(self, start: int, end: int) -> Match | None:
        """The choice whose telling words are all said, in any form and order: "She drives" for "is driving".

        What all choices share tells nothing. Of choices that lie within one another the largest counts.
        """
        said = _stemmed(token.value for token in tokenize(self.text, self.choices.dialect, start, end))
        if not said or len(said) > 14 or said & _UNTOLD or not all(map(_is_word, said)):
            return None
        names = [_stemmed(name) for name in self.choices.tokens]
        without = [name - languages.POSSESSIVES for name in names]  # "his flat" is "the flat" too
        if len(set(without)) == len(without):
            names = without
        shared = frozenset.intersection(*names) if len(names) > 1 else frozenset()
        if shared - said - languages.PRONOUNS:
            return None
        told = [(name, i) for i, name in enumerate(n - shared for n in names) if name <= said]
        told = [(name, i) for name, i in told if _whole_enough(name)]
        largest = [i for name, i in told if not any(name < other for other, _ in told)]
        return Match(largest[0], "words", start, end) if len(largest) == 1 else None

    def _combined(self, match: Match, mentions: Sequence[Mention], start: int, end: int) -> Match:
        """ "Early in the morning" is "Early morning" where that is a choice beside "Morning"."""
        sentences = self._sentences(start, end)
        if match.index is not None:
            sentences = [one for one in sentences if one[0] <= match.start < one[1]]
        told = self._told(*sentences[0]) if len(sentences) == 1 else None
        named = {mention.index for mention in mentions if mention.state == "claimed"} - {None}
        if told is None or told.index is None or told.index in named:
            return match
        whole = _stemmed(self.choices.tokens[told.index])
        if not all(_stemmed(self.choices.tokens[i]) < whole for i in named if i is not None):
            return match
        joins = re.compile(r"\b(?:and|then|but|with)\b|[,;&]")
        if joins.search(self.text, *sentences[0]) and not joins.search(self.choices.names[told.index]):
            return match
        return told

    def _stems(self, start: int, end: int) -> Match | None:
        """Words of the same stem: "sad" for "sadness", "angrily" for "anger"."""
        for first, last in self._sentences(start, end)[:3]:
            tokens = list(tokenize(self.text, self.choices.dialect, first, last))
            if len(tokens) > 24:
                continue
            stems = [(_stem(token.value), token) for token in tokens if isinstance(token.value, str)]
            found: dict[int, Token] = {}
            for i, name in enumerate(self.choices.tokens):
                wanted = [_stem(value) if isinstance(value, str) else value for value in name]
                if not wanted or not all(isinstance(word, str) and len(word) >= 3 for word in wanted):
                    continue
                said = [stem for stem, _ in stems]
                for n in range(len(said) - len(wanted) + 1):
                    if said[n : n + len(wanted)] == wanted:
                        mention = Mention(i, stems[n][1].start, stems[n + len(wanted) - 1][1].end, "text")
                        if self._state(mention, first, last) == "claimed":
                            found[i] = stems[n][1]
            if len(found) == 1:
                index, token = next(iter(found.items()))
                return Match(index, "stem", token.start, token.end)
            if found:
                return Match(None, "ambiguous", first, last)
        return None

    def _fuzzy(self, start: int, end: int) -> Match | None:
        """One choice with slips of the pen, and no other nearly as near."""
        if end - start > 300:
            return None
        said = [str(token.value) for token in tokenize(self.text, self.choices.dialect, start, end)]
        if not said or any(not isinstance(word, str) for word in said):
            return None
        contents = [[str(value) for value in name] for name in self.choices.tokens]
        if not any(_misspelt(said, one) for one in contents):
            return None
        ranked = sorted(
            ((_likeness(" ".join(said), " ".join(one)), i) for i, one in enumerate(contents)), reverse=True
        )
        score, index = ranked[0]
        margin = score - (ranked[1][0] if len(ranked) > 1 else 0.0)
        if score < 0.86 or margin < 0.08 or not _misspelt(said, contents[index]):
            return None
        return Match(index, "fuzzy", start, end)

    # --- prose without any announcement ---

    def _sentences(self, start: int, end: int) -> list[tuple[int, int]]:
        made: list[tuple[int, int]] = []
        position = start
        for stop in _HARD_BREAK.finditer(self.text, start, end):
            said = self.text[position : stop.start()].strip(_EDGES)
            if stop[0] == "." and len(said) < 2 and _ABBREVIATED.search(self.text, position, stop.start()):
                continue  # "B. two dogs"
            if self.text[position : stop.start()].strip(_EDGES):
                made.append(self._trim(position, stop.end()))
            position = stop.end()
        if self.text[position:end].strip(_EDGES):
            made.append(self._trim(position, end))
        return made

    def prose(self, start: int, end: int, *, refused: bool = False) -> Match:
        """What a text states that announces nothing: a line of its own, its conclusion, or its one claim."""
        start, end = self._trim(start, end)
        if start >= end:
            return NOTHING
        if end - start > LONGEST:
            return self._long_prose(start, end)
        whole = self._whole(start, end)
        if whole is not None:
            return whole
        lines = self._lines(start, end)
        sentences = self._sentences(start, end)
        if refused:
            return self._bare(lines) or Match(None, "declined", *lines[0])
        if (scored := self._scored(start, end)) is not None:
            return scored
        if len(sentences) == 1 and len(lines) == 1:
            return self._corrected(self._claim(*lines[0], firm=True), start, end)
        if (verbatim := self._verbatim(start, end)) is not None:
            return verbatim
        ticked = self._ticked(lines)
        if ticked is None and len(lines) == 1 and len(self.choices.raw) > 2:
            ticked = self._ticked(sentences, every=True)
        if ticked is not None:
            return ticked
        if (bare := self._bare(lines)) is not None:
            return bare
        head = self._leading(lines[0], sentences[0] if sentences else lines[0])
        tail = self._concluding(sentences)
        if tail is not None and tail.index is not None:
            return tail
        if head is not None and head.index is not None:
            return self._corrected(head, start, end)
        if head is not None and head.rule == "conflict":
            return head
        bold = self._marked(start, end, _BOLD)
        if bold is not None:
            return bold
        return self._agreed(start, end, sentences)

    def _verbatim(self, start: int, end: int) -> Match | None:
        """The one long choice that ends the text word for word, with nothing but fillers before it."""
        text = self.text[start:end].rstrip(_EDGES_BEHIND)
        found = [i for i, name in enumerate(self.choices.names) if len(name) > 24 and text.endswith(name)]
        if len(found) != 1:
            return None
        first = start + len(text) - len(self.choices.names[found[0]])
        if _fill(self.text[start:first]) not in ("", "so", "thus", "therefore", "hence"):
            return None
        return Match(found[0], "normalised", first, start + len(text))

    def _long_prose(self, start: int, end: int) -> Match:
        half = LONGEST // 2
        found = [
            m for m in (self.prose(end - half, end), self.prose(start, start + half)) if m.index is not None
        ]
        if len({match.index for match in found}) == 1:
            return found[0]
        return Match(None, "ambiguous" if found else "none", start, end)

    def _bare(self, lines: Sequence[tuple[int, int]]) -> Match | None:
        """The lines that are nothing but a choice: the first and the last, which must not disagree."""
        if len(lines) > 200:
            lines = [*lines[:100], *lines[-100:]]
        found = [
            (n, match)
            for n, line in enumerate(lines)
            if not _TICK.search(self.text, *line)
            and (match := self._whole(*line)) is not None
            and match.index is not None
        ]
        if not found:
            return None
        if len({match.index for _, match in found}) == 1:
            return found[-1][1]
        if len(found) >= len(self.choices.raw) and len(
            {match.index for _, match in found[: len(self.choices.raw)]}
        ) == len(self.choices.raw):
            # the options again, and then perhaps an answer
            last = found[len(self.choices.raw) - 1]
            if last[0] == len(lines) - 1:
                return Match(None, "ambiguous", found[0][1].start, last[1].end)
            return self.prose(lines[last[0] + 1][0], lines[-1][1])
        last = found[-1]
        if last[0] == len(lines) - 1:
            between = self.text[found[-2][1].end : last[1].start]
            if _CORRECTION.search(between):
                return last[1]
        return Match(None, "ambiguous", found[0][1].start, last[1].end)

    def _leading(self, line: tuple[int, int], sentence: tuple[int, int]) -> Match | None:
        """A text that begins with its answer: "B. I hear ...", "Joy.", "Two dogs, since ..."."""
        start, end = line
        lead = self.mentions(start, min(end, start + 400), firm=True)
        if not lead or lead[0].state != "claimed":
            return None
        first = lead[0]
        if _fill(self.text[start : first.start]) or not first.sure:
            return None
        after = self.text[first.end : first.end + 3]
        if (
            not re.match(r"[\s\"'*_`)\]]*(?:\Z|[^\w\s]|\n)", self.text[first.end : first.end + 8])
            and not _REASON.match(self.text, first.end)
            and first.how != "letter"
        ):
            return None
        del after, sentence
        return self._decide(lead, start, end, firm=True)

    def _concluding(self, sentences: Sequence[tuple[int, int]]) -> Match | None:
        """The last sentence that draws a conclusion or corrects an earlier one."""
        if len(sentences) < 2:
            return None
        for n in range(len(sentences) - 1, max(-1, len(sentences) - 4), -1):
            start, end = sentences[n]
            cues = list(_CONCLUSION.finditer(self.text, start, end))
            cue = cues[-1] if cues else None
            if cue is None and not (n and _CORRECTION.match(self.text, start)):
                continue
            match = self._claim(start, end, firm=False)
            if match.index is None and cue is not None and match.rule in ("ambiguous", "none"):
                match = self._claim(cue.end(), end, firm=True)
            if match.index is not None or match.rule in ("conflict", "ambiguous"):
                return match
        return None

    def _ticked(self, lines: Sequence[tuple[int, int]], *, every: bool = False) -> Match | None:
        """A list or table in which each option is judged, and one is right.

        `every`: each line must begin with an option, and all options must be judged.
        """
        right: dict[int, tuple[int, int]] = {}
        judged = 0
        for start, end in lines[:60]:
            text = self.text[start:end]
            good = _GOOD.search(text)
            bad = _BAD.search(text)
            if not good and not bad:
                continue
            mentions = [
                one
                for one in self._paired(self._texts(start, end), self._letters(start, end, firm=True))
                if one.index is not None
            ]
            if not mentions or (every and self.text[start : mentions[0].start].strip(_EDGES)):
                continue
            judged += 1
            if good and not bad:
                right[mentions[0].index or 0] = (mentions[0].start, mentions[0].end)
        if judged >= (len(self.choices.raw) if every else 2) and len(right) == 1:
            ((index, place),) = right.items()
            return Match(index, "ticked", *place)
        return self._ticked_column(lines)

    def _ticked_column(self, lines: Sequence[tuple[int, int]]) -> Match | None:
        """A table with a column for each option, and a row in which one cell is right."""
        rows = [self._cells(*line) for line in lines[:60] if self.text[line[0]] == "|"]
        for n, row in enumerate(rows):
            heads = {
                k: match.index
                for k, cell in enumerate(row)
                if (match := self.whole(*cell)) is not None and match.index is not None
            }
            if len(set(heads.values())) < 2:
                continue
            for later in rows[n + 1 :]:
                good = [
                    k
                    for k, cell in enumerate(later)
                    if _GOOD.search(self.text, *cell) and not _BAD.search(self.text, *cell)
                ]
                if len(later) == len(row) and len(good) == 1 and good[0] in heads:
                    return Match(heads[good[0]], "ticked", *row[good[0]])
        return None

    def _cells(self, start: int, end: int) -> list[tuple[int, int]]:
        """The cells of a line of a table."""
        bars = [n for n in range(start, end) if self.text[n] == "|"]
        return [(a + 1, b) for a, b in itertools.pairwise(bars)]

    def _scored(self, start: int, end: int) -> Match | None:
        """A score or a probability for each option: the highest one."""
        if not _SCORE.search(self.text, start, end):
            return None
        scores: dict[int, tuple[float, Mention]] = {}
        for one in self._paired(self._texts(start, end), self._letters(start, end, firm=True)):
            score = _SCORE.match(self.text, one.end, end)
            row = self.text.rfind("\n", 0, one.start) + 1
            if score is None and self.text.startswith("|", row):  # the last cell of its row
                score = _SCORE.search(self.text, one.end, max(self.text.find("\n", one.end), one.end))
            if score and one.index is not None:
                scores.setdefault(one.index, (float(score["value"]), one))
        if len(scores) < 2:
            return None
        best, mention = max(scores.values(), key=lambda one: one[0])
        if best <= sum(score for score, _ in scores.values()) / 2:  # nothing is claimed
            return Match(None, "ambiguous", start, end)
        return Match(mention.index, "scored", mention.start, mention.end)

    def _marked(self, start: int, end: int, pattern: re.Pattern[str]) -> Match | None:
        """The one choice that is set in bold (or quoted)."""
        found: dict[int, Match] = {}
        for span in pattern.finditer(self.text, start, end):
            group = next(n for n, text in enumerate(span.groups(), 1) if text)
            match = self._whole(*self._trim(*span.span(group)))
            if match is not None and match.index is not None:
                state = self._state(Mention(match.index, span.start(), span.end(), "text"), start, end)
                if state == "claimed":
                    found[match.index] = replace(match, rule="quoted")
        return next(iter(found.values())) if len(found) == 1 else None

    def _restated(self, mentions: Sequence[Mention], end: int) -> Match | None:
        """The choice that the text ends with as a plain statement, after it was named before."""
        last = mentions[-1]
        if last.index is None or last.state != "claimed" or self.text[last.end : end].strip(_EDGES):
            return None
        before = [one for one in mentions[:-1] if one.index == last.index and one.state == "claimed"]
        stop = max((m.end() for m in _HARD_BREAK.finditer(self.text, 0, last.start)), default=0)
        if (
            not before
            or not stop
            or mentions[-2].start >= stop
            or not _IS.search(self.text, stop, last.start)
        ):
            return None
        return Match(last.index, "contained", last.start, last.end)

    def _agreed(self, start: int, end: int, sentences: Sequence[tuple[int, int]]) -> Match:
        """The one choice that all sentences claim, or that the last line does."""
        mentions = self.mentions(start, end, firm=False)
        match = self._decide(mentions, start, end, firm=False)
        hedged = not any(mention.state == "claimed" for mention in mentions)
        if match.index is not None and not (hedged and _DECLINED.search(self.text, start, end)):
            return match
        if _DECLINED.search(self.text, start, end):
            return match if match.rule in ("conflict", "ambiguous") else Match(None, "declined", start, end)
        if match.rule == "ambiguous":
            return self._restated(mentions, end) or self._named_together(match, mentions, start, end)
        if match.rule == "none" and len(sentences) > 1:
            found = {
                m.index: m
                for m in (self._claim(a, b, firm=False) for a, b in sentences[:12] if self.text[a] != "|")
                if m.index is not None
            }
            if len(found) == 1:
                return next(iter(found.values()))
        return match


_IS = re.compile(r"\b(?:is|are|was|were)\s(?:an? |the )?[\"'*_]{0,3}\Z")
_NUMBERED = re.compile(r"\b(?:option|choice)\s?#?\s?\Z")
_OPPOSITES = ("in", "un", "im", "il", "ir", "dis", "non")
_PASSIVE = re.compile(r"\b(?:is|are|was|were|been|being|gets?|got)\b.{1,40}\bby\b")
_ABBREVIATED = re.compile(r"(?<![^\W_])[a-z]\Z")
_LONG = re.compile(r".{400}", re.DOTALL)
_START = re.compile(r"\A")
_STRONG_CORRECTION = re.compile(
    r"\bwait\b|\bactually\b|\bcorrection\b|\bscratch that\b|\bi meant\b|\bsorry\b|\bor rather\b|\bon "
    r"(?:second thought|reflection)\b|\.\.\.\s?no\b|\bno,\s(?=\(?[a-z]\)?[.\s]*\Z)|更正|不对|等等"
)
_ORDINAL = re.compile(
    rf"\b(?P<ordinal>{'|'.join(languages.ORDINALS)}|last|final)\s(?:one|option|choice|answer|possibility"
    rf"|alternative|candidate|statement|description|item|in the list|listed|antwort|opción|réponse|opção"
    rf"|opzione|вариант)\b"
    rf"|(?:^|\bthe |\bla |\ble |\bdie )(?P<ordinal2>{'|'.join(languages.ORDINALS)}|last)[\s.*\"'!]*\Z"
    rf"|\b(?P<ordinal3>{'|'.join(languages.ORDINALS)}|last) of (?:the|these|those)? ?(?:two|three|four|five"
    rf"|six|options|choices|answers|list|above)\b"
    r"|(?:\b(?:option|choice|answer|number|no\.|nr\.?|nummer|opción|вариант)|(?<!\w)#)\s?(?:number |no\.? "
    r"|#)?(?P<number>[1-9]|one|two|three|four|five|six)\b(?![.:/]\d)"
    r"|\b(?P<digits>[1-9])(?:st|nd|rd|th) (?:option|choice|one|answer)\b"
    r"|第\s?(?P<script>[一二三四五1-5])\s?(?:个|项|番目|つ目)?\s?(?:选项|选択肢|答案|$|是|です|번)"
)
_TICK = re.compile(r"[✗✘❌✖×❎✓✔✅☑]|\[[ x]\]")
_LETTER_BESIDE = re.compile(
    r"[^\w]{0,8}(?:\w+\s)?[^\w]{0,4}[a-z](?![^\W_])|[^\n]*[(\[][*\"' ]?[a-z][*\"' ]?[)\]]"
)
_SCORE = re.compile(
    r"[\s\"'*_`)\]|:=~(-]{1,10}(?:(?:confidence|probability|score|likelihood):? ?)?"
    r"(?:(?P<value>\d{1,3}(?:\.\d+)?(?=\s?%|\s?/\s?\d)|[01]?\.\d+))(?![\w:])"
)
_GOOD = re.compile(
    r"✓|✔|✅|☑|\[x\]|\b(?:correct|yes|true|best fit|best match|matches|right|fits(?: well)?|consistent"
    r"|selected)\b|正确|符合|^\W*→"
)
_BAD = re.compile(
    r"✗|✘|❌|✖|×|❎|\[ \]|\b(?:incorrect|no|not|wrong|false|doesn't|does not|unlikely|ruled out|excluded"
    r"|eliminated|inconsistent|implausible|less|partially|isn't|absent|never)\b|不正确|错误|不符合|不对"
)


def _fill(text: str) -> str:
    """What is left of a text without the words that may stand before an answer."""
    return _FILLER.sub(" ", text).strip(_EDGES + " ")


def _fillers() -> re.Pattern[str]:
    plain = alternatives(languages.FILLERS, scripts=False)
    scripts = alternatives(languages.FILLERS, scripts=True)
    return re.compile(
        rf"(?<![^\W_])(?:{plain}|it|this|that|are|was|an?|my answer|final|be|i|would|say|think"
        rf"|believe|hear|we|can)(?![^\W_])|{scripts}"
    )


_FILLER = _fillers()


def _content(values: Iterable[Hashable]) -> frozenset[Hashable]:
    return frozenset(value for value in values if value not in languages.SMALL_WORDS)


def _stemmed(values: Iterable[Hashable]) -> frozenset[Hashable]:
    return frozenset(
        _stem(value) if isinstance(value, str) else value for value in _content(values) if value != "both"
    )


def _is_word(value: Hashable) -> bool:
    """Not a character of a script without spaces, whose order matters."""
    return not isinstance(value, str) or value.isascii() or len(value) > 1


_UNTOLD = languages.DENIALS | languages.HEDGES | {"or", "oder", "ou"}


def _letters_of(text: str) -> str:
    """The letters of a text of letters alone, without accents; "" if there is more in it, or hardly any."""
    plain = re.sub(r"[\u0300-\u036f.\s'-]", "", unicodedata.normalize("NFD", text))
    return plain if len(plain) > 1 and plain.isalpha() else ""


def _whole_enough(said: frozenset[Hashable]) -> bool:
    return any(isinstance(value, str) and len(value) > 2 for value in said)


def _subsequence(tokens: Sequence[Token], name: Sequence[Hashable]) -> tuple[int, int] | None:
    """Where the words of `name` stand in order with at most three small words between two of them."""
    said = [_stem(token.value) if isinstance(token.value, str) else token.value for token in tokens]
    name = [_stem(value) if isinstance(value, str) else value for value in name]
    for first, token in enumerate(tokens):
        if said[first] != name[0]:
            continue
        position = first
        for value in name[1:]:
            ahead = position + 1
            while ahead < len(tokens) and said[ahead] != value:
                if ahead - position > 3 or tokens[ahead].value not in languages.BETWEEN:
                    ahead = len(tokens)
                    break
                ahead += 1
            if ahead >= len(tokens):
                break
            position = ahead
        else:
            return token.start, tokens[position].end
    return None


_ENDINGS = (
    "iness",
    "ness",
    "ingly",
    "fully",
    "ful",
    "ing",
    "ily",
    "edly",
    "edom",
    "ement",
    "ment",
    "ation",
    "ated",
    "ly",
    "ies",
    "ied",
    "ed",
    "es",
    "s",
    "y",
    "e",
)


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    word = languages.RELATED.get(word, word)
    if word.endswith("ically"):
        word = word[:-4]
    elif word.endswith(("ies", "ied")) and len(word) > 4:
        word = f"{word[:-3]}y"
    for ending in _ENDINGS:
        if (
            word.endswith(ending)
            and len(word) - len(ending) >= 3
            and not (ending == "s" and word.endswith("ss"))
        ):
            stem = word[: -len(ending)]
            if len(stem) > 3 and stem[-1] in "ey":
                return stem[:-1]  # "playing" as "play"
            return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] else stem
    return word


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def _misspelt(said: Sequence[str], name: Sequence[str]) -> bool:
    """Whether two texts are the same words but for slips of the pen.

    A number or a "not" more or less, or another beginning of a word (un-, de-), is another answer, however
    alike the letters are.
    """
    return len(said) == len(name) and all(
        a == b
        or (
            min(len(a), len(b)) >= 4
            and a[:2] == b[:2]
            and a.isalpha()
            and b.isalpha()
            and not {a, b} & languages.DENIALS
            and _likeness(a, b) >= 0.8
        )
        for a, b in zip(said, name, strict=True)
    )
