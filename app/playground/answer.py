"""The right of the playground: answers as they are written, what they resolve to, and what they cost.

Polls the hub five times a second while something streams; a rerun or a refresh only looks, it never asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from app import session
from app.machine import machine
from app.playground.picker import Picked
from app.playground.variant import Variant
from app.session import plain
from app.widgets.bars import bars
from app.widgets.player import Cue
from app.widgets.trace import Section, mark_read, parts, trace
from app.words import duration, read_by, rule_words, tokens
from audioreason.answers import Parsed, parse
from audioreason.errors import PromptError
from audioreason.inference.endpoint import Endpoint
from audioreason.inference.seeds import sample_seed
from audioreason.items import Event
from audioreason.items.controls import control_clip
from audioreason.runs.play import Ask, Play, recall_all, start
from audioreason.runs.rendering import render_for

POLL = 0.2  # seconds
_INVITATION = "Run asks the model. Its answer appears here as it is written."
_UNKNOWN = "This generation is not known in this workspace."
_SPREAD = 130  # px that the spread of several samples takes from the text
Ablation = Literal["", "silence", "noise", "other clip", "no audio"]
_WORDS = {
    "correct": ":green[right]",
    "wrong": ":red[wrong]",
    "format_broken": "",
    "unresolved": ":orange[no choice stated]",
    "truncated": ":orange[cut off]",
    "looped": ":orange[loops]",
    "refused": ":orange[refused]",
    "server_error": ":red[no answer]",
}


def ids_of(parameter: str = "g") -> tuple[str, ...]:
    """Ids of the generations that the URL names."""
    return tuple(one for one in (st.query_params.get(parameter) or "").split(".") if one)[:64]


def plays(ids: Sequence[str]) -> list[Play]:
    """The generations as they stand now."""
    return recall_all(session.catalog(), session.hub(), ids)


def ask(
    variant: Variant, picked: Picked, samples: int, ablation: Ablation = "", other: Picked | None = None
) -> list[str]:
    """Start `samples` generations of a variant on an item and return their ids.

    Args:
        variant: prompt, sampling and endpoint.
        picked: the item.
        samples: how many, each with its own seed.
        ablation: "", "silence", "noise", "other clip" or "no audio".
        other: whose clip is sent for "other clip".
    """
    endpoint = who(variant)
    if not isinstance(endpoint, Endpoint):
        st.toast(endpoint)
        return []
    clip = None
    source = picked.dataset.clip(picked.item)
    if ablation == "silence" or ablation == "noise":
        clip = control_clip(ablation, picked.clip.seconds or 5.0, session.workspace().cache)
    elif ablation == "other clip" and other is not None and (found := other.dataset.clip(other.item)):
        clip = session.prepared(found)
    elif ablation != "no audio" and source is not None:
        clip = session.prepared(source)
    seed = variant.seed()
    try:
        render_for(variant.prompt(), picked.item)
    except PromptError as error:
        st.toast(plain(str(error)), icon=":material/error:")
        return []
    return [
        start(
            session.workspace(),
            session.hub(),
            Ask(
                dataset=picked.dataset,
                item=picked.item,
                clip=clip,
                prompt=variant.prompt(),
                endpoint=endpoint,
                sampling=variant.sampling(),
                seed=sample_seed(seed, picked.item.id, number)
                if samples > 1 or variant.value("seed") is None
                else seed,
                ablation=ablation,
            ),
        )
        for number in range(samples)
    ]


def who(variant: Variant) -> Endpoint | str:
    """The endpoint that would answer, ready to be asked, or a sentence why there is none yet."""
    endpoint = variant.endpoint()
    if endpoint is None:
        state = machine().look()
        return "The embedded model is starting." if state.engine == "starting" else state.sentence
    ready = machine().ready(endpoint)
    return "The endpoint is being asked how clips reach it." if ready is None else ready


def stop(ids: Sequence[str]) -> None:
    """Stop what still streams and draw the page again; the text is kept."""
    stopping = [one for one in ids if session.hub().stop(one)]
    for one in stopping:
        session.hub().wait(one, 1.0)
    st.rerun()


def live(
    ids: Sequence[str],
    picked: Picked,
    *,
    height: int,
    active: bool,
    waiting: str = "",
    tools: Callable[[], None] | None = None,
) -> None:
    """Draw the answers of one request to the model, updating while they stream.

    Args:
        ids: the generations.
        picked: what was asked about.
        height: px of the text.
        active: what the rest of the page was drawn with; if it is over by now, the page is drawn again.
        waiting: why nobody can be asked yet.
        tools: drawn below an answer.
    """
    draw = st.fragment(_draw, run_every=POLL if active else None)
    draw(tuple(ids), picked, height, active, waiting or _INVITATION, tools)


def _draw(
    ids: tuple[str, ...],
    picked: Picked,
    height: int,
    was_active: bool,
    invitation: str,
    tools: Callable[[], None] | None,
) -> None:
    found = plays(ids)
    if was_active and all(play.finished for play in found):
        st.rerun()  # the whole page: Run comes back, the history has a new line, cues are coloured
    play = _chosen(found, len(ids))
    headline(play, picked.hidden, empty=bool(ids))
    if len(ids) > 1:
        _spread(found, picked, len(ids))
    trace(
        sections(play, picked) if play else [],
        key="trace_one",
        clip=picked.clip.id,
        height=height - (_SPREAD if len(ids) > 1 else 0),
        boxed=True,
        streaming=play is not None and not play.finished,
        empty="" if play else _UNKNOWN if ids else invitation,
    )
    cost(play)
    if play is not None and tools is not None:
        tools()


def _chosen(found: list[Play], count: int) -> Play | None:
    if not found:
        return None
    number = int(st.session_state.get("sample_one") or 1) if count > 1 else 1
    return found[min(number, len(found)) - 1]


def _spread(found: list[Play], picked: Picked, count: int) -> None:
    gold = None if picked.hidden else picked.item.gold
    done = [play for play in found if play.state == "done"]
    bars(
        picked.item.choices,
        [play.score.resolution.index for play in done],
        total=count,
        key="bars_one",
        gold=gold,
    )
    st.segmented_control(
        "Sample",
        list(range(1, count + 1)),
        default=1,
        required=True,
        key="sample_one",
        label_visibility="collapsed",
    )


def headline(play: Play | None, hidden: bool, empty: bool = False) -> None:
    """What the answer came to, and by which rule; both scores."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if play is None:
            st.markdown(":gray[No answer yet]" if not empty else ":gray[Gone]", width="content")
            return
        left, right = verdict(play, hidden)
        st.markdown(left, width="content")
        st.space("stretch")
        st.markdown(right, width="content")


