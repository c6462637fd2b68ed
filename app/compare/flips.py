"""The items of a cell, and one of them: its clip, its question, and what both runs wrote, side by side.

Sealed items are listed only when asked for; looking at one is recorded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from app import session
from app.compare import address, look
from app.compare.address import Score
from app.compare.cells import CELLS
from app.compare.look import Question
from app.navigation import page
from app.session import clip_view, plain
from app.widgets.player import Cue, player
from app.widgets.question import question
from app.widgets.rows import Column, Tone, rows
from app.widgets.runs import run_mark
from app.widgets.trace import Section, parts, trace
from app.words import duration, tokens
from audioreason.answers import RawResponse, parse
from audioreason.errors import ItemError, RunError
from audioreason.items import Dataset, Item
from audioreason.runs import Filter, load_record
from audioreason.runs.desk import note_opened

FLIPS = "flips"
_LISTS = {
    FLIPS: "Flips",
    "won": "Won",
    "lost": "Lost",
    "both_right": "Both right",
    "both_wrong": "Both wrong",
}
_MOST = 300  # items listed
_LIST_HEIGHT, _TRACE_HEIGHT = 236, 330  # px
_COLUMNS = (Column("", "78px"), Column("Subcategory", "minmax(0, .62fr)"), Column("Question"))
_TONES: dict[str, Tone] = {"won": "right", "lost": "wrong"}


@dataclass(frozen=True)
class Listed:
    """Items of a cell as the page lists them; `sealed` counts those that are left out."""

    items: pd.DataFrame  # item_id, cell, subcategory, question, part
    total: int
    sealed: int


def chosen_cell() -> str:
    """The cell in the address; the flips without one."""
    return address.cell() or FLIPS


@functools.lru_cache(maxsize=64)
def listed(asked: Question, run_id: str, cell: str, with_sealed: bool) -> Listed:
    """The items of a cell of one pair, in the dataset's order, at most 300 of them."""
    grid = look.pair(asked, run_id).grid
    names = ("won", "lost") if cell == FLIPS else (cell,)
    of = {item_id: name for name in names for item_id in grid[name]}
    where = Filter(runs=(run_id,), items=tuple(of))
    if not of:
        return Listed(pd.DataFrame(columns=["item_id", "cell", "subcategory", "question", "part"]), 0, 0)
    found = session.catalog().predictions(where, limit=10_000).rows.drop_duplicates("item_id")
    hidden = 0 if with_sealed else int((found["part"] == "sealed").sum())
    if not with_sealed:
        found = found[found["part"] != "sealed"]
    shown = found.head(_MOST)[["item_id", "subcategory", "question", "part"]]
    return Listed(shown.assign(cell=shown["item_id"].map(of)), len(found), hidden)


def explorer(asked: Question, run_id: str, cell: str) -> dict[str, str]:
    """The error explorer's address of the items of a cell, with both traces: those that this page counts.

    Sealed items are among them only where they are listed here.
    """
    hidden = "sealed" in look.parts(asked.runs) and not address.with_sealed()
    part = asked.split if asked.split != "full" else "explore" if hidden else "all"
    query = {"run": run_id, "view": "Triage", "part": part, "cell": cell, "against": asked.baseline}
    if asked.score != "strict":
        query["score"] = asked.score
    if asked.without_errata:
        query["errata"] = "without"
    return query | {"other": asked.baseline}


def flips(asked: Question, run_id: str) -> None:
    """Draw the list; a click shows the item on the right."""
    found = listed(asked, run_id, chosen_cell(), address.with_sealed())
    ids = [str(one) for one in found.items["item_id"]]
    table = found.items.astype(object).where(found.items.notna(), None)
    cells = [
        (
            str(row.cell).replace("_", " "),
            str(row.subcategory or ""),
            " ".join(str(row.question)[:300].split()),
        )
        for row in table.itertuples(index=False)
    ]
    _above(found, len(cells))
    tones: list[tuple[Tone, ...]] = [(_TONES.get(str(one), ""), "", "") for one in table["cell"]]
    current = st.query_params.get("item")
    clicked = rows(
        _COLUMNS,
        cells,
        key="compare_flips",
        clickable=True,
        current=ids.index(current) if current in ids else None,
        height=_LIST_HEIGHT,
        tones=tones,
    )
    if clicked is not None:
        address.put("item", ids[clicked])
        st.rerun()


