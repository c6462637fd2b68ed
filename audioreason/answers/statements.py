"""Stage 2: where a reply states its answer. Pure; knows nothing about choices.

Everything here works on folded text. `find_statements` gives every place that announces an answer, in the
order of the text; the last one that says something wins, which is for `reading` to find out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from audioreason.answers import languages
from audioreason.answers.fold import fold

_CJK = ("chinese", "japanese", "korean")


def alternatives(table: dict[str, str], *, scripts: bool) -> str:
    """The words of a table as one alternation: those of scripts without spaces, or those of the others.

    Longest first, as the first alternative that fits is taken.
    """
    words = [
        fold(word).text
        for language, listed in table.items()
        if (language in _CJK) == scripts
        for word in _split(listed)
    ]
    return "|".join(sorted(set(words), key=len, reverse=True))


def _split(listed: str) -> list[str]:
    """The alternatives of a pattern, at its own level."""
    parts, depth = [""], 0
    for letter in listed:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


@dataclass(frozen=True, slots=True)
class Statement:
    """A part of the folded text that states the answer: [start, end), and what announces it.

    `strong` ones stand in a place made for the answer: a section, a tag, a box, a field.
    """

    start: int
    end: int
    kind: str  # section, tag, boxed, json, phrase, choosing, confirming
    strong: bool


_TAGS = (
    "answer|final_?answer|final|response|conclusion|choice|option|selected_option|result|output|solution"
    "|prediction|ans|label|verdict|antwort|答案|回答"
)
_TAG = re.compile(
    rf"<(?P<name>{_TAGS})(?:\s[^<>\n]{{0,80}})?>|\[(?P<square>answer|final_?answer"
    rf"|ans)\](?=[^\n]{{0,400}}\[/)"
    r"|(?P<box><\|begin_of_box\|>)"
)
_BOXED = re.compile(r"\\(?:boxed|fbox|framebox|bbox)\s?\{")
_FIELD = re.compile(
    r"[\"'](?:(?:the|my|final|correct|best|predicted|selected|chosen|model)[ _-]?){0,2}"
    r"(?:answer|choice|option|prediction|response|label|letter|selection|result|output|答案)"
    r"(?:[ _-]?(?:letter|text|choice|option|prediction|index|id"
    r"|key))?[\"']\s{0,3}:\s{0,3}(?P<opening>[{\[\"'])?"
)
_BARE_VALUE = re.compile(r"[^,}\n]*")
_VALUE_END = re.compile(r"\s*(?:[,}\]\n]|\Z)")
_RIGHT = alternatives(languages.RIGHT_WORDS, scripts=False)
_NOUN = alternatives(languages.ANSWER_NOUNS, scripts=False)
_OPTION = alternatives(languages.OPTION_NOUNS, scripts=False)
_RIGHT_S = alternatives(languages.RIGHT_WORDS, scripts=True)
_NOUN_S = alternatives(languages.ANSWER_NOUNS, scripts=True)
_OPTION_S = alternatives(languages.OPTION_NOUNS, scripts=True)
_COPULA = alternatives(languages.COPULAS, scripts=False)
_COPULA_S = alternatives(languages.COPULAS, scripts=True)
_CONFIRMING_WORDS = fold(
    "correct|right|best|true|answer|likely|accurate|plausible|appropriate|consistent|suitable|fitting"
    "|perfectly|"
    "closely|accurately|choice|pick|selection|is|richtig|richtige|korrekt|korrekte|beste|bonne|correcte"
    "|juste|meilleure|exacte|"
    "correcta|correcto|adecuada|correta|certa|resposta|corretta|giusta|esatta|правильный|правильная"
    "|правильное|"
    "верный|верная|верное|правильно|верно|الصحيحة|الصحيح"
).text.split("|")
_CHOOSING_WORDS = fold(
    "choose|choosing|pick|picking|select|selecting|go|going|opt|opting|vote|settle|settling|lean|leaning"
    "|conclude|"
    "concluding|guess|guessing|chose|picked|selected|decide|decided|bet|stick|sticking|wähle|entscheide"
    "|nehme|tippe|"
    "würde|choisis|dirais|sélectionne|réponds|choix|elijo|escojo|selecciono|quedo|elegiría|diría|elección"
    "|escolho|"
    "seleciono|fico|diria|scelgo|seleziono|opto|direi|выбираю|выберу|выбрал|думаю|أختار|اختار|سأختار"
).text.split("|")
_SOFT = r"[\s*_`\"'>]"
# what may follow the noun of an answer: "to the question", then a copula or a colon
_AFTER_NOUN = (
    r"(?:\s(?:to|for|of|in|here|from|that|which|among|based|given|would|really|now|then|therefore|thus"
    r"|most)\b"
    r"[^.!?:\n=]{0,80}?)??"
    rf"(?:{_SOFT}|\]|\)|\}}|=){{0,6}}"
    r"(?:(?P<colon>[:=]|->|=>|→|\|)|(?P<dash>\s-\s|-\s)"
    rf"|(?<![^\W_])(?P<copula>{_COPULA})(?![^\W_])(?:\s?:)?|(?P<copula_s>{_COPULA_S}):?)"
)
# "answer", "réponse", "Ответ", and "respuesta correcta"; the adjectives before it do not matter
_NOUN_AT = re.compile(
    rf"(?P<noun>(?:{_NOUN})(?:\s(?:{_RIGHT}))?(?:\s?(?:choice|option|letter|label|text|key))?)(?![^\W_])"
    + _AFTER_NOUN
)
# "option" and the like are answers only as "correct option" or "opción correcta"
_OPTION_AT = re.compile(rf"(?P<noun>)(?:{_OPTION})(?P<right>\s(?:{_RIGHT}))?(?![^\W_])" + _AFTER_NOUN)
_RIGHT_BEFORE = re.compile(rf"(?<![^\W_])(?:{_RIGHT})[\s,*_]{{1,3}}\Z")
_SCRIPT = re.compile(
    rf"(?P<noun>(?:{_RIGHT_S})?(?:{_NOUN_S})|(?:{_RIGHT_S})(?:{_OPTION_S}|もの|の)?(?=\s?(?:是|为|は|은|는|:)))"
    + _AFTER_NOUN
)
_HAS_SCRIPT = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]")
_WORD = re.compile(r"[^\W\d_]+")
_ASCII_WORD = re.compile(r"[a-z]+")


def _first_words(patterns: Iterable[str]) -> frozenset[str]:
    """The words that patterns may begin with, in both forms where a letter may be missing."""
    firsts = {re.split(r"[ (\[\\]", pattern)[0] for pattern in patterns}
    return frozenset(re.sub(r"(\w)\?", kept, first) for first in firsts for kept in (r"\1", ""))


_CONFIRMS, _CHOOSES = _first_words(_CONFIRMING_WORDS), _first_words(_CHOOSING_WORDS)
_OPTIONS, _NOUNS = _first_words(_OPTION.split("|")), _first_words(_NOUN.split("|"))
_FIRST_WORDS = _CONFIRMS | _CHOOSES | _OPTIONS | _NOUNS
# a heading on a line of its own, or in brackets before its text
_ALONE = re.compile(
    rf"^[ \t>*_#\-=~`|\d.)(\[]{{0,16}}(?:the |my |step \d )?(?:(?:{_RIGHT})\s)*(?:{_NOUN}"
    rf"|{_NOUN_S})(?:\s?(?:choice|option|letter|key))?"
    rf"[ \t*_#\-=~`|):\]]{{0,16}}(?:\n|(?<=\])|(?<=\*\*)|\Z)",
    re.MULTILINE,
)
_CHOOSING = re.compile(rf"(?:{languages.CHOOSING})")
CONFIRMING = re.compile(languages.CONFIRMING)
# what follows an answer section is no part of the statement
_NEXT_SECTION = re.compile(
    r"^[ \t>*_#\-=~`|\d.)(\[<]{0,16}(?:heard|analysis|explanation|explain|reason(?:ing)?|rationale"
    r"|justification|confidence|note|notes"
    r"|evidence|why|because|details?|summary|description|caption|transcript|certainty|thoughts?|question"
    r"|options|choices"
    r"|解释|理由|说明|解析|分析|置信度|原因|说明|根拠|설명|이유|begründung|erklärung|explication|justificaci[oó]n|explicación"
    r"|explicação|spiegazione|объяснение|обоснование)"
    r"(?![^\W_])[^\n:]{0,20}?(?::|\]|>|\*\*|\n|\Z| - )",
    re.MULTILINE,
)
_LAST = 60  # statements that are looked at, from the end
_WINDOW = 16_000  # characters in which they are looked for, at the end
_LONGEST = 4_000  # characters of one


def find_statements(text: str) -> list[Statement]:
    """Every place that announces an answer, in the order of the text."""
    begin = max(0, len(text) - _WINDOW)
    found = [
        Statement(mark.end() if kind != "confirming" else _sentence_start(text, end), end, kind, strong)
        for mark, end, kind, strong in (
            *_tags(text, begin),
            *_boxes(text, begin),
            *_fields(text, begin),
            *_sections(text, begin),
            *_phrases(text, begin),
        )
    ]
    found.sort(key=lambda one: (one.start, one.strong))
    return found[-_LAST:]


_Found = tuple[re.Match[str], int, str, bool]


def _last(pattern: re.Pattern[str], text: str, begin: int) -> list[re.Match[str]]:
    return list(pattern.finditer(text, begin))[-_LAST:]


def _tags(text: str, begin: int) -> Iterator[_Found]:
    if "<" not in text and "[" not in text:
        return
    marks = _last(_TAG, text, begin)
    for n, mark in enumerate(marks):
        limit = marks[n + 1].start() if n + 1 < len(marks) else min(len(text), mark.end() + _LONGEST)
        left = (
            "<|end_of_box|>"
            if mark["box"]
            else f"</{mark['name']}"
            if mark["name"]
            else f"[/{mark['square']}"
        )
        end = text.find(left, mark.end(), limit)
        yield mark, end if end >= 0 else limit, "tag", True


def _boxes(text: str, begin: int) -> Iterator[_Found]:
    if "\\" not in text:
        return
    for mark in _last(_BOXED, text, begin)[-8:]:
        yield mark, _closing(text, mark.end(), "{", "}"), "boxed", True


def _fields(text: str, begin: int) -> Iterator[_Found]:
    if ":" not in text or ('"' not in text and "'" not in text):
        return
    for mark in _last(_FIELD, text, begin)[-8:]:
        start = mark.end()
        opening = mark["opening"]
        if opening == "{" or opening == "[":
            yield mark, _closing(text, start, opening, "}" if opening == "{" else "]"), "json", True
        elif opening:
            yield mark, _string_end(text, start, opening), "json", True
        else:
            value = _BARE_VALUE.match(text, start)
            yield mark, value.end() if value else start, "json", True


def _string_end(text: str, start: int, quote: str) -> int:
    position = start
    limit = min(len(text), start + _LONGEST)
    while (position := text.find(quote, position, limit)) >= 0:
        if text[position - 1] != "\\" and _VALUE_END.match(text, position + 1):
            return position
        position += 1
    end = text.find("\n", start, limit)
    return end if end >= 0 else limit


def _closing(text: str, start: int, left: str, right: str) -> int:
    depth = 1
    for position in range(start, min(len(text), start + 2000)):
        depth += (text[position] == left) - (text[position] == right)
        if not depth:
            return position
    line = text.find("\n", start)
    return line if line >= 0 else len(text)


def _sections(text: str, begin: int) -> Iterator[_Found]:
    for mark in _last(_ALONE, text, begin):
        if text[mark.end() : mark.end() + 200].strip():
            yield mark, _section_end(text, mark.end()), "section", True


def _section_end(text: str, start: int) -> int:
    limit = min(len(text), start + _LONGEST)
    after = _NEXT_SECTION.search(text, start, limit)
    if after and not text[start : after.start()].strip(" \n\t*_#-:>\"'`|"):
        after = _NEXT_SECTION.search(text, max(after.end(), start + 1), limit)
    return after.start() if after else limit


def _phrases(text: str, begin: int) -> Iterator[_Found]:
    nouns: list[re.Match[str]] = []
    choosing: dict[int, re.Match[str]] = {}
    confirming: dict[int, re.Match[str]] = {}
    for start, name in _anchors(text, begin):
        end = start + len(name)
        if name in _NOUNS and (mark := _NOUN_AT.match(text, start)):
            nouns.append(mark)
        if name in _OPTIONS:
            mark = _OPTION_AT.match(text, start)
            if mark and (mark["right"] or _RIGHT_BEFORE.search(text, max(0, start - 24), start)):
                nouns.append(mark)
        if name in _CHOOSES and (mark := _CHOOSING.search(text, max(0, start - 40), end + 24)):
            choosing[mark.end()] = mark
        if name in _CONFIRMS:
            for mark in CONFIRMING.finditer(text, max(0, start - 60), end + 64):
                if mark.start() <= end:  # what is nearer to the limit may be cut by it
                    confirming[mark.start()] = mark
    if not text.isascii() and _HAS_SCRIPT.search(text):
        nouns += _SCRIPT.finditer(text, begin)
        choosing |= {mark.end(): mark for mark in _CHOOSING.finditer(text, begin)}
        confirming |= {mark.start(): mark for mark in CONFIRMING.finditer(text, begin)}
    for mark in nouns[-_LAST:]:
        table = _HEAD_OF_COLUMN.match(text, mark.start())
        if table is None:
            yield _noun(text, mark)
        elif table["more"] is None:  # a table of one row: what stands below
            number = text.count("|", text.rfind("\n", 0, mark.start()) + 1, mark.start())
            bars = list(_BAR.finditer(text, *table.span("row")))
            if 0 < number < len(bars):
                yield bars[number - 1], bars[number].start(), "section", True
    for mark in list(choosing.values())[-_LAST:]:
        yield mark, _sentence_end(text, mark.end()), "choosing", False
    for mark in list(confirming.values())[-_LAST:]:
        yield mark, mark.start(), "confirming", False


def _anchors(text: str, begin: int) -> list[tuple[int, str]]:
    """Where the words stand that an announcement may begin with, in order."""
    found: list[tuple[int, str]] = []
    for name in _FIRST_WORDS & set((_ASCII_WORD if text.isascii() else _WORD).findall(text, begin)):
        at = text.find(name, begin)
        while at >= 0:
            end = at + len(name)
            if not (text[at - 1 : at].isalpha() or text[end : end + 1].isalpha()):
                found.append((at, name))
            at = text.find(name, end)
    return sorted(found)[-4 * _LAST :]


def _noun(text: str, mark: re.Match[str]) -> _Found:
    """The statement behind a noun of an answer: a section behind a colon, else the rest of the sentence."""
    line = text.rfind("\n", 0, mark.start()) + 1
    heads = not _RIGHT_HEAD.sub("", text[line : mark.start()]).strip(_BEFORE_HEADING)
    if mark["colon"] or (mark["dash"] and heads):
        return mark, _section_end(text, mark.end()), "section", True
    return mark, _sentence_end(text, mark.end()), "phrase", False


_RIGHT_HEAD = re.compile(rf"(?<![^\W_])(?:the|{_RIGHT})(?![^\W_])")
_BEFORE_HEADING = " \t>*_#-=~`|0123456789.)([{\"'•✅👉🔹🎯<+:"
_STOP = re.compile(r"[.!?;](?=[\s\"'*)\]]|\Z)|\n|[.!?](?=[\u3040-\u9fff\uac00-\ud7af])")
# a word in the first row of a table
_HEAD_OF_COLUMN = re.compile(
    r"[^|\n]{1,40}\|[^\n]*\n[ \t]*\|?[ \t]*:?-[-:| \t]*\n(?P<row>[^\n]*\|[^\n]*)(?P<more>\n[^\n]*\|)?"
)
_BAR = re.compile(r"\|")
_LABEL_BEFORE = re.compile(r"(?:^|[\s(\[*_\"'>])[a-z]\Z|\b(?:mr|mrs|ms|dr|vs|st|no|etc|e\.g|i\.e)\Z")


def _sentence_end(text: str, start: int) -> int:
    """Where the sentence that begins at `start` ends; the next line counts where this one is empty."""
    position = start
    limit = min(len(text), start + _LONGEST)
    while stop := _STOP.search(text, position, limit):
        if not text[start : stop.start()][:80].strip(" \t\n*_#-:>\"'`|."):
            position = stop.end()
        elif (
            stop[0] == "." and stop.start() - start < 12 and _LABEL_BEFORE.search(text[start : stop.start()])
        ):
            position = stop.end()  # "B. two dogs"
        else:
            return stop.start()
    return limit


def _sentence_start(text: str, end: int) -> int:
    start = max(0, end - 400)
    for stop in _STOP.finditer(text, start, end):
        if stop[0] != "." or not _LABEL_BEFORE.search(text[max(start, stop.start() - 8) : stop.start()]):
            start = stop.end()
    return start
