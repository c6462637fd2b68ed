"""Cue outcomes: what the rule says of single texts, how it agrees with labels, and where it keeps silent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from audioreason.answers import RawResponse, parse
from audioreason.errors import RunError
from audioreason.items import Dataset, DatasetInfo, Event, Item, save_dataset
from audioreason.review import CUE_OUTCOMES, MEASURED, run_cues
from audioreason.review.cues import CUES_VERSION, LEAST_KAPPA, cue_outcome
from audioreason.runs import (
    EndpointRef,
    Prediction,
    PromptRef,
    RunRecord,
    RunWriter,
    dataset_ref,
    run_folder,
)
from audioreason.stats import cohen_kappa
from audioreason.workspace import Workspace

SECTIONS = ("HEARD", "ANALYSIS", "ANSWER")
LABELS = Path(__file__).with_name("cue_labels.jsonl")
WORDS = ("bell", "dog bark", "clap", "speech, calm and slow", "near knock", "very near knock", "number 3")


def events(*labels: str, at_once: bool = False) -> list[Event]:
    return [Event(label=label, start=0 if at_once else k, end=k + 0.8) for k, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "heard", "expected"),
    [
        (("bell", "clap"), "0.0-0.8s bell; 1.0-1.8s clap.", "mentioned"),
        (("bell", "clap"), "0.0s a bell rings; 1.0s claps", "mentioned"),
        (("bell", "clap"), "0.0-0.8s bell; 1.0s dog bark; 2s clap.", "mentioned"),  # an invention beside
        (("bell", "bell", "bell"), "0.0s bell; 1.0s bell.", "mentioned"),  # counts are not looked at
        (("bell", "clap"), "0.0-0.8s bell.", "not mentioned"),
        (("bell", "clap"), "0.0-0.8s bell; 1.0-1.8s dog bark.", "contradicted"),
        (("bell", "clap", "bell"), "0s clap; 1s bell; 2s bell.", "contradicted"),  # another order
        (("near knock",), "0.0s very near knock", "contradicted"),
        (("number 3",), "0.0s number three", "mentioned"),
        (("speech, calm and slow",), "0.0-2.0s calm, slow speech and noise", "mentioned"),
        (("bell",), "0.0-2.0s something metallic", "not mentioned"),  # no label's words: nothing is ruled out
        (("bell", "clap"), "A bell, then somebody claps.", "mentioned"),
        (("bell", "clap"), "A dog barks.", "not mentioned"),  # no times, no order
        (("bell",), "", "not mentioned"),
        ((), "0.0s bell", None),
    ],
)
def test_the_rule(labels: Sequence[str], heard: str, expected: str | None) -> None:
    assert cue_outcome(heard, events(*labels), WORDS) == expected


def test_one_of_two_sounds_at_once_is_no_contradiction() -> None:
    both = events("bell", "dog bark", at_once=True)
    assert cue_outcome("0.0s dog bark", both, WORDS) == "not mentioned"
    assert cue_outcome("0.0s dog bark; 0.2s bell", both, WORDS) == "mentioned"


def test_the_published_figures_are_those_of_the_labelled_traces() -> None:
    rows = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
    heard = [[Event.model_validate(event) for event in row["events"]] for row in rows]
    vocabulary = {event.label for several in heard for event in several}
    labels, said = [row["label"] for row in rows], []
    for row, true in zip(rows, heard, strict=True):
        sections = parse(RawResponse(row["text"]), SECTIONS).sections
        said.append(cue_outcome(sections["HEARD"], true, vocabulary))
    assert len(labels) == MEASURED.traces >= 200
    assert cohen_kappa(labels, said) == pytest.approx(MEASURED.kappa, abs=0.005)
    for outcome in CUE_OUTCOMES:
        both = sum(a == b == outcome for a, b in zip(labels, said, strict=True))
        measured = (both / said.count(outcome), both / labels.count(outcome))
        assert measured == pytest.approx(MEASURED.by[outcome], abs=0.005)
    assert MEASURED.shown == (MEASURED.kappa >= LEAST_KAPPA)


def _data(workspace: Workspace, kind: str = "events") -> Dataset:
    items = [
        Item(id=f"i{k}", question="?", choices=("a", "b"), answer="a", events=tuple(events("bell", "clap")))
        for k in range(4)
    ]
    return save_dataset(
        workspace.datasets / "sounds", DatasetInfo.model_validate({"name": "sounds", "cue_kind": kind}), items
    )


def _record(data: Dataset, sections: tuple[str, ...] = SECTIONS, model: str = "pocket-listener") -> RunRecord:
    return RunRecord.model_validate(
        {
            "run_id": "r",
            "created": "2026-11-23T01:00:00Z",
            "kind": "eval",
            "dataset": dataset_ref(data),
            "prompt": PromptRef(name="p", version="0" * 12, system="", user="", sections=sections),
            "endpoint": EndpointRef(name="e", base_url="http://h/v1", model=model, transport="file"),
            "sampling": {"samples": 1},
            "n_items": len(data.items),
        }
    )


def _reply(heard: str) -> str:
    return f"HEARD: {heard}\nANALYSIS: so.\nANSWER: a"


def test_a_run_is_judged_live_and_kept_when_finished(workspace: Workspace) -> None:
    data = _data(workspace)
    with RunWriter.create(workspace, _record(data), data.items) as writer:
        writer.append(Prediction("i0", 0, content=_reply("0s bell; 1s clap"), finish_reason="stop"))
        assert [row.outcome for row in run_cues(workspace, "r").rows] == ["mentioned"]
        writer.append(Prediction("i1", 0, content=_reply("0s clap; 1s bell"), finish_reason="stop"))
        writer.append(Prediction("i2", 0, content=_reply("0s bell"), finish_reason="stop"))
        writer.append(Prediction("i3", 0, error="gone", error_kind="http_500"))
        kept = run_folder(workspace, "r") / "derived" / f"cues@{CUES_VERSION}.parquet"
        assert len(run_cues(workspace, "r").rows) == 3
        assert not kept.exists()
        writer.finish()
    found = run_cues(workspace, "r")
    assert kept.exists()
    assert found.having("contradicted") == (("i1", 0),)
    assert found.having("not mentioned") == (("i2", 0),)
    assert run_cues(workspace, "r") == found


@pytest.mark.parametrize(
    ("kind", "sections", "words"),
    [("none", SECTIONS, "which events"), ("words", SECTIONS, "which events"), ("events", (), "HEARD")],
)
def test_where_nothing_is_known_it_is_said(
    workspace: Workspace, kind: str, sections: tuple[str, ...], words: str
) -> None:
    data = _data(workspace, kind)
    with RunWriter.create(workspace, _record(data, sections), data.items) as writer:
        writer.append(Prediction("i0", 0, content=_reply("0s bell; 1s clap"), finish_reason="stop"))
    found = run_cues(workspace, "r")
    assert found.rows == ()
    assert words in found.why_not


def test_a_model_that_was_not_measured_is_named(workspace: Workspace) -> None:
    data = _data(workspace)
    with RunWriter.create(workspace, _record(data, model="qwen3-omni"), data.items) as writer:
        writer.append(Prediction("i0", 0, content=_reply("0s bell; 1s clap"), finish_reason="stop"))
    assert "not on qwen3-omni" in run_cues(workspace, "r").caution


def test_a_dataset_or_run_that_is_gone_is_said_in_words(workspace: Workspace) -> None:
    data = _data(workspace)
    with RunWriter.create(workspace, _record(data), data.items) as writer:
        writer.append(Prediction("i0", 0, content=_reply("0s bell; 1s clap"), finish_reason="stop"))
    (data.root / "dataset.json").unlink()
    assert "sounds" in run_cues(workspace, "r").why_not
    with pytest.raises(RunError):
        run_cues(workspace, "gone")