def verdict(play: Play, hidden: bool) -> tuple[str, str]:
    """The two halves of the headline, as Markdown."""
    if not play.finished:
        word = (
            "In the queue …" if play.state == "queued" else "Listening …" if not play.tokens else "Writing …"
        )
        return f"**{word}**", f":small[:gray[{_ablated(play)}{duration(play.seconds or 0)}]]"
    result = play.score
    index = result.resolution.index
    choice = "" if index is None else f"**{plain(play.item.choices[index][:80])}** "
    if play.state == "failed":
        return ":red[**The server failed**]", f":small[:gray[{_ablated(play)}partial text kept]]"
    if play.state == "stopped":
        return f"{choice}:gray[stopped]", f":small[:gray[{_ablated(play)}partial text kept]]"
    word = _WORDS[result.outcome]
    if result.outcome == "format_broken":
        word = (
            ":green[right] :orange[format broken]" if result.strict else ":red[wrong] :orange[format broken]"
        )
    if hidden or play.item.gold is None:
        word = ":gray[gold hidden]" if hidden else ":gray[no gold]"
        return f"{choice}{word}", f":small[:gray[{_ablated(play)}{_rule(play)}]]"
    scores = f"strict {int(bool(result.strict))} · official {int(bool(result.official))}"
    return f"{choice}{word}", f":small[:gray[{_ablated(play)}{scores} · {_rule(play)}]]"


def _rule(play: Play) -> str:
    words = rule_words(play.score.resolution.rule)
    return words if play.score.resolution.index is None else f"read by {words}"


def _ablated(play: Play) -> str:
    return f"with {play.ablation} · " if play.ablation else ""


def sections(play: Play, picked: Picked) -> list[Section]:
    """The answer's sections as far as they have come; events are marked unless that would give gold away."""
    seconds = picked.clip.seconds
    parsed = play.score.parsed if play.state != "failed" else _partial(play)
    heard: Sequence[Event] = () if play.ablation or picked.hidden else picked.item.events
    rule = read_by(play.score.resolution.rule)
    marks = parsed.read if play.finished else {}
    found = []
    if parsed.thinking:
        found.append(Section("Thinking", parts(parsed.thinking, seconds), "quiet"))
    for name, text in parsed.sections.items():
        marked = parts(text, seconds, heard if name == "HEARD" else ())
        marked = mark_read(marked, marks.get(name), rule)
        found.append(Section(name, marked, "strong" if name == "ANSWER" else ""))
    if not parsed.sections and parsed.visible:
        marked = mark_read(parts(parsed.visible, seconds, heard), marks.get(""), rule)
        found.append(Section("Text", marked))
    if play.error:
        found.append(Section("Problem", [{"text": play.error}], "note"))
    if play.problem:
        found.append(Section("Not kept", [{"text": play.problem}], "note"))
    return found


def _partial(play: Play) -> Parsed:
    return parse(play.raw, play.prompt.sections)


def cost(play: Play | None, brief: bool = False) -> None:
    """Tokens, speed and why it ended, in one grey line; `brief` leaves out the speed."""
    if play is None:
        st.markdown("&nbsp;")
        return
    words = []
    if play.first_token is not None and not brief:
        words.append(f"first token {duration(play.first_token)}")
    if play.tokens_per_second and not brief:
        words.append(f"{play.tokens_per_second:.0f} tok/s")
    if play.tokens is not None:
        # without the server's word, what came in pieces was counted
        words.append(tokens(play.tokens, estimated=play.prompt_tokens is None))
    if play.prompt_tokens and not brief:
        words.append(f"{play.prompt_tokens:,} in")
    if play.seconds and play.finished:
        words.append(duration(play.seconds))
    if play.raw.finish_reason:
        words.append(plain(play.raw.finish_reason))
    st.markdown(f":small[:gray[{' · '.join(words)}]]")


def cues(picked: Picked, play: Play | None) -> list[Cue]:
    """The item's events for the player, teal where HEARD names them; none while its gold is hidden."""
    if picked.hidden:
        return []
    heard = ""
    if play is not None and play.finished and not play.ablation:
        heard = play.score.parsed.sections.get("HEARD", "").casefold()
    return [
        Cue(e.start, e.end, e.label, "right" if heard and e.label.casefold() in heard else "plain")
        for e in picked.item.events
    ]
