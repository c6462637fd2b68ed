"""The left of Triage: which predictions are listed. Every choice is in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.errors import address, beside, heard, notes
from app.errors.address import Address
from app.errors.figures import AGREEMENT, ANY_TAG, LENGTHS, NO_TAG, outcomes, values_of
from app.errors.grid import Clicked, Row, grid
from app.errors.words import OUTCOMES, letter, outcome_words, percent
from app.session import plain
from audioreason.review.explorer import Overview
from audioreason.wording import counted

ANY = "any"
_MORE = ("tag", "choice", "agree", "length", "modality", "language", "layer", "cue")


def filters(now: Address, run: Mapping[str, Any], part: str, found: Overview) -> None:
    """Draw the filters."""
    strict = found.strict
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="errors_filter_head"):
        if strict.low is not None and strict.high is not None:
            interval = f"{100 * strict.low:.1f} to {100 * strict.high:.1f}"
            words = f"**{percent(strict.value)}** :gray[{interval} · {counted(strict.n, 'item')}]"
        else:
            words = ":gray[nothing rated]"
        st.markdown(words, width="stretch")
        _more(now, run, part)

    def pick(clicked: Clicked) -> None:
        name = found.groups[clicked.row].name
        address.go(sub=() if now.sub == (name,) else (name,))

    grid(
        [Row(g.name, g.strict.n, g.strict.value, g.strict.low, g.strict.high, g.layer) for g in found.groups],
        key="errors_mini",
        overall=strict.value,
        chosen=now.sub,
        mini=True,
        height=430,
        on_pick=pick,
    )
    _outcomes(now, found)
    _search(now)


def _outcomes(now: Address, found: Overview) -> None:
    whole = outcomes(found)
    counts = whole
    if now.sub or now.layer:
        counts = {}
        for group in found.groups:
            if (not now.sub or group.name in now.sub) and (not now.layer or group.layer in now.layer):
                for name, number in group.outcomes.items():
                    counts[name] = counts.get(name, 0) + number
    options = [name for name in OUTCOMES if whole.get(name) or name in now.outcome]
    st.session_state["errors_outcome"] = [name for name in now.outcome if name in options]
    st.pills(
        "Outcome",
        options,
        selection_mode="multi",
        key="errors_outcome",
        wrap=True,
        format_func=lambda name: f"{outcome_words(name)} {counts.get(name, 0):,}",
        on_change=lambda: address.go(outcome=tuple(st.session_state["errors_outcome"] or ())),
        label_visibility="collapsed",
    )


def _search(now: Address) -> None:
    st.session_state["errors_q"] = now.q
    st.text_input(
        "Search",
        key="errors_q",
        placeholder="Search questions, answers, reasoning",
        icon=":material/search:",
        label_visibility="collapsed",
        on_change=lambda: address.go(q=(st.session_state["errors_q"] or "").strip()),
    )


def _more(now: Address, run: Mapping[str, Any], part: str) -> None:
    active = [name for name in _MORE if getattr(now, name)]
    icon = ":material/filter_alt:" if active else ":material/filter_list:"
    label = f"Filters ({len(active)})" if active else "Filters"
    box = st.popover(label, icon=icon, type="tertiary", key="errors_more", on_change="rerun")
    if not box.open:
        return
    with box, st.container(width=320):
        tags = {ANY: "any or none", ANY_TAG: "any tag", NO_TAG: "not tagged"}
        tags |= {tag.name: f"{plain(tag.name)} {tag.count}" for tag in notes.all_tags()}
        _one(now, "tag", "Tag", tags)
        _one(now, "choice", "Choice given", {ANY: "any"} | {str(i): letter(i) for i in range(6)})
        if int(run["samples"]) > 1:
            _one(
                now, "agree", "Samples that agree", {ANY: "any"} | {k: v.words for k, v in AGREEMENT.items()}
            )
        _one(now, "length", "Length of the answer", {ANY: "any"} | {k: v.words for k, v in LENGTHS.items()})
        _cue(now, run)
        for name, words in (("layer", "Layer"), ("modality", "Modality"), ("language", "Language")):
            _several(now, name, words, values_of(run, name, part))


def _cue(now: Address, run: Mapping[str, Any]) -> None:
    found = heard.cues(run)
    counted = heard.counts(found) if found is not None else {}
    if counted or now.cue:
        options = {ANY: "any"} | {name: f"{name} {number:,}" for name, number in counted.items()}
        _one(now, "cue", "The clip's events in HEARD", options)


def _one(now: Address, name: str, label: str, options: Mapping[str, str]) -> None:
    key = f"errors_{name}"
    current = getattr(now, name) or ANY
    st.session_state[key] = current if current in options else ANY

    def changed() -> None:
        chosen = st.session_state[key]
        address.go(**{name: "" if chosen == ANY else chosen})

    st.selectbox(label, list(options), key=key, format_func=lambda one: options[one], on_change=changed)


def _several(now: Address, name: str, label: str, options: list[str]) -> None:
    if len(options) < 2 and not getattr(now, name):
        return
    key = f"errors_{name}"
    st.session_state[key] = [one for one in getattr(now, name) if one in options]

    def changed() -> None:
        address.go(**{name: tuple(st.session_state[key])})

    st.multiselect(label, options, key=key, format_func=plain, on_change=changed)


def described(now: Address) -> str:
    """The filters in words, as plain text."""
    words = [*now.sub, *now.layer, *(outcome_words(name) for name in now.outcome)]
    words += [*now.modality, *now.language]
    if now.q:
        words.append(f'"{now.q}"')
    if now.tag:
        words.append({ANY_TAG: "tagged", NO_TAG: "not tagged"}.get(now.tag, f"tag {now.tag}"))
    if now.choice.isdecimal():
        words.append(f"given {letter(int(now.choice))}")
    if now.agree in AGREEMENT:
        words.append(AGREEMENT[now.agree].words)
    if now.length in LENGTHS:
        words.append(LENGTHS[now.length].words)
    if now.cue:
        words.append(f"events {now.cue}")
    if now.given_text or now.gold_text:
        words.append(f"{now.gold_text} taken for {now.given_text or 'no choice'}")
    if compared := beside.words(now):
        words.append(compared)
    return ", ".join(words)
