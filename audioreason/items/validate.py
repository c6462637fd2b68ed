"""Item by item: what is wrong with a dataset, or odd in it, in plain words.

An `error` keeps an item from being scored or heard as it is; a `warning` can change a result; `info` is
harmless and explained. Knows nothing about where items came from or how answers are scored.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from audioreason.errors import ItemError
from audioreason.items.clips import ClipInfo, clip_info
from audioreason.items.dataset import Dataset
from audioreason.items.hashes import clip_hashes
from audioreason.items.memory import Memory, memory
from audioreason.items.schema import Item
from audioreason.items.sources import cluster_of
from audioreason.items.texts import own_letters
from audioreason.progress import Progress, Quiet

Severity = Literal["error", "warning", "info"]

# every code with what it means for a result; a finding's own message says where
EXPLANATIONS: dict[str, str] = {
    "not-an-item": "A row without a question, choices and an answer cannot be asked, so it was left out.",
    "duplicate-id": "Answers are filed by id, so of two items with one id only the first can be kept.",
    "empty-question": "A model that is asked nothing can only guess.",
    "few-choices": "With fewer than two choices there is nothing to choose.",
    "gold-missing": "The gold answer is none of the choices, so no answer can be scored as right.",
    "gold-ambiguous": "The gold answer is two of the choices, so which is right is not decided.",
    "duplicate-choice": "Two choices with the same text cannot be told apart in a written answer.",
    "same-words": "The published match compares words as a set, so it cannot tell these choices apart; "
    "the strict score can. Where the two disagree, look here first.",
    "empty-choice": "An empty choice is shown as a bare letter; only an answer by letter can choose it.",
    "no-words": "A choice without letters or digits can never be matched by the published rule.",
    "lettered-choices": "Choices that carry their own letters or numbers are shown with two, and an answer by"
    " letter may mean either: remove them.",
    "odd-whitespace": "Spaces at an end, or several in a row: kept as they are, and ignored in scoring.",
    "odd-characters": "Characters that cannot be seen (control, zero width, direction) may confuse a model.",
    "special-token": "Some models read this as a control token; the lab's own tokenizer reads it as text.",
    "no-language": "The language is not given: the item counts under no language in a breakdown.",
    "several-languages": "More than one language: the item counts under that combination in a breakdown.",
    "no-clip": "The item names no clip: it can be scored from imported answers but not asked.",
    "no-clips-here": "Only metadata is here: imported answers can be scored; to ask a model, add the audio.",
    "missing-clip": "The clip's file is not here, so the item cannot be asked.",
    "clip-elsewhere": "No file has the path that the table gives; the only one of that name was taken.",
    "linked-clip": "A link that leads out of the folder is not followed, so the item cannot be asked.",
    "refused-clip": "A clip outside the dataset's folder is never opened.",
    "unreadable-clip": "The clip cannot be decoded, so the item cannot be asked.",
    "silent-clip": "Nothing can be heard in the clip, so a right answer is a guess.",
    "short-clip": "A clip under a tenth of a second is most likely cut wrongly.",
    "incomplete-clip": "The file ends before its header says: most likely a broken download.",
    "one-source": "Many items from one recording count as one draw in an error bar, and stay in one half.",
}
IMPORTED = "import.jsonl"  # beside the items: what the import said about rows and clips
_SHORT = 0.1  # seconds
_BATCH = 64  # clips between two looks at `should_stop`
_ONE_SOURCE = 0.2  # of a dataset's items
_WORD = re.compile(r"\b\w+\b")  # the published match's idea of a word
_SPECIAL = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?(?:think|s|audio|image|video)>", re.IGNORECASE)
_JOINERS = {"\u200c", "\u200d"}  # part of correct spelling in some scripts, and of emoji
_INNER_SPACE = re.compile(r"\s{2,}|[\t\r\n\v\f\u00a0\u2000-\u200a\u3000]")


@dataclass(frozen=True)
class Finding:
    """One thing to know about one item; `item_id` is empty for the dataset as a whole."""

    item_id: str
    code: str  # a key of EXPLANATIONS
    severity: Severity
    message: str

    @property
    def explanation(self) -> str:
        """What findings of this code mean for a result."""
        return EXPLANATIONS[self.code]

    def to_dict(self) -> dict[str, str]:
        """The fields as plain data, for `--json`."""
        return asdict(self)


def validate(dataset: Dataset, progress: Progress | None = None) -> list[Finding]:
    """Everything to know about a dataset: what its import said, then texts, then clips.

    Decodes every clip that it has not decoded before (remembered by content in the cache).
    """
    return [
        *import_findings(dataset),
        *validate_items(dataset.items),
        *_validate_clips(dataset, progress or Quiet()),
    ]


def import_findings(dataset: Dataset) -> list[Finding]:
    """What a dataset's import said: rows that were left out, clips that are not where the table says."""
    try:
        lines = (dataset.root / IMPORTED).read_bytes().split(b"\n")
        return [Finding(**orjson.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError):  # none, as in a dataset that was made otherwise
        return []


def validate_items(items: Iterable[Item]) -> list[Finding]:
    """What the texts alone tell: ids, questions, choices, gold answers, language."""
    kept, findings = tuple(items), []
    seen: set[str] = set()
    for item in kept:
        if item.id in seen:
            findings.append(
                Finding(item.id, "duplicate-id", "error", f"Another item has the id {item.id!r} too.")
            )
        seen.add(item.id)
        findings += [Finding(item.id, *rest) for rest in _texts(item)]
    clusters = Counter(cluster_of(item) for item in kept)
    for source, count in clusters.most_common(1):
        if count >= 5 and count > _ONE_SOURCE * len(kept):
            message = f"{count} of {len(kept)} items come from {source}."
            findings.append(Finding("", "one-source", "warning", message))
    return findings


def _texts(item: Item) -> Iterator[tuple[str, Severity, str]]:
    """(code, severity, message) for one item's texts."""
    choices, answer = item.choices, item.answer
    if not item.question.strip():
        yield "empty-question", "error", "The question is empty."
    if len(choices) < 2:
        yield "few-choices", "error", "There is only 1 choice." if choices else "There are no choices."
    if item.gold is None:
        yield _gold_problem(item)
    yield from _same_choices(item)
    for index, choice in enumerate(choices):
        severity: Severity = "error" if item.gold == index else "info"
        if not choice.strip():
            yield "empty-choice", severity, f"Choice {_letter(index)} is empty."
        elif not _WORD.search(choice):
            yield (
                "no-words",
                "warning" if item.gold == index else "info",
                f"Choice {_name(item, index)} has no words.",
            )
    if marks := own_letters(choices):
        what = "numbers" if marks[0].isdecimal() else "letters"
        inner = [_letter(index) if what == "letters" else str(index + 1) for index in range(len(choices))]
        order = "" if [mark.upper() for mark in marks] == inner else ", out of order"
        yield "lettered-choices", "warning", f"The choices begin with {what}{order}, as in {choices[0]!r}."
    texts = [("The question", item.question), ("The gold answer", answer)]
    texts += [(f"Choice {_letter(index)}", choice) for index, choice in enumerate(choices)]
    for name, text in texts:
        yield from _odd_text(name, text)
    if item.language is None or not item.language.strip():
        yield "no-language", "info", "The language is not given."
    elif "|" in item.language:
        yield "several-languages", "info", f"The languages are {item.language.replace('|', ', ')}."


def _gold_problem(item: Item) -> tuple[str, Severity, str]:
    answer = item.answer
    same = [index for index, choice in enumerate(item.choices) if choice.strip() == answer.strip()]
    if same:
        return "gold-ambiguous", "error", f"{_names(same)} are both the gold answer {answer!r}."
    near = [index for index, choice in enumerate(item.choices) if _plain(choice) == _plain(answer)]
    hint = f"; but for case, spaces and stops it is choice {_name(item, near[0])}" if len(near) == 1 else ""
    return (
        "gold-missing",
        "error",
        f"The gold answer {answer!r} is none of the {len(item.choices)} choices{hint}.",
    )


def _same_choices(item: Item) -> Iterator[tuple[str, Severity, str]]:
    texts: dict[str, list[int]] = {}
    words: dict[frozenset[str], list[int]] = {}
    for index, choice in enumerate(item.choices):
        same = texts.setdefault(choice.strip(), [])
        same.append(index)
        if len(same) == 1 and (bag := frozenset(_WORD.findall(choice.lower()))):
            words.setdefault(bag, []).append(index)
    for text, same in texts.items():
        if len(same) > 1:
            yield "duplicate-choice", _matters(item, same), f"{_names(same)} are both {text!r}."
    for same in words.values():
        if len(same) > 1:
            quoted = ", ".join(repr(item.choices[index]) for index in same)
            yield "same-words", _matters(item, same), f"{_names(same)} have the same words: {quoted}."


def _odd_text(subject: str, text: str) -> Iterator[tuple[str, Severity, str]]:
    if text.strip() and text != text.strip():
        where = "begins" if text != text.lstrip() else "ends"
        yield "odd-whitespace", "info", f"{subject} {where} with a space."
    if _INNER_SPACE.search(text.strip()):
        yield "odd-whitespace", "info", f"{subject} has several spaces in a row, a tab or a line break."
    hidden = {char for char in text if unicodedata.category(char) in ("Cc", "Cf")} - set("\t\r\n\v\f")
    if hidden:
        codes = ", ".join(f"U+{ord(char):04X}" for char in sorted(hidden))
        severity: Severity = "info" if hidden <= _JOINERS else "warning"
        yield "odd-characters", severity, f"{subject} has characters that cannot be seen ({codes})."
    if match := _SPECIAL.search(text):
        yield "special-token", "warning", f"{subject} contains {match.group(0)!r}."


def _validate_clips(dataset: Dataset, progress: Progress) -> Iterator[Finding]:
    """Findings about clips; each distinct file is decoded once, in two threads."""
    missing, present = [], []
    for item in dataset.items:
        if item.audio_path is None:
            yield Finding(item.id, "no-clip", "info", "The item names no clip.")
            continue
        try:
            path = dataset.clip(item)
        except ItemError as error:
            yield Finding(item.id, "refused-clip", "error", str(error))
            continue
        if path is None:
            web = " Download the clip, and give its file." if "://" in item.audio_path else ""
            message = f"There is no file {item.audio_path}.{web}"
            missing.append(Finding(item.id, "missing-clip", "error", message))
        else:
            present.append((item, path))
    if missing and not present:
        yield Finding("", "no-clips-here", "info", f"None of the {len(missing)} clips is here.")
    else:
        yield from missing
    known = _memory(dataset)
    hashes = clip_hashes([path for _, path in present], dataset.cache)
    pairs = list(zip(present, hashes, strict=True))
    progress.phase("clips", len(present))
    for start in range(0, len(present), _BATCH):
        if progress.should_stop():
            return
        batch = pairs[start : start + _BATCH]
        new = {digest: path for (_, path), digest in batch if known.get(digest) is None}
        with ThreadPoolExecutor(2) as pool:
            known.put(dict(zip(new, pool.map(_described, new.values()), strict=True)))
        for (item, _), digest in batch:
            yield from (Finding(item.id, *rest) for rest in _heard(known.get(digest)))
        progress.done(min(start + _BATCH, len(present)))


def known_clips(dataset: Dataset) -> dict[str, ClipInfo]:
    """What is remembered of the clips that were decoded before, by item id; decodes nothing."""
    present = []
    for item in dataset.items:
        try:
            path = dataset.clip(item)
        except ItemError:  # `validate` names it
            continue
        if path is not None:
            present.append((item.id, path))
    known = _memory(dataset)
    found = {}
    for (item_id, _), digest in zip(
        present, clip_hashes([path for _, path in present], dataset.cache), strict=True
    ):
        described = known.get(digest)
        if described is not None and "error" not in described:
            found[item_id] = ClipInfo(**described)
    return found


def _memory(dataset: Dataset) -> Memory:
    # the 2: what the first version remembered did not see that an ogg or mp3 file ends early
    return memory(dataset.cache / "clip-info-2.jsonl") if dataset.cache else Memory()


def _described(path: Path) -> dict[str, Any]:
    """`clip_info` as plain data, or {"error": sentence}."""
    try:
        return asdict(clip_info(path))
    except ItemError as error:
        return {"error": str(error)}


def _heard(described: dict[str, Any]) -> Iterator[tuple[str, Severity, str]]:
    """(code, severity, message) for one clip as `_described` gives it."""
    if "error" in described:
        yield "unreadable-clip", "error", described["error"]
        return
    info = ClipInfo(**described)
    if info.silent:
        yield "silent-clip", "warning", f"The clip is silent ({info.seconds:.1f} s)."
    if info.seconds < _SHORT:
        yield "short-clip", "warning", f"The clip has only {info.seconds * 1000:.0f} ms."
    if not info.complete:
        yield "incomplete-clip", "warning", f"The clip's file ends early, after {info.seconds:.1f} s."


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .")


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _names(indices: list[int]) -> str:
    letters = [_letter(index) for index in indices]
    return f"Choices {', '.join(letters[:-1])} and {letters[-1]}"


def _matters(item: Item, indices: list[int]) -> Severity:
    return "warning" if item.gold in indices else "info"


def _name(item: Item, index: int) -> str:
    return f"{_letter(index)} ({item.choices[index]!r})"
