"""Rating by hand: one right answer after another by lot, point for point, without the judge's ratings."""

from __future__ import annotations

import streamlit as st

from app import session
from app.challenge import look
from app.challenge.look import Answer, Run
from app.errors import look as error_look
from app.session import plain
from app.widgets.player import Cue, player
from app.widgets.question import question
from app.widgets.trace import Section, parts, trace
from audioreason.challenge import Rating, drawn, rate_by_hand, ratings_of
from audioreason.errors import LabError
from audioreason.wording import counted

_SKIPPED = "challenge_skipped"


def hand(run: Run) -> None:
    """Draw the answer that is to be rated next, and its rubric as a form."""
    run_id = str(run["run_id"])
    found, hidden = look.answers(run, "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        rater = st.text_input(
            "Rated by", value="hand", key="challenge_rater", max_chars=60, label_visibility="collapsed",
            placeholder="Your name", width=160, icon=":material/person:",
        ).strip()  # fmt: skip
        given = ratings_of(session.workspace(), run_id, rater) if rater else {}
        sealed = f" · {hidden:,} of sealed items are not shown" if hidden else ""
        st.markdown(
            f"**{len(given):,}** :gray[of {counted(len(found), 'right answer')} rated{sealed} · drawn by "
            "lot, the judge's ratings are not shown here]",
            width="content",
        )
    if not found:
        st.markdown("**Nothing can be rated.** :gray[No right answer that is open here has a rubric.]")
        return
    if not rater:
        st.markdown(":gray[Say who rates: ratings are kept by name.]")
        return
    answer = _next(run_id, found, set(given))
    if answer is None:
        st.markdown("**All are rated or skipped.** :gray[The view Score holds the judge against them.]")
        _back(given)
        return
    left, right = st.columns([1.25, 1], gap="large")
    with left:
        _heard(run, answer)
    with right:
        _form(run_id, answer, rater, given)


def _next(run_id: str, found: dict[str, Answer], done: set[str]) -> Answer | None:
    """The answer in the address, else the first by lot that is neither rated nor skipped."""
    wanted = st.query_params.get("item", "")
    if wanted in found:
        return found[wanted]
    skipped = st.session_state.get(_SKIPPED, set())
    left = [one for one in drawn(run_id, list(found)) if one not in done and (run_id, one) not in skipped]
    return found[left[0]] if left else None


def _heard(run: Run, answer: Answer) -> None:
    item = answer.item
    clip = error_look.clip_of(error_look.dataset(str(run["dataset"])), item)
    if clip.url is None:
        st.markdown(f":small[:gray[{plain(clip.problem)}]]")
    else:
        cues = [Cue(event.start, event.end, event.label) for event in item.events]
        player(clip, key="challenge_hand_player", cues=cues, size="medium")
    question(item, key="challenge_hand_question", row=True, details=False)
    shown = [Section("Reasoning", parts(answer.reasoning, clip.seconds))]
    if item.thinking:
        shown.append(Section("Reference", [{"text": item.thinking}], "quiet"))
    trace(shown, key="challenge_hand_trace", clip=clip.id, height=400)


def _form(run_id: str, answer: Answer, rater: str, given: dict[str, tuple[int, ...]]) -> None:
    """One box a point of the rubric, the rating they make, and Save."""
    item = answer.item
    before = given.get(item.id, ())
    st.markdown("**Which points does the reasoning meet?**")
    points = []
    for index, point in enumerate(item.rubric):
        name = plain(str(point.get("name") or f"Point {index + 1}"))
        asked = plain(" ".join(str(point[key]) for key in ("scoring_point", "note") if point.get(key)))
        met = st.checkbox(
            f"**{name}**  \n:gray[{asked}]",
            value=index < len(before) and bool(before[index]),
            key=f"challenge_point_{run_id}_{item.id}_{rater}_{index}",
        )
        points.append(int(met))
    value = Rating(item.id, 0, tuple(points)).value
    st.markdown(f"Rating **{value:.1f}** :gray[{sum(points)} of {len(points)} points, 0.2 at least]")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Save and next", key="challenge_save", type="primary", shortcut="Ctrl+Enter"):
            _save(run_id, item.id, points, rater)
        if st.button("Skip", key="challenge_skip", type="tertiary"):
            st.session_state.setdefault(_SKIPPED, set()).add((run_id, item.id))
            st.query_params.pop("item", None)
            st.rerun()
        _back({item_id: points for item_id, points in given.items() if item_id != item.id})


def _back(given: dict[str, tuple[int, ...]]) -> None:
    """Return to what was rated last."""
    if given and st.button("The last one again", key="challenge_back", type="tertiary"):
        st.query_params["item"] = list(given)[-1]
        st.rerun()


def _save(run_id: str, item_id: str, points: list[int], rater: str) -> None:
    try:
        rate_by_hand(session.workspace(), run_id, item_id, points, rater)
    except LabError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    st.query_params.pop("item", None)
    st.rerun()
