"""A run as a submission: whether it is valid, what is wrong with it, and its files; files from elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import session
from app.challenge import look
from app.challenge.look import Run
from app.errors.words import percent
from app.session import plain
from audioreason.challenge import FILE_NAMES, MOST_CHARACTERS, Checked, Problem, check_submission
from audioreason.errors import LabError

_LEVELS = {"error": ":red[error]", "warning": ":orange[warning]"}
_SHOWN = 12  # problems


def submission(run: Run) -> None:
    """Draw whether the run can be handed in, why not, and the files."""
    shorten = bool(st.session_state.get("challenge_shorten"))
    try:
        count = int(run["samples"] or 1)
        sample = _sample(run, count) if count > 1 else None
        if count > 1 and sample is None:
            _elsewhere(run)
            return
        made = look.submission(run, sample, shorten)
    except LabError as error:
        st.markdown(f"**This run cannot be handed in.** {plain(error.message)} :gray[{plain(error.hint)}]")
        _elsewhere(run)
        return
    checked = made.checked
    if checked.valid:
        st.markdown(f"**This run can be handed in** as a submission to {plain(str(run['dataset']))}.")
    else:
        st.markdown("**This run cannot be handed in as it is.**")
    _figures(checked)
    _problems(checked.problems)
    if shorten or any(
        one.level == "error" and one.where == "thinking_prediction" for one in checked.problems
    ):
        st.toggle(
            f"Cut the middle out of reasoning of more than {MOST_CHARACTERS:,} characters",
            key="challenge_shorten",
            help="The challenge refuses longer reasoning. Answers stay as they are.",
        )
    if checked.valid:
        name = f"{run['run_id']}-submission" + (f"-sample{sample}" if sample is not None else "")
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            inside = st.selectbox(
                "File in the zip", FILE_NAMES, key="challenge_inside", width=170, label_visibility="collapsed"
            )
            st.download_button(
                "Submission (zip)", made.packed(inside), f"{name}.zip", "application/zip",
                key="challenge_zip", icon=":material/download:", on_click="ignore",
            )  # fmt: skip
            st.download_button(
                "JSONL", made.jsonl, f"{name}.jsonl", "application/jsonl",
                key="challenge_jsonl", icon=":material/download:", on_click="ignore", type="tertiary",
            )  # fmt: skip
    _elsewhere(run)


def _sample(run: Run, count: int) -> int | None:
    """Which sample of each item is submitted; None until one is chosen."""
    chosen = st.selectbox(
        f"This run has {count} samples of each item, and a submission holds one",
        range(count),
        index=None,
        format_func=lambda number: f"Sample {number}",
        placeholder="Choose a sample",
        key=f"challenge_sample_{run['run_id']}",
        width=440,
    )
    return None if chosen is None else int(chosen)


def _figures(checked: Checked) -> None:
    st.markdown(
        f"**{checked.lines:,}** :gray[of {checked.items:,} items answered] &emsp; "
        f"**{percent(checked.official)}** :gray[official] &emsp; **{percent(checked.strict)}** :gray[strict, "
        "of all items]"
    )


def _problems(problems: Sequence[Problem]) -> None:
    if not problems:
        st.markdown(":gray[Every item is answered once, each answer is a choice, and has its reasoning.]")
        return
    lines = [
        f"{_LEVELS[one.level]} {plain(one.sentence)} :small[:gray[{plain(one.where)}]]"
        for one in problems[:_SHOWN]
    ]
    if len(problems) > _SHOWN:
        lines.append(f":gray[and {len(problems) - _SHOWN:,} more]")
    st.markdown("\n\n".join(lines))


def _elsewhere(run: Run) -> None:
    """Check a file that another tool wrote."""
    box = st.popover(
        "Check a file from elsewhere", key="challenge_elsewhere", on_change="rerun", type="tertiary"
    )
    if not box.open:
        return
    with box, st.container(width=460):
        file = st.file_uploader(
            f"A submission to {plain(str(run['dataset']))}, .jsonl or .zip",
            type=["jsonl", "zip"],
            key="challenge_file",
            max_upload_size=256,
        )
        if file is None:
            return
        try:
            checked = _checked(file, str(run["dataset"]))
        except LabError as error:
            st.markdown(f":red[{plain(error.message)}] :gray[{plain(error.hint)}]")
            return
        st.markdown(f"**{plain(file.name)}** {'is valid.' if checked.valid else ':red[would be refused.]'}")
        _figures(checked)
        _problems(checked.problems)


def _checked(file: UploadedFile, dataset: str) -> Checked:
    """What the backend says of an uploaded file; problems name it as it was called.

    Raises:
        LabError: if it cannot be read, or the dataset is gone.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("uploaded.zip" if file.name.endswith(".zip") else "uploaded.jsonl")
        path.write_bytes(file.getvalue())
        return check_submission(path, session.dataset(dataset))
