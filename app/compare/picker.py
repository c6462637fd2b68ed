"""The header of the Compare page: runs, baseline, score, split, errata. Every choice lives in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd
import streamlit as st

from app import session
from app.compare import address, look
from app.compare.address import Asked, Score
from app.compare.runlist import Entry, runlist
from app.compare.words import percent
from app.session import plain
from app.theme import palette
from app.widgets.runs import matching, most_runs, run_book, run_tags
from app.words import when
from audioreason.errors import LabError
from audioreason.runs import load_record, records
from audioreason.wording import counted

_SHOWN = 500  # runs in the list


@dataclass(frozen=True)
class Settings:
    """How the runs are compared."""

    score: Score
    split: str
    without_errata: bool


def names(runs: Sequence[str]) -> dict[str, str]:
    """What each run is called: its prompt, with what tells it from others of that name."""
    table = session.runs()
    rows = table[table["run_id"].isin(runs)].set_index("run_id")
    called = {one: _name(rows.loc[one]) for one in runs if one in rows.index}
    for more in (_dataset, _variant, _version, _model, _time):
        groups: dict[str, list[str]] = {}
        for one, name in called.items():
            groups.setdefault(name, []).append(one)
        for name, members in groups.items():
            words = {one: more(rows.loc[one]) for one in members}
            if len(set(words.values())) > 1:
                called |= {one: f"{name} {word}".strip() for one, word in words.items()}
    return called


def _name(row: pd.Series) -> str:
    return _known(row["prompt"]) or str(row.name)


def _dataset(row: pd.Series) -> str:
    return str(row["dataset"])


def _variant(row: pd.Series) -> str:
    """What was done to the question: no real clip, or another order of the choices."""
    heard = f"({row['ablation']})" if _known(row["ablation"]) else ""
    permutation = load_record(session.workspace(), str(row.name)).permutation
    order = "" if permutation is None else f"order {permutation}"
    return f"{heard} {order}".strip()


def _version(row: pd.Series) -> str:
    return _known(row["prompt_version"])[:4]


def _model(row: pd.Series) -> str:
    return _known(row["model"])


def _time(row: pd.Series) -> str:
    return str(row.name)[:13]


def _known(value: object) -> str:
    return value if isinstance(value, str) else ""


def choose_runs(asked: Asked) -> None:
    """The popover with all runs."""
    total = len(asked.named)
    label = "Choose runs" if not total else "1 run" if total == 1 else f"{total} runs"
    most = most_runs(palette())
    with st.popover(label, icon=":material/checklist:", key="compare_runs"):
        many, text = len(session.runs()) > _SHOWN, ""
        if many:  # more than a page can hold: what is searched for is asked of the table
            text = st.text_input(
                "Find a run",
                key="compare_find_run",
                placeholder=f"Find among {len(session.runs()):,} runs by prompt, dataset, model, tag or id",
                icon=":material/search:",
                label_visibility="collapsed",
            )
        clicked = runlist(
            _entries(asked, text), asked.named, key="compare_runlist", full=total >= most, search=not many
        )
        st.markdown(f":small[:gray[At most {most} runs, so that each keeps a colour of its own.]]")
        if asked.named:
            _tags(asked)
    if clicked is not None:
        kept = [one for one in asked.named if one != clicked]
        address.choose_runs(kept if clicked in asked.named else [*asked.named, clicked][:most])
        st.rerun()


def _tags(asked: Asked) -> None:
    """The tags of the chosen runs; each change is kept at once."""
    called, known = names(asked.named), run_tags()
    options = sorted({tag for tags in known.values() for tag in tags})
    st.markdown(":small[:gray[Tags, which the search finds]]")
    for run_id in asked.named:
        name, tags = st.columns([1, 1.7], vertical_alignment="center", gap="small")
        name.markdown(plain(called[run_id]))
        st.session_state[f"compare_tags_{run_id}"] = list(known.get(run_id, ()))
        tags.multiselect(
            f"Tags of {called[run_id]}",
            options,
            key=f"compare_tags_{run_id}",
            accept_new_options=True,
            placeholder="such as paper or draft",
            label_visibility="collapsed",
            on_change=_keep_tags,
            args=(run_id,),
        )


def _keep_tags(run_id: str) -> None:
    wanted, before = set(st.session_state[f"compare_tags_{run_id}"]), set(run_tags().get(run_id, ()))
    try:
        for tag in sorted(wanted ^ before):
            run_book().tag_run(run_id, tag, tag in wanted)
    except LabError as error:
        st.toast(plain(str(error)))


def _entries(asked: Asked, text: str) -> list[Entry]:
    """The runs that a search finds: those of the dataset in question first, then the others, newest first."""
    table = session.runs()
    if text:
        table = table[table["run_id"].isin([one["run_id"] for one in matching(records(table), text)])]
    here = set(table.loc[table["run_id"].isin(asked.named), "dataset"])
    table = table.assign(elsewhere=~table["dataset"].isin(here)) if here else table.assign(elsewhere=False)
    rows = table.sort_values("elsewhere", kind="stable").head(_SHOWN)
    entries, tagged = [], run_tags()
    for row in rows.itertuples(index=False):
        run_id, version = str(row.run_id), _known(row.prompt_version)[:4]
        name = f"{_known(row.prompt) or run_id} {version}".strip()
        about = " · ".join(
            part for part in (str(row.dataset), _known(row.model), counted(int(row.rated), "item")) if part
        )
        tags = tagged.get(run_id, ())
        words = " ".join(
            (run_id, name, about, str(row.status), _known(row.split), _known(row.ablation), *tags)
        )
        accuracy = "" if pd.isna(row.strict) else percent(float(row.strict))
        entries.append(Entry(run_id, name, about, accuracy, when(str(row.created)), words, tags))
    return entries


def choose_baseline(asked: Asked, called: dict[str, str]) -> None:
    """What the others are compared with."""
    if not asked.baseline:
        return
    options = {one: f"against {called[one]}" for one in asked.runs}
    address.select("Baseline", "baseline", options, asked.runs[0], width=210)


def choose_settings(asked: Asked, errata: bool) -> Settings:
    """Score, split and, where they make a difference, errata."""
    score = address.segments("Score", "score", {"strict": "Strict", "official": "Official"}, "strict")
    splits = (
        {"full": "full", **{name: name for name in look.parts(asked.runs)}}
        if asked.runs
        else {"full": "full"}
    )
    split = address.select("Split", "split", splits, "full", width=104)
    if not errata:
        return Settings(cast(Score, score), split, False)
    marked = look.errata(asked.runs) if asked.runs else 0
    without = address.toggle(
        f"Without errata ({marked})",
        "errata",
        disabled=not marked,
        help="Leave out the items that were marked wrong or ambiguous."
        if marked
        else "No item of this dataset has been marked wrong or ambiguous.",
    )
    return Settings(cast(Score, score), split, without)


def newest_pair() -> tuple[str, str] | None:
    """The two newest runs with scores on one dataset, the older one first; None if there are none."""
    table = session.runs()
    scored = table[(table["rated"] > 0) & (table["kind"] != "playground")]
    for _, rows in scored.groupby("dataset", sort=False):
        if len(rows) > 1:
            newest, older = (str(one) for one in rows["run_id"].head(2))
            return older, newest
    return None


def say_left_out(asked: Asked) -> None:
    """Say which runs of the address are not compared, and why."""
    for runs, one, more in (
        (
            asked.unknown,
            "There is no run {} in this workspace; it was left out.",
            "There are no runs {} in this workspace; they were left out.",
        ),
        (
            asked.unscored,
            "The run {} has no scored answer yet; it was left out.",
            "The runs {} have no scored answer yet; they were left out.",
        ),
    ):
        if runs:
            shown = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
            sentence = (one if len(runs) == 1 else more).format(shown[:400])
            st.markdown(f":orange[{plain(sentence)}]")
