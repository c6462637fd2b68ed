"""Which item is on the table: dataset, filter, search, random, pins. The choice lives in the URL.

Knows nothing about prompts or answers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import streamlit as st

from app import session
from app.session import ClipView, clip_view, plain
from audioreason.errors import ItemError
from audioreason.items import Dataset, Item, list_datasets
from audioreason.items.own import OWN, add_own_item
from audioreason.items.splits import split_of
from audioreason.runs import Filter
from audioreason.runs.desk import note_opened, opened, pins, set_pin
from audioreason.runs.play import forget_own_item

_DEFAULT = "soundcheck"
_SOUNDS = ["wav", "flac", "mp3", "ogg", "m4a", "webm", "aiff"]
_LABEL = 90  # characters of a question in the list of items; its id follows, so that it can be searched


@dataclass(frozen=True)
class Picked:
    """The item on the table, its dataset and its clip; `hidden` while a sealed item's gold is not shown."""

    dataset: Dataset
    item: Item
    clip: ClipView
    hidden: bool


def pick() -> Picked | None:
    """Draw the list of items and its row of actions; None if there is no dataset at all."""
    names = [row.name for row in list_datasets(session.workspace()) if not row.problem and row.items]
    if not names:
        st.info("There is no dataset yet. Import one with `audioreason data import`, then reload this page.")
        return None
    data = session.dataset(_chosen_dataset(names))
    sealed = _sealed(data)
    items = _filtered(data, sealed)
    current = _current(data, items)
    if current.id not in {item.id for item in items}:
        items = [current, *items]  # a deep link leads to an item that the filter hides
    by_id = {item.id: item for item in items}
    st.session_state["item"] = current.id
    st.selectbox(
        "Item",
        list(by_id),
        key="item",
        format_func=lambda item_id: _line(by_id[item_id]),
        label_visibility="collapsed",
        on_change=_picked,
        args=(data.info.name,),
    )
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        _random(data, items)
        _filter(data, names, sealed)
        _own(data, current)
        st.space("stretch")
        _pin(data, current)
    return Picked(data, current, clip_view(data, current), _hidden(data, current, sealed))


def go_to(dataset: str, item_id: str) -> None:
    """Put an item on the table; the list follows at the next run."""
    st.query_params["dataset"] = dataset
    st.query_params["item"] = item_id
    for name in [name for name in st.query_params if name not in ("dataset", "item", "prompt", "mode")]:
        del st.query_params[name]


def show_gold(picked: Picked) -> None:
    """Offer to show a sealed item's gold; doing so is recorded."""
    if picked.hidden and st.button(
        "Show gold",
        key="show_gold",
        type="tertiary",
        icon=":material/lock_open:",
        help="This item is in the sealed half. Looking at its answer is recorded, because tuning on what one "
        "has seen overfits by hand.",
    ):
        note_opened(session.workspace(), picked.dataset.info.name, picked.item.id)
        st.rerun()


def _chosen_dataset(names: list[str]) -> str:
    wanted = st.query_params.get("dataset") or st.session_state.get("dataset_kept")
    chosen = wanted if wanted in names else (_DEFAULT if _DEFAULT in names else names[0])
    if wanted and wanted != chosen and "dataset" in st.query_params:
        st.toast(
            f"There is no dataset {plain(wanted[:80])}; {plain(chosen)} is shown.", icon=":material/error:"
        )
        st.query_params.pop("item", None)
    st.session_state["dataset_kept"] = chosen
    return chosen


def _current(data: Dataset, items: list[Item]) -> Item:
    wanted = st.query_params.get("item") or st.session_state.get("item_kept")
    if wanted and wanted in data:
        current = data[wanted]
    elif wanted and "item" in st.query_params:
        st.toast(f"The dataset {data.info.name} has no item {plain(wanted[:80])}.", icon=":material/error:")
        current = (items or list(data.items))[0]
    else:
        current = (items or list(data.items))[0]
    st.session_state["item_kept"] = current.id
    if st.query_params.get("item") != current.id or st.query_params.get("dataset") != data.info.name:
        st.query_params["dataset"] = data.info.name
        st.query_params["item"] = current.id
    return current


def _picked(dataset: str) -> None:
    # a list first drawn by an interrupted run reports itself as changed: the answers on screen must stay
    if st.session_state["item"] != st.session_state.get("item_kept"):
        go_to(dataset, st.session_state["item"])


def _sealed(data: Dataset) -> frozenset[str]:
    if data.info.kind != "benchmark":
        return frozenset()
    return frozenset(item_id for item_id, name in split_of(data).items() if name == "sealed")


def _hidden(data: Dataset, item: Item, sealed: frozenset[str]) -> bool:
    return item.id in sealed and item.id not in opened(session.workspace(), data.info.name)


def hidden(dataset: str, item_id: str) -> bool:
    """Whether an item is sealed and nobody has opened it; an item that is gone hides nothing."""
    try:
        data = session.dataset(dataset)
        return item_id in data and _hidden(data, data[item_id], _sealed(data))
    except ItemError:
        return False