def _above(found: Listed, shown: int) -> None:
    """The choice of the list, what it leaves out, and the switch that lists sealed items."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        address.segments("Items", "cell", _LISTS, FLIPS)
        st.space("stretch")
        if found.total > shown:
            st.markdown(f":small[:gray[first {shown:,} of {found.total:,}]]", width="content")
        if found.sealed or address.with_sealed():
            address.toggle(
                f"Sealed too ({found.sealed:,})" if found.sealed else "Sealed too",
                "sealed",
                help="Looking at a sealed item is recorded: tuning on what one has seen overfits by hand.",
            )


def detail(
    asked: Question, run_id: str, item_id: str, called: dict[str, str], colours: dict[str, str]
) -> None:
    """Draw one item with both traces."""
    found = listed(asked, run_id, chosen_cell(), address.with_sealed())
    ids = [str(one) for one in found.items["item_id"]]
    grid = look.pair(asked, run_id).grid
    cell = next((name for name in CELLS if item_id in grid[name]), None)
    try:
        record = load_record(session.workspace(), run_id)
    except RunError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    _head(ids, item_id, cell, record.dataset.name, run_id, asked.baseline)
    if cell is None:
        st.markdown("This item is not among those that both runs answered.")
        return
    if _sealed(asked, run_id, item_id):
        if not address.with_sealed():
            st.markdown("This item is in the sealed half. :gray[“Sealed too” shows it; that is recorded.]")
            return
        note_opened(session.workspace(), record.dataset.name, item_id)
    try:
        answers = {one: session.catalog().item_predictions(one, item_id) for one in (asked.baseline, run_id)}
        item = session.catalog().one_prediction(run_id, item_id, int(answers[run_id][0]["sample"])).item
    except RunError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    seconds = _player(_dataset(record.dataset.name), item)
    question(item, key="compare_question", row=True, details=False)
    right = {asked.baseline: cell in ("both_right", "lost"), run_id: cell in ("both_right", "won")}
    table = _Table(item, f"{record.dataset.name}/{item_id}", seconds, asked.score)
    for column, one in zip(st.columns(2, gap="small"), answers, strict=True):
        with column.container(border=True, gap="small"):
            _answer(table, one, answers[one], right[one], run_mark(called[one], colours[one]))


def _sealed(asked: Question, run_id: str, item_id: str) -> bool:
    where = Filter(runs=(run_id,), items=(item_id,))
    return bool(session.catalog().predictions(where, limit=1).rows["part"].eq("sealed").any())


def _head(ids: list[str], item_id: str, cell: str | None, dataset: str, run_id: str, baseline: str) -> None:
    """Where one is, the way on, and the ways to other pages."""
    place = ids.index(item_id) if item_id in ids else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="compare_item_head"):
        word = {"won": ":green[won]", "lost": ":red[lost]"}.get(
            cell or "", (cell or "not compared").replace("_", " ")
        )
        where = f"{place + 1} of {len(ids)} · " if place is not None else ""
        st.markdown(f"**{word}** :gray[{plain(where + item_id[:80])}]", width="content")
        st.space("stretch")
        if st.button("Previous", key="compare_previous", type="tertiary", shortcut="K", disabled=not place):
            address.put("item", ids[(place or 0) - 1])
            st.rerun()
        last = place is None or place + 1 >= len(ids)
        if st.button("Next", key="compare_next", type="tertiary", shortcut="J", disabled=last):
            address.put("item", ids[(place or 0) + 1])
            st.rerun()
        with st.popover("Open", type="tertiary", key="compare_open"):
            if st.button("In the playground", key="compare_playground", type="tertiary"):
                st.switch_page(page("playground"), query_params={"dataset": dataset, "item": item_id})
            if st.button("In the error explorer", key="compare_errors", type="tertiary"):
                query = {"run": run_id, "other": baseline, "item": item_id, "view": "Triage"}
                st.switch_page(page("errors"), query_params=query)
        if st.button("Close", key="compare_close", type="tertiary", icon=":material/close:"):
            address.close()
            st.rerun()


def _dataset(name: str) -> Dataset | None:
    try:
        return session.dataset(name)
    except ItemError:
        return None


def _player(data: Dataset | None, item: Item) -> float:
    """The player if the clip is still there; returns its seconds."""
    if data is None or item.id not in data:
        st.markdown(
            ":gray[The dataset of these runs is not in this workspace any more, so there is no clip.]"
        )
        return 0.0
    clip = clip_view(data, data[item.id])
    cues = [Cue(event.start, event.end, event.label) for event in item.events]
    player(clip, key="compare_player", cues=cues, size="small")
    return clip.seconds


@dataclass(frozen=True)
class _Table:
    """What lies on the table: the item, its player and the clip's seconds, and the rule that is looked by."""

    item: Item
    clip: str
    seconds: float
    score: Score


