"""The Home page's parts: the latest runs, what is going on now, what to do first."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import session
from app.navigation import page
from app.playground.picker import hidden
from app.session import plain
from app.theme import palette
from app.widgets.charts import leaderboard
from app.widgets.line import line
from app.widgets.rows import Column, Tone, rows
from app.widgets.runs import matching, say_newest
from app.words import when
from audioreason.errors import LabError
from audioreason.items import list_datasets
from audioreason.runs import (
    archive_runs,
    archived_runs,
    delete_runs,
    records,
    references,
    restore_runs,
)
from audioreason.wording import counted

_ROWS = 14
_MANAGED = 200  # runs in the table of those that can be archived and deleted
_LATELY = (
    Column("Prompt", "minmax(0, 1.2fr)"),
    Column("Question", "minmax(0, 1.4fr)"),
    Column("Choice"),
    Column("When", "76px"),
)
_DATASETS = (
    Column("Dataset"),
    Column("Kind"),
    Column("Items", "72px", number=True),
    Column("Clips", "72px", number=True),
)


def choose_dataset() -> str | None:
    """Which dataset's runs are shown: accuracies on different items are not comparable."""
    counts = session.runs()["dataset"].value_counts()
    if counts.empty:
        return None
    names = list(counts.index)
    if len(names) == 1:
        st.markdown(f"**{plain(names[0])}** :gray[{_count(int(counts.iloc[0]))}]", width="content")
        return str(names[0])
    chosen = st.segmented_control(
        "Dataset",
        names[:6],
        default=names[0],
        required=True,
        key="dataset",
        bind="query-params",
        label_visibility="collapsed",
        format_func=lambda name: f"{name} {counts[name]}",
    )
    return str(chosen)


@st.dialog("Runs", width="large", on_dismiss="rerun")
def manage_runs() -> None:
    """Archive, restore and delete runs, several at once."""
    archived = st.segmented_control(
        "Which runs", ["Listed", "Archived"], default="Listed", required=True, key="manage_which",
        label_visibility="collapsed",
    ) == "Archived"  # fmt: skip
    text = st.text_input(
        "Find a run",
        key="manage_find",
        placeholder="Find a run by prompt, dataset, model, tag or id",
        icon=":material/search:",
        label_visibility="collapsed",
    )
    if archived:
        names = archived_runs(session.workspace())
        found = [one for one in names if all(word in one.casefold() for word in text.casefold().split())]
    else:
        found = [str(one["run_id"]) for one in matching(records(session.runs()), text)]
    ids = found[:_MANAGED]
    frame = pd.DataFrame({"Run": ids}) if archived else _managed(ids)
    turn = st.session_state.get("manage_turn", 0)  # a table of another name has nothing selected
    picked = st.dataframe(
        frame,
        hide_index=True,
        row_height=28,
        height=300,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"manage_table_{archived}_{text}_{turn}",
        column_config={"Strict": st.column_config.NumberColumn(format="%.1f%%")},
    ).selection.rows
    say_newest(_MANAGED, len(found))
    _manage([ids[place] for place in picked if place < len(ids)], archived)


def _managed(ids: list[str]) -> pd.DataFrame:
    table = session.runs().set_index("run_id").reindex(ids)
    return pd.DataFrame(
        {
            "Run": ids,
            "Dataset": list(table["dataset"]),
            "Items": list(table["n"]),
            "Strict": list(100 * table["strict"]),
            "When": [_note(str(row.created), str(row.status)) for row in table.itertuples(index=False)],
        }
    )


def _manage(chosen: list[str], archived: bool) -> None:
    """The buttons below the table; what cannot be taken back, or is referred to, is asked about."""
    many = counted(len(chosen), "run")
    acts = {"Restore": restore_runs} if archived else {"Archive": archive_runs}
    acts["Delete"] = delete_runs
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.markdown(f"**{many}** :gray[selected]" if chosen else ":gray[Select runs in the first column.]")
        st.space("stretch")
        for act in acts:
            if st.button(f"{act} {many}" if chosen else act, disabled=not chosen, key=f"manage_{act}"):
                st.session_state["manage_asked"] = (act, chosen)
    act, asked = st.session_state.get("manage_asked", ("", []))
    if not chosen or act not in acts or asked != chosen:
        return
    with st.spinner("Looking for what refers to them …"):
        found = references(session.workspace(), chosen)
    for sentence in found:
        st.markdown(f":orange[{plain(sentence)}]")
    what = {
        "Archive": "No list shows an archived run; it can be restored.",
        "Delete": "This cannot be undone.",
    }
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.markdown(f"**{act} {many}?** :gray[{what.get(act, '')}]")
        st.space("stretch")
        cancelled = st.button("Cancel", key="manage_cancel")
        if not st.button(f"{act} {many} now", key="manage_confirm", type="primary") and not cancelled:
            return
    del st.session_state["manage_asked"]
    if not cancelled:
        try:
            acts[act](session.workspace(), chosen)
        except LabError as error:
            st.error(plain(str(error)))
            return
        session.catalog().refresh()
        session.runs_changed()
        st.session_state["manage_turn"] = st.session_state.get("manage_turn", 0) + 1
    st.rerun(scope="fragment")


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"