def _filtered(data: Dataset, sealed: frozenset[str]) -> list[Item]:
    chosen = set(st.session_state.get("filter_subcategory") or ())
    pinned = set(pins(session.workspace(), data.info.name)) if st.session_state.get("filter_pinned") else None
    with_sealed = bool(st.session_state.get("filter_sealed"))
    return [
        item
        for item in data.items
        if (not chosen or (item.subcategory or "none") in chosen)
        and (pinned is None or item.id in pinned)
        and (with_sealed or item.id not in sealed)
    ]


def filtered(data: Dataset) -> list[Item]:
    """The items of a dataset that the filter lets through, sealed ones only if it says so."""
    return _filtered(data, _sealed(data))


def _line(item: Item) -> str:
    question = " ".join(item.question[:400].split())
    shown = question if len(question) <= _LABEL else f"{question[:_LABEL]}…"
    return " · ".join(part for part in (item.subcategory, shown, item.id) if part).replace("\0", "�")


def _random(data: Dataset, items: list[Item]) -> None:
    options: dict[str, str | None] = {"Any item": None}
    runs = session.runs()
    here = runs[(runs["dataset"] == data.info.name) & (runs["recorded"] > 0)].head(6)
    for run in here.itertuples(index=False):
        options[f"Failure of {run.run_id}"] = str(run.run_id)
    chosen = st.menu_button(
        "Random", list(options), key="random", type="tertiary", icon=":material/casino:", format_func=plain
    )
    if chosen is None:
        return
    run_id = options[chosen]
    if run_id is None:
        if items:
            go_to(data.info.name, random.choice(items).id)
    elif (item_id := _failure(run_id)) is not None:
        go_to(data.info.name, item_id)
    else:
        st.toast("That run has no failure to show.")
        return
    st.rerun()


def _failure(run_id: str) -> str | None:
    where = Filter(runs=(run_id,), strict=False)
    if st.session_state.get("filter_sealed") is not True:
        where = Filter(runs=(run_id,), strict=False, part=_open_parts(run_id))
    total = session.catalog().predictions(where, limit=1).total
    if not total:
        return None
    page = session.catalog().predictions(where, limit=1, offset=random.randrange(total))
    return str(page.rows["item_id"].iloc[0])


def _open_parts(run_id: str) -> tuple[str, ...]:
    parts = session.catalog().accuracy_by(run_id, "part")["group"]
    return tuple(str(part) for part in parts if part != "sealed")


def _filter(data: Dataset, names: list[str], sealed: frozenset[str]) -> None:
    active = any(st.session_state.get(f"filter_{name}") for name in ("subcategory", "pinned", "sealed"))
    with st.popover(
        "Filter", type="tertiary", icon=":material/filter_list:" if not active else ":material/filter_alt:"
    ):
        st.selectbox(
            "Dataset",
            names,
            index=names.index(data.info.name),
            key="dataset_choice",
            on_change=_other_dataset,
        )
        groups = sorted({item.subcategory or "none" for item in data.items})
        st.multiselect("Subcategory", groups, key="filter_subcategory", format_func=lambda name: name[:60])
        st.toggle("Pinned only", key="filter_pinned")
        if sealed:
            st.toggle(
                "Sealed half too", key="filter_sealed", help="Their gold answers stay hidden until asked for."
            )


def _other_dataset() -> None:
    name = st.session_state["dataset_choice"]
    if name == st.session_state.get("dataset_kept"):
        return
    st.session_state["filter_subcategory"] = []
    first = session.dataset(name).items[0]
    go_to(name, first.id)
    st.session_state["item_kept"] = first.id


def _own(data: Dataset, current: Item) -> None:
    with st.popover("Own clip", type="tertiary", icon=":material/mic:", key="own_clip"):
        recorded = st.audio_input("Record", key="own_recording", sample_rate=48_000)
        uploaded = st.file_uploader("or upload", key="own_upload", type=_SOUNDS, max_upload_size=256)
        asked = st.text_input("Question", key="own_question")
        lines = st.text_area("Choices, one a line", key="own_choices", height=116) or ""
        choices = [line.strip() for line in lines.splitlines() if line.strip()]
        gold = st.selectbox("Right answer", ["not known", *choices], key="own_gold")
        st.markdown(
            ":small[:gray[It stays in this workspace, and goes to the endpoint when it is asked about.]]"
        )
        sound = recorded or uploaded
        if st.button("Keep it and ask", key="own_keep", type="primary", disabled=sound is None) and sound:
            answer = None if gold == "not known" else gold
            try:
                item = add_own_item(
                    session.workspace(), sound.getvalue(), sound.name, asked or "", choices, answer
                )
            except ItemError as error:
                st.error(plain(str(error)))
                return
            go_to(OWN, item.id)
            st.rerun()
        if data.info.name == OWN and st.button(
            "Delete this clip", key="own_delete", icon=":material/delete:", help="With every answer about it."
        ):
            forget_own_item(session.workspace(), current.id)
            st.query_params.clear()
            st.session_state.pop("dataset_kept", None)
            st.session_state.pop("item_kept", None)
            st.rerun()


def _pin(data: Dataset, item: Item) -> None:
    pinned = item.id in pins(session.workspace(), data.info.name)
    label, icon = ("Pinned", ":material/keep:") if pinned else ("Pin", ":material/keep_off:")
    if st.button(label, key="pin", type="tertiary", icon=icon):
        set_pin(session.workspace(), data.info.name, item.id, not pinned)
        st.rerun()
