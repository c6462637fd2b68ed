"""Cue outcomes: does a trace's HEARD claim the events that its clip is known to have?

Only for datasets that declare `cue_kind: events` and prompts that ask for HEARD. The rule reads text and
knows event labels; it hears nothing, and looks at neither times nor counts. `MEASURED` says how good it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal

import pyarrow as pa

from audioreason import answers
from audioreason.errors import LabError
from audioreason.items import Event
from audioreason.items.dataset import find_dataset, read_info
from audioreason.runs import RunRecord, load_record, read_items, run_folder
from audioreason.runs.storage import flat, merged_predictions, read_parquet, write_rows
from audioreason.workspace import Workspace

CueOutcome = Literal["mentioned", "not mentioned", "contradicted"]
CUE_OUTCOMES: tuple[CueOutcome, ...] = ("mentioned", "not mentioned", "contradicted")
CUES_VERSION = "1"
LEAST_KAPPA = 0.6  # below it the outcomes stay hidden

_CUES = pa.schema([("item_id", pa.string()), ("sample", pa.int32()), ("outcome", pa.string())])
_SPAN = re.compile(
    r"(?<![\w.])\d+(?:\.\d+)?\s*(?:-\s*\d+(?:\.\d+)?)?\s*s(?:ec(?:onds)?)?\b[:,]?", re.IGNORECASE
)
_WORD = re.compile(r"[\w']+")
_NUMBERS = dict(
    zip("zero one two three four five six seven eight nine ten".split(), map(str, range(11)), strict=True)  # noqa: SIM905
)
_EMPTY = frozenset("a an the of is are there".split())  # noqa: SIM905
_CHANGES = frozenset("very no not without".split())  # noqa: SIM905 - a claim with one of them says another thing
_SUBSTITUTE = 1.5  # dearer than one event left out, cheaper than one left out and one invented


@dataclass(frozen=True, slots=True)
class Cued:
    """What became of the cues in one prediction."""

    item_id: str
    sample: int
    outcome: CueOutcome


@dataclass(frozen=True)
class Measured:
    """How the rule agrees with labelled traces: Cohen's kappa; (precision, recall) by outcome."""

    traces: int
    kappa: float
    by: Mapping[CueOutcome, tuple[float, float]]
    model: str
    note: str

    @property
    def shown(self) -> bool:
        """Whether the outcomes may be shown."""
        return self.kappa >= LEAST_KAPPA


@dataclass(frozen=True)
class Cues:
    """The cue outcomes of a run, or `why_not` in words; `caution` says what the figures do not show."""

    rows: tuple[Cued, ...] = ()
    why_not: str = ""
    caution: str = ""

    def having(self, outcome: str) -> tuple[tuple[str, int], ...]:
        """(item id, sample) of the predictions with this outcome; for `Filter.only`."""
        return tuple((row.item_id, row.sample) for row in self.rows if row.outcome == outcome)


def cue_outcome(heard: str, events: Sequence[Event], vocabulary: Iterable[str]) -> CueOutcome | None:
    """What HEARD makes of a clip's events; None if there are none.

    Claims (the text after each time) are aligned with the events in order. *contradicted*: another label of
    the vocabulary stands in an event's place, or an event is claimed in another place than its own. *not
    mentioned*: an event's label is claimed nowhere. Text without times has no order: it is never
    contradicted.

    Args:
        heard: the section HEARD.
        events: what can be heard in the clip.
        vocabulary: every label that an event of this dataset may have.
    """
    if not events:
        return None
    ordered = sorted(events, key=lambda event: event.start)
    known = tuple(sorted({*vocabulary, *(event.label for event in events)}))
    claims = [text for text in (part.strip() for part in _SPAN.split(heard)[1:]) if text]
    if not claims:
        parts = re.split(r"[.;,\n]|\bthen\b|\bfollowed by\b", heard)
        said = all(any(_same(event.label, part) for part in parts) for event in events)
        return "mentioned" if said else "not mentioned"
    missing, invented, instead = _aligned(ordered, claims)
    for number, claim in instead:
        label = _meant(claim, known)
        if label is not None and not _overlapping(ordered, number, label):
            return "contradicted"
    for number in missing:
        alone = not any(
            _together(ordered[number], other) for other in ordered if other is not ordered[number]
        )
        if alone and any(_same(ordered[number].label, claim) for claim in invented):
            return "contradicted"
    absent = any(not any(_same(event.label, claim) for claim in claims) for event in ordered)
    return "not mentioned" if absent else "mentioned"


def run_cues(workspace: Workspace, run_id: str) -> Cues:
    """The cue outcomes of a run: kept as `derived/cues@VERSION.parquet` once it is finished.

    Raises:
        RunError: if the run is unknown or cannot be read.
    """
    record = load_record(workspace, run_id)
    if why_not := _why_not(workspace, record):
        return Cues(why_not=why_not)
    folder = run_folder(workspace, run_id)
    target = folder / "derived" / f"cues@{CUES_VERSION}.parquet"
    finished = folder / "predictions.parquet"
    if finished.exists() and not (folder / "predictions.jsonl").exists():
        if not target.exists() or target.stat().st_mtime_ns < finished.stat().st_mtime_ns:
            write_rows(target, _CUES, map(flat, _computed(workspace, record)))
        names = [field.name for field in fields(Cued)]
        rows = tuple(Cued(**row) for row in read_parquet(target, names))
    else:
        rows = tuple(_computed(workspace, record))
    model = record.endpoint.model if record.endpoint else "this model"
    caution = (
        MEASURED.note if model == MEASURED.model else f"Measured on {MEASURED.model} only, not on {model}."
    )
    return Cues(rows, caution=caution)


