"""The page: header, facts, what goes on; trials on the left, result and one candidate on the right."""

from __future__ import annotations

import streamlit as st

from app import session
from app.jobs.launch import begin_with
from app.navigation import page
from app.optimize import address, look, words
from app.optimize.address import Address
from app.optimize.chosen import chosen
from app.optimize.look import Found
from app.optimize.result import result
from app.optimize.trials import trials
from app.session import plain
from app.widgets.header import header
from app.widgets.rows import Column, rows
from app.words import when
from audioreason.errors import LabError
from audioreason.jobs.actions import stop
from audioreason.jobs.watch import JobView
from audioreason.optimize import view

_COLUMNS = (
    Column("Search", "minmax(0, 1.5fr)"),
    Column("From", "minmax(0, .9fr)"),
    Column("Dataset", "minmax(0, .9fr)"),
    Column("Best on dev", "84px", number=True),
    Column("State", "84px"),
    Column("When", "76px"),
)


def draw() -> None:
    """Draw the page."""
    now, known = address.here(), look.searches()
    if not now.search and known:
        address.go(search=known[0].id)
        now = address.here()
    found, problem = _search(now.search)
    with header():
        if known:
            _pick(now)
        else:
            st.markdown("**Prompt optimisation**", width="content")
        if found is not None:
            _actions(found)
    if not now.search:
        _empty()
        return
    if found is None:
        st.markdown(f"**{plain(problem)}** :gray[{'Choose another search above.' if known else ''}]")
        return
    with st.container(gap="xsmall"):
        _facts(found)
        _live(found)
        _say(found)
    left, right = st.columns([1.12, 1], gap="large")
    row = found.row(now.candidate) or found.row(_shown_first(found))
    with left:
        trials(found, row.candidate.id if row else "")
    with right:
        if found.rows:
            result(found)
        if now.candidate and found.row(now.candidate) is None:
            st.markdown(
                f":orange[{plain(now.candidate[:40])} is no candidate of this search; the best is shown.]"
            )
        if row is not None:
            chosen(now, found, row)


def _shown_first(found: Found) -> str:
    """The best; before there is one, the newest."""
    return view.winner_of(found.search) or (found.rows[-1].candidate.id if found.rows else "")


def _search(search_id: str) -> tuple[Found | None, str]:
    if not search_id:
        return None, ""
    try:
        return look.search(search_id), ""
    except LabError as error:
        return None, error.message


def _pick(now: Address) -> None:
    """The button that opens the list of searches."""
    box = st.popover(
        plain(now.search[:60]) or "Choose a search", key="optimize_pick", on_change="rerun", width="content"
    )
    if not box.open:
        return
    with box, st.container(width=700):
        known = look.searches()
        ids = [one.id for one in known]
        cells = [
            (
                one.id,
                f"{words.OPTIMIZERS[one.optimizer]} · {one.prompt}",
                one.dataset,
                words.percent(one.best_score) if one.best_score is not None else "",
                one.standing,
                when(one.began) if one.began else "",
            )
            for one in known
        ]
        current = ids.index(now.search) if now.search in ids else None
        clicked = rows(_COLUMNS, cells, key="optimize_searches", clickable=True, current=current, height=420)
        if clicked is not None and ids[clicked] != now.search:
            address.go(search=ids[clicked])
            st.rerun()


def _actions(found: Found) -> None:
    job = look.job(found.search.id)
    if job is not None and not job.over:
        _stop(job)
    if job is not None and st.button("Open job", key="optimize_job", type="tertiary"):
        st.switch_page(page("jobs"), query_params={"job": job.id})
    if st.button(
        "Launch again, edited",
        key="optimize_again",
        type="tertiary",
        icon=":material/tune:",
        help="Opens Launch with these settings; nothing starts before you press Start there.",
    ):
        begin_with("optimize", found.search.config.model_dump(mode="json"))
        st.switch_page(page("launch"))


def _stop(job: JobView) -> None:
    help_text = "Ends after the requests that are under way. The best candidate so far is kept."
    if st.button(
        "Stop, keep the best", key="optimize_stop", disabled=job.state == "stopping", help=help_text
    ):
        try:
            stop(session.workspace(), job.id)
        except LabError as error:
            st.toast(plain(str(error)))
        look.forget()
        st.rerun()


def _empty() -> None:
    """What the page is for, and how to begin."""
    st.markdown(
        "**No search for a better prompt yet.** :gray[An optimiser (MIPROv2 or GEPA) writes new prompts from "
        "a seed, tries them on your items and keeps the best. This page shows every trial, prompt and "
        "request as they come, and whether the winner really beats the seed on items that it never saw.]"
    )
    if st.button(
        "Set up the first one", key="optimize_first", type="primary", icon=":material/arrow_forward:"
    ):
        st.switch_page(page("launch"), query_params={"kind": "optimize"})


def _facts(found: Found) -> None:
    """Optimiser, seed, data, models, in one line; above it what must be seen before any figure."""
    search, config = found.search, found.search.config
    kind = found.data.info.kind if found.data else None
    if label := words.label(config, kind):
        badge = "Paper’s preset" if config.dealing == "paper" else "Benchmark"
        st.markdown(f":orange-badge[{badge}] :orange[{plain(label)}]")
    task, proposer = words.models(config)
    name = words.OPTIMIZERS[config.optimizer]
    said = f"**{name}** :gray[from] **{plain(config.prompt)}** :gray[on] {plain(words.parts(search))}"
    st.markdown(f"{said} :gray[· task model] {plain(task)} :gray[· proposer] {plain(proposer)}")


def _live(found: Found) -> None:
    """State and what was spent; only a search that runs is looked at again."""
    search_id = found.search.id
    if found.search.running:
        _watch(search_id, look.moving(search_id))
    else:
        _line(found)


def _line(found: Found) -> None:
    search = found.search
    parts = [words.state(search)]
    if search.running:
        parts.append(words.progress(search, search.plan))
    parts += [words.spent(search.config, search.state.spent), words.budget(search.config)]
    dot = words.colour(search.standing)
    st.markdown(f":small[:{dot}[●] {plain(' · '.join(filter(None, parts)))}]")


@st.fragment(run_every=2)
def _watch(search_id: str, seen: look.Stamp) -> None:
    """One line, always; the page runs again when there is a new trial, candidate, request or phase."""
    try:
        found = look.search(search_id)
    except LabError as error:
        st.markdown(f":red[{plain(str(error))}]")
        return
    _line(found)
    if look.moving(search_id) != seen:
        st.rerun()


def _say(found: Found) -> None:
    for sentence in look.trouble(found):
        st.markdown(f":small[:orange[{plain(sentence[:600])}]]")