def latest_runs(dataset: str | None) -> None:
    """The latest runs on a dataset, with intervals."""
    runs = session.runs()
    here = runs[(runs["dataset"] == dataset) & runs["strict"].notna()].head(_ROWS)
    if here.empty:
        first_steps()
        return
    st.markdown(":small[:gray[Latest runs: strict accuracy, 95% interval, items, when; a click opens one]]")
    frame = pd.DataFrame(
        {
            "run_id": list(here["run_id"]),
            "label": labels_of(here),
            "accuracy": here["strict"],
            "low": here["strict_low"],
            "high": here["strict_high"],
            "n": here["rated"],
            "note": [_note(str(row.created), str(row.status)) for row in here.itertuples(index=False)],
        }
    )
    chart = leaderboard(frame, palette())
    chosen = st.altair_chart(
        chart, width="stretch", key="latest_runs", on_select="rerun", selection_mode="run"
    )
    if picked := chosen.selection.get("run"):
        st.switch_page(page("errors"), query_params={"run": str(picked[0]["run_id"])})
    problems = session.catalog().problems()
    if problems:
        st.markdown(f":small[:red[{plain(problems[0])}] :gray[{_more(len(problems))}]]")


def labels_of(runs: pd.DataFrame) -> list[str]:
    """Prompt and version, or the id of imported answers; the model where runs differ in it; a number where
    nothing else does."""
    models = runs["model"].nunique() > 1
    seen: dict[str, int] = {}
    labels = []
    for row in runs.astype(object).where(runs.notna(), None).itertuples(index=False):
        prompt = f"{row.prompt!s} {str(row.prompt_version or '')[:4]}".strip()
        name = prompt if row.prompt else str(row.run_id)
        if models and row.model:
            name = f"{name} · {row.model!s}"
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return labels


def _note(created: str, status: str) -> str:
    return when(created) if status == "finished" else f"{when(created)} {status}"


def _more(count: int) -> str:
    return f"and {count - 1} more" if count > 1 else ""


def first_steps() -> None:
    """What to do in a workspace without runs."""
    st.markdown("**Nothing has been run in this workspace yet.**")
    st.page_link(page("playground"), label="Ask the model one question", icon=":material/arrow_forward:")
    st.markdown(":gray[Hear the clip, edit the prompt, watch the answer come.]")
    st.markdown("**Then evaluate a prompt on every question**")
    line("audioreason eval --dataset soundcheck --prompt structured-reasoning", key="first_command")
    st.page_link(page("settings"), label="Choose another model", icon=":material/arrow_forward:")
    st.markdown(":gray[The embedded one is small: it shows that everything works. A large one goes to vLLM.]")


def lately() -> None:
    """The latest playground generations."""
    frame = session.catalog().playground(limit=9)
    st.markdown(":small[:gray[Lately in the playground]]")
    if frame.empty:
        st.markdown(":gray[Nothing yet.]")
        return
    known = frame.astype(object).where(frame.notna(), None)
    cells: list[tuple[str, ...]] = []
    tones: list[tuple[Tone, ...]] = []
    for row in known.itertuples(index=False):
        choice = str(row.choice_text or str(row.outcome).replace("_", " "))
        name = f"{row.prompt} {str(row.prompt_version)[:4]}"
        cells.append((name, str(row.question), choice, when(str(row.created))))
        good = row.strict if row.choice_text and not hidden(str(row.dataset), str(row.item_id)) else None
        mark: Tone = "" if good is None else "right" if good else "wrong"
        tones.append(("", "", mark, ""))
    clicked = rows(_LATELY, cells, key="lately", clickable=True, tones=tones)
    if clicked is not None:
        chosen = {name: str(known[name].iloc[clicked] or "") for name in ("dataset", "item_id", "id")}
        query = {"dataset": chosen["dataset"], "item": chosen["item_id"], "g": chosen["id"]}
        st.switch_page(page("playground"), query_params=query)


def datasets() -> None:
    """What there is to ask about."""
    st.markdown(":small[:gray[Datasets]]")
    known = list_datasets(session.workspace())
    cells = [(row.name, row.kind, f"{row.items:,}", f"{row.clips:,}") for row in known]
    rows(_DATASETS, cells, key="datasets", height=220)
    for row in known:
        if row.problem:
            st.markdown(f":small[:red[{plain(row.problem)}]]")
