"""One prediction as something to read: sections of the trace and marks on the clip."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors.look import Opened
from app.errors.marks import mark_loops
from app.widgets.player import Cue
from app.widgets.trace import Part, Section, mark_read, parts
from app.words import read_by
from audioreason.answers import Parsed, RawResponse, Reading, read
from audioreason.items import Event

_ALONE = 200  # characters of an answer without sections that is nothing but an answer
_RUBRIC = 12  # points of a rubric that are shown


def sections(found: Opened, *, reference: bool = True) -> list[Section]:
    """What the model wrote, short sections first, thinking behind them; then what it should have said."""
    prediction, item = found.detail.prediction, found.item
    seconds = found.clip.seconds
    shown = [Section("Cues", _cue_parts(found))] if reference else []
    if prediction.error:
        shown.append(Section("Problem", [{"text": prediction.error}], "note"))
    given = reading(found)
    answer, rule = given.parsed, read_by(given.resolution.rule)
    for name, text in answer.sections.items():
        heard: Sequence[Event] = item.events if name == "HEARD" else ()
        pieces = mark_read(mark_loops(parts(text, seconds, heard)), answer.read.get(name), rule)
        shown.append(Section(name, pieces, "strong" if name == "ANSWER" else ""))
    if not answer.sections and answer.visible:
        alone = len(answer.visible) <= _ALONE
        pieces = mark_loops(parts(answer.visible, seconds, item.events))
        pieces = mark_read(pieces, answer.read.get(""), rule)
        shown.append(Section("Answer" if alone else "Text", pieces, "strong" if alone else ""))
    if reference and item.thinking:
        shown.append(Section("Reference", [{"text": item.thinking}], "quiet"))
    if answer.thinking:
        shown.append(Section("Thinking", mark_loops(parts(answer.thinking, seconds)), "quiet"))
    if reference and item.rubric:
        points = "\n".join(
            " · ".join(str(point[name]) for name in ("name", "scoring_point") if point.get(name))
            for point in item.rubric[:_RUBRIC]
        )
        shown.append(Section("Rubric", [{"text": points}], "quiet"))
    return shown


def parsed(found: Opened) -> Parsed:
    """The prediction's text taken apart, as it was for its score."""
    return reading(found).parsed


def reading(found: Opened) -> Reading:
    """The prediction as it is read for its score."""
    prediction = found.detail.prediction
    raw = RawResponse(prediction.content, prediction.reasoning, prediction.finish_reason)
    return read(raw, found.item.choices, found.record.expected_sections)


def _cue_parts(found: Opened) -> list[Part]:
    """What there is to hear: events that lead to their times, or the words that the dataset gives."""
    item = found.item
    if not item.events:
        return [{"text": " · ".join(item.cue)}] if item.cue else []
    said = _heard(found)
    pieces: list[Part] = []
    for event in item.events:
        if pieces:
            pieces.append({"text": "  "})
        piece: Part = {"text": event.label, "start": event.start, "end": event.end}
        if said and event.label.casefold() in said:
            piece["named"] = True
        pieces.append(piece)
    return pieces


def _heard(found: Opened) -> str:
    return parsed(found).sections.get("HEARD", "").casefold()


def cues(found: Opened) -> list[Cue]:
    """The item's events for the player, teal where HEARD names them."""
    said = _heard(found)
    return [
        Cue(e.start, e.end, e.label, "right" if said and e.label.casefold() in said else "plain")
        for e in found.item.events
    ]
