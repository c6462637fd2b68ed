"""The middle of the playground: a prompt's text, what exactly would be sent, its changes and its history."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import pandas as pd
import streamlit as st

from app import session
from app.playground.evaluation import evaluate
from app.playground.picker import Picked
from app.playground.variant import IN_USE, Variant, prompt_names
from app.session import plain
from app.widgets.text import changes
from app.widgets.text import text as verbatim
from app.words import when
from audioreason.errors import PromptError
from audioreason.inference.endpoint import load_endpoints
from audioreason.prompts import (
    Prompt,
    check,
    decode_prompt,
    diff,
    dump_prompt,
    flag_special_tokens,
    parse_prompt,
    remarks,
)
from audioreason.runs.desk import SavedVersion, save_prompt, versions
from audioreason.runs.rendering import render_for


def choose_prompt(variant: Variant, width: int | Literal["stretch"] = "stretch") -> None:
    """The list of prompts; opening one keeps the edits of the one before."""

    current = str(variant.value("prompt"))
    mark = f"{current} · {'edited' if variant.edited() else variant.prompt().version[:4]}"
    labels = {mark if name == current else name: name for name in prompt_names()}
    # the list shows the state of the text, so a new state is a new list
    picking = f"{variant.key('prompt')}_{mark}"

    def opened() -> None:
        name = labels[st.session_state[picking]]
        if name == variant.value(
            "prompt"
        ):  # a list first drawn by an interrupted run reports itself as changed
            return
        variant.open_prompt(name)
        variant.keep_settings()
        st.query_params["prompt"] = name

    st.selectbox(
        "Prompt",
        list(labels),
        index=list(labels).index(mark),
        key=picking,
        label_visibility="collapsed",
        on_change=opened,
        width=width,
    )


def save(variant: Variant) -> None:
    """The popover that saves the text as a version of its prompt or as a new one, and moves `.md` files."""
    with st.popover("Save", key=variant.key("save")):
        base = variant.base()
        name = st.text_input("Name", value=base.name, key=variant.key("save_as"))
        note = st.text_input("Note", key=variant.key("save_note"), placeholder="what changed and why")
        same = name == base.name
        if st.button(
            "Save version" if same else "Save as new prompt", key=variant.key("save_now"), type="primary"
        ):
            _save(variant, name or base.name, note)
        st.download_button(
            "Download .md", dump_prompt(variant.prompt()), f"{base.name}.md", "text/markdown", width="stretch"
        )
        file = st.file_uploader("Import .md", type="md", key=variant.key("import"))
        if file is not None and st.button("Open in the editor", key=variant.key("import_now")):
            try:
                variant.show_text(parse_prompt(decode_prompt(file.getvalue(), file.name), base.name))
            except PromptError as error:
                st.error(plain(str(error)))
                return
            st.rerun()


def _save(variant: Variant, name: str, note: str) -> None:
    base, text = variant.base(), variant.prompt()
    change: dict[str, Any] = {
        "name": name,
        "parent": base.name if name != base.name else base.parent,
        "aliases": (),
    }
    if name == base.name:
        change["aliases"] = base.aliases
    try:
        saved = save_prompt(session.workspace(), Prompt(**(text.model_dump() | change)), note)
    except (PromptError, ValueError):
        st.error("A name has lower-case letters, digits, dots, dashes and underscores, at most 80.")
        return
    variant.open_prompt(name)
    variant.show_text(saved.prompt)
    st.toast(f"Saved {plain(name)} {saved.version[:4]}.")
    st.rerun()


def edit(variant: Variant, picked: Picked) -> None:
    """The tabs: edit, rendered, changes, history. Only the open one is drawn, so that the page opens fast."""
    tabs = st.tabs(["Edit", "Rendered", "Diff", "History"], key="editor_tabs", on_change="rerun")
    problem = problem_of(variant, picked)
    draw = (_edit, _rendered, _changes, _history)
    for tab, content in zip(tabs, draw, strict=True):
        if tab.open:
            with tab:
                content(variant, picked, problem)


def _edit(variant: Variant, picked: Picked, problem: PromptError | None) -> None:
    texts(variant, 106, 360)
    _state_of_text(variant, picked, problem)
    sampling(variant)


def texts(variant: Variant, system: int, user: int) -> None:
    """The two editors, `system` and `user` px high including their labels."""
    for field, height in (("system", system), ("user", user)):
        st.text_area(
            field.capitalize(),
            variant.start(field),
            key=variant.key(field),
            height=height,
            on_change=variant.text_changed,
            args=(field,),
        )


def sampling(variant: Variant, repeated: bool = False) -> None:
    """Numbers that decide how answers are drawn; an empty field leaves the choice to the server.

    With `repeated` the view asks each variant several times itself, so the number of samples is left out.
    """
    columns = st.columns([1, 1, 1, 1.15, 0.62], gap="small", vertical_alignment="bottom")
    with columns[0]:
        _number(variant, "temperature", "Temperature", 0.0, 2.0, 0.1)
    with columns[1]:
        _number(variant, "top_p", "Top p", 0.01, 1.0, 0.05)
    with columns[2]:
        if repeated:
            _number(variant, "top_k", "Top k", -1, 1000, 1)
        else:
            _number(variant, "samples", "Samples", 1, 16, 1)
    with columns[3]:
        _number(variant, "max_tokens", "Max tokens", 1, 65_536, 256)
    with columns[4].popover(
        "", icon=":material/tune:", help="More sampling, and who is asked", width="stretch"
    ):
        more_sampling(variant, with_top_k=not repeated)


def more_sampling(variant: Variant, with_top_k: bool = True) -> None:
    """The rarer fields: who is asked, top k, min p, penalties, seed, stop texts."""
    names = [IN_USE, *(endpoint.name for endpoint in load_endpoints(session.workspace()))]
    chosen = variant.value("endpoint")
    st.selectbox(
        "Endpoint",
        names,
        index=names.index(chosen) if chosen in names else 0,
        key=variant.key("endpoint"),
        on_change=variant.setting_changed,
        args=("endpoint",),
    )
    left, right = st.columns(2)
    with left:
        if with_top_k:
            _number(variant, "top_k", "Top k", -1, 1000, 1)
        _number(variant, "repetition_penalty", "Repetition penalty", 0.5, 2.0, 0.05)
        _number(variant, "no_repeat_ngram_size", "No repeated n-grams of", 1, 1000, 1)
    with right:
        _number(variant, "min_p", "Min p", 0.0, 1.0, 0.01)
        _number(variant, "seed", "Seed", 0, 2**31 - 1, 1, "new each run")
    st.text_area(
        "Stop texts",
        value=variant.start("stop"),
        placeholder="one a line",
        help="An answer ends where one of them would come.",
        height=68,
        key=variant.key("stop"),
        on_change=variant.setting_changed,
        args=("stop",),
    )


def _number(
    variant: Variant, field: str, label: str, low: float, high: float, step: float, unset: str = "off"
) -> None:
    st.number_input(
        label,
        low,
        high,
        value=variant.start(field),
        step=step,
        placeholder=unset,
        key=variant.key(field),
        on_change=variant.setting_changed,
        args=(field,),
    )


def problem_of(variant: Variant, picked: Picked) -> PromptError | None:
    """Why the text cannot be filled in for the item; None if it can."""
    try:
        render_for(variant.prompt(), picked.item)
    except PromptError as error:
        return error
    return None


def _state_of_text(variant: Variant, picked: Picked, problem: PromptError | None) -> None:
    if problem is not None:
        st.markdown(f":small[:red[{plain(problem.message)}] :gray[{plain(problem.hint)}]]")
        return
    for said in remarks(variant.prompt()):
        st.markdown(f":small[:orange[{plain(said)}]]")
    text = render_for(variant.prompt(), picked.item)
    used = " ".join(f"`{name}`" for name in check(variant.prompt())) or "no variable"
    words = f"{len(text.system) + len(text.user):,} characters + {picked.clip.seconds:.1f} s of sound"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":small[{used} :gray[· {words}]]", width="content")
        st.space("stretch")
        evaluate(variant, picked)


def _rendered(variant: Variant, picked: Picked, problem: PromptError | None) -> None:
    if problem is not None:
        st.markdown(f":red[{plain(str(problem))}]")
        return
    text = render_for(variant.prompt(), picked.item)
    for title, body, height in (("system", text.system, 130), ("user", text.user, 300)):
        if title == "user":
            sound = (
                f"{picked.clip.seconds:.2f} s, 16 kHz mono" if picked.clip.url else "no clip: nothing is sent"
            )
            st.markdown(f":small[:gray[user, part 1: the clip, {sound}]]")
        st.markdown(f":small[:gray[{'system' if title == 'system' else 'user, part 2: the text'}]]")
        verbatim(body or "(nothing is sent)", key=variant.key(f"rendered_{title}"), height=height)
    flagged = flag_special_tokens(text.system + text.user)
    if flagged:
        names = plain(", ".join(flagged))
        st.markdown(f":small[:orange[{names}] :gray[would be a control token to a careless server.]]")


def _changes(variant: Variant, picked: Picked, problem: PromptError | None) -> None:
    lines = diff(variant.base(), variant.prompt())
    if not lines:
        st.markdown(f":gray[Nothing differs from {plain(variant.base().name)} {variant.base().version[:4]}.]")
        return
    changes(lines, key=variant.key("changes"), height=480)
    if st.button("Discard changes", key=variant.key("discard"), type="tertiary", icon=":material/undo:"):
        variant.show_text(variant.base())
        st.rerun()


def _history(variant: Variant, picked: Picked, problem: PromptError | None) -> None:
    base = variant.base()
    saved = versions(session.workspace(), base.name)
    if base.version not in {version.version for version in saved}:
        saved = [*saved, SavedVersion(base, "as it came", 0.0)]
    runs = session.runs()
    mine = runs[runs["prompt"] == base.name]
    rows = []
    for version in saved:
        of_version = mine[mine["prompt_version"] == version.version]
        best = of_version.sort_values("created").tail(1)
        rows.append(
            {
                "Version": version.version[:4],
                "Saved": when(datetime.fromtimestamp(version.created)) if version.created else "",
                "Runs": len(of_version),
                "Accuracy": None if best.empty else 100 * best["strict"].iloc[0],
                "Note": version.note,
            }
        )
    frame = pd.DataFrame(rows)
    chosen = st.dataframe(
        frame,
        hide_index=True,
        row_height=28,
        height=min(460, 38 + 28 * len(frame)),
        placeholder="",
        on_select="rerun",
        selection_mode="single-cell",
        key=variant.key("history"),
        column_config={
            "Version": st.column_config.TextColumn(width=64),
            "Saved": st.column_config.TextColumn(width=84),
            "Runs": st.column_config.NumberColumn(width=48),
            "Accuracy": st.column_config.NumberColumn(format="%.1f%%", width=76),
        },
    )
    cells = chosen["selection"]["cells"]
    if not cells:
        st.markdown(":small[:gray[Click a version to compare it with the editor.]]")
        return
    version = saved[cells[0][0]]
    lines = diff(variant.prompt(), version.prompt)
    changes(lines or ["the same text"], key=variant.key("version_changes"), height=240)
    if lines and st.button("Revert to this version", key=variant.key("revert"), icon=":material/history:"):
        variant.show_text(version.prompt)
        st.rerun()