def _answer(table: _Table, run_id: str, samples: list[dict[str, Any]], right: bool, heading: str) -> None:
    """One run's answer: of several samples, the first that is as right as most of them."""
    item = table.item
    answered = [sample for sample in samples if sample["outcome"] != "server_error"]
    shown = next((one for one in answered if bool(one[table.score]) == right), (answered or samples)[0])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.html(heading, width="content")
        st.space("stretch")
        if len(samples) > 1:
            correct = sum(bool(sample[table.score]) for sample in answered)
            st.markdown(f":small[:gray[{correct} of {len(samples)} right]]", width="content")
    outcome, index = str(shown["outcome"]), shown["choice"]
    choice = outcome.replace("_", " ") if index is None else plain(item.choices[int(index)][:80])
    verdict = ":green[right]" if shown[table.score] else ":red[wrong]"
    told = index is None or outcome in ("correct", "wrong")
    more = "" if told else f" :orange[{outcome.replace('_', ' ')}]"
    st.markdown(f"**{choice}** {verdict}{more}")
    trace(
        _sections(shown, item, table.seconds, load_record(session.workspace(), run_id).expected_sections),
        key=f"compare_trace_{run_id}",
        clip=table.clip,
        height=_TRACE_HEIGHT,
        stacked=True,
        empty="Nothing came back.",
    )
    count = shown["completion_tokens"]
    words = [] if count is None else [tokens(int(count), bool(shown["tokens_estimated"]))]
    words += [duration(float(shown["seconds"]))] if shown["seconds"] else []
    words += [plain(str(shown["finish_reason"]))] if shown["finish_reason"] else []
    st.markdown(f":small[:gray[{' · '.join(words) or '&nbsp;'}]]")


def _sections(sample: dict[str, Any], item: Item, seconds: float, expected: tuple[str, ...]) -> list[Section]:
    raw = RawResponse(sample["content"], sample["reasoning"], sample["finish_reason"])
    parsed = parse(raw, expected)
    found = []
    for name, text in parsed.sections.items():
        marked = parts(text, seconds, item.events if name == "HEARD" else ())
        found.append(Section(name, marked, "strong" if name == "ANSWER" else ""))
    if not parsed.sections and parsed.visible:
        found.append(Section("Text", parts(parsed.visible, seconds, item.events)))
    if parsed.thinking:
        found.append(Section("Thinking", parts(parsed.thinking, seconds), "quiet"))
    if sample["error"]:
        found.append(Section("Problem", [{"text": str(sample["error"])}], "note"))
    return found