def _why_not(workspace: Workspace, record: RunRecord) -> str:
    """Why a run has no cue outcomes, as a sentence; "" if it has."""
    if not MEASURED.shown:
        return f"Cue outcomes are hidden: their kappa of {MEASURED.kappa:.2f} is below {LEAST_KAPPA}."
    return why_no_cues(workspace, record.dataset.name, record.expected_sections)


def why_no_cues(workspace: Workspace, dataset: str, sections: Sequence[str]) -> str:
    """Why answers about a dataset, in these sections, have no cue outcomes, or ""."""
    if "HEARD" not in sections:
        return "This run's prompt does not ask for HEARD, so what was heard is not known."
    try:
        kind = read_info(find_dataset(workspace, dataset)).cue_kind
    except LabError as error:
        return f"Whether {dataset} knows its events cannot be told: {error.message}"
    if kind != "events":
        return f"{dataset} does not say which events its clips have; use tags or a judge."
    return ""


def _computed(workspace: Workspace, record: RunRecord) -> Iterator[Cued]:
    folder = run_folder(workspace, record.run_id)
    items = {item.id: item for item in read_items(folder)}
    vocabulary = tuple(sorted({event.label for item in items.values() for event in item.events}))
    order = [(item_id, sample) for item_id in items for sample in range(record.samples)]
    for row in merged_predictions(folder, order):
        item = items.get(row.item_id)
        if item is None or row.error is not None:
            continue
        parsed = answers.parse(
            answers.RawResponse(row.content, row.reasoning, row.finish_reason), record.expected_sections
        )
        outcome = cue_outcome(parsed.sections.get("HEARD", ""), item.events, vocabulary)
        if outcome is not None:
            yield Cued(row.item_id, row.sample, outcome)


def _aligned(
    events: Sequence[Event], claims: Sequence[str]
) -> tuple[list[int], list[str], list[tuple[int, str]]]:
    """The cheapest alignment: numbers of events left out, claims invented, claims instead of events."""
    costs = [[float(i + j) for j in range(len(claims) + 1)] for i in range(len(events) + 1)]
    for i, event in enumerate(events, 1):
        for j, claim in enumerate(claims, 1):
            here = costs[i - 1][j - 1] + (0 if _same(event.label, claim) else _SUBSTITUTE)
            costs[i][j] = min(here, costs[i - 1][j] + 1, costs[i][j - 1] + 1)
    missing: list[int] = []
    invented: list[str] = []
    instead: list[tuple[int, str]] = []
    i, j = len(events), len(claims)
    while i or j:
        if i and j:
            same = _same(events[i - 1].label, claims[j - 1])
            if costs[i][j] == costs[i - 1][j - 1] + (0 if same else _SUBSTITUTE):
                i, j = i - 1, j - 1
                if not same:
                    instead.append((i, claims[j]))
                continue
        if i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            missing.append(i)
        else:
            j -= 1
            invented.append(claims[j])
    return missing, invented, instead


def _overlapping(events: Sequence[Event], number: int, label: str) -> bool:
    """Whether an event of this label sounds at the same time as the one with this number."""
    return any(event.label == label and _together(event, events[number]) for event in events)


def _together(a: Event, b: Event) -> bool:
    return a.start < b.end and b.start < a.end


def _meant(claim: str, vocabulary: Sequence[str]) -> str | None:
    """The label that a claim means: the longest that it contains; None for words that no label has."""
    found = [label for label in vocabulary if _same(label, claim)]
    return max(found, key=len) if found else None


@lru_cache(maxsize=100_000)
def _same(label: str, claim: str) -> bool:
    """Whether a claim contains every word of a label, and none that turns it into another thing."""
    wanted, said = _words(label), _words(claim)
    return wanted <= said and not (said - wanted) & _CHANGES


@lru_cache(maxsize=100_000)
def _words(text: str) -> frozenset[str]:
    words = (_NUMBERS.get(word, word) for word in _WORD.findall(text.lower()))
    return frozenset(_stem(word) for word in words if word not in _EMPTY)


def _stem(word: str) -> str:
    """A word without its ending, so that "barks" and "barking" are a bark."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


# from `tests/review/cue_labels.jsonl`; a test computes these figures again
MEASURED = Measured(
    traces=320,
    kappa=0.98,
    by={"mentioned": (1.0, 1.0), "not mentioned": (1.0, 0.85), "contradicted": (0.96, 1.0)},
    model="pocket-listener",
    note="The texts were labelled by one automated reading, not by people; HEARD uses the events' own words.",
)
