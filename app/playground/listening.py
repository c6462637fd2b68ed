"""The listening test: the same question without its sound. An answer that stays did not listen."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from app.playground import answer, cards, editor
from app.playground.picker import Picked, pick, show_gold
from app.playground.variant import Variant
from app.session import clip_view, plain
from app.widgets.player import player
from app.widgets.question import question
from audioreason.inference.endpoint import Endpoint
from audioreason.runs.play import Play

# URL parameter -> what is done to the clip, and what the card is called
_CONDITIONS: dict[str, tuple[answer.Ablation, str]] = {
    "l0": ("", "The clip"),
    "l1": ("silence", "Silence"),
    "l2": ("noise", "Noise"),
    "l3": ("other clip", "Another clip"),
    "l4": ("no audio", "No audio"),
}
_HEIGHT = 260  # px of each trace


def listening() -> None:
    """Draw the view."""
    left, right = st.columns([1.15, 1], gap="medium")
    variant = Variant("one")
    variant.restore(st.query_params.get("prompt"))
    with right:
        picked = pick()
        if picked is None:
            return
        question(picked.item, key="question", show_gold=not picked.hidden, row=True, details=False)
        show_gold(picked)
    with left:
        player(picked.clip, key="player", cues=answer.cues(picked, None), size="small")
    other = _other(picked)
    ids = {name: answer.ids_of(name) for name in _CONDITIONS}
    active = any(not play.finished for group in ids.values() for play in answer.plays(group))
    _controls(variant, picked, other, ids, active)
    draw = st.fragment(_draw, run_every=answer.POLL if active else None)
    draw(ids, picked, other, active)


def _draw(ids: dict[str, tuple[str, ...]], picked: Picked, other: Picked | None, was_active: bool) -> None:
    names = {name: words for name, (_, words) in _CONDITIONS.items()}
    rest = {"l3": "" if other else "there is none"}
    shown = [
        cards.Card(f"listening_{name}", cards.heading("", words, rest.get(name, "")), ids[name])
        for name, words in names.items()
    ]
    st.markdown(_verdict([answer.plays(group) for group in ids.values()]))
    found = cards.draw(shown, picked, height=_HEIGHT)
    if was_active and all(play.finished for plays in found for play in plays):
        st.rerun()


def _controls(
    variant: Variant, picked: Picked, other: Picked | None, ids: dict[str, tuple[str, ...]], active: bool
) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        editor.choose_prompt(variant, width=300)
        st.space("stretch")
        repeat = st.number_input(
            "Repeat", 1, 16, value=4, step=1, label_visibility="collapsed", width=110, key="listening_repeat"
        )
        if active:
            if st.button("Stop", icon=":material/stop:", shortcut="Esc"):
                answer.stop([one for group in ids.values() for one in group])
        elif st.button(
            "Run all",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            disabled=not isinstance(answer.who(variant), Endpoint) or picked.clip.url is None,
        ):
            for name, (ablation, _) in _CONDITIONS.items():
                if ablation == "other clip" and other is None:
                    continue
                started = answer.ask(variant, picked, int(repeat), ablation, other)
                st.query_params[name] = ".".join(started)
            st.rerun()


def _other(picked: Picked) -> Picked | None:
    """The next item of the dataset with a clip of its own: the same other clip each time."""
    items = picked.dataset.items
    place = items.index(picked.item)
    for item in (*items[place + 1 :], *items[:place]):
        if item.audio_path not in (None, picked.item.audio_path):
            view = clip_view(picked.dataset, item)
            if view.url is not None:
                return Picked(picked.dataset, item, view, hidden=False)
    return None


def _verdict(groups: list[list[Play]]) -> str:
    """One sentence: under which conditions the answer stays the same as with the clip."""
    given = [
        Counter(play.score.resolution.index for play in plays if play.state == "done") for plays in groups
    ]
    if not given[0] or not any(given[1:]):
        return ":gray[Does the answer need the sound? Run all conditions to see.]"
    commonest = given[0].most_common(1)[0][0]
    if commonest is None:
        return ":gray[With its own clip the model states no choice, so there is nothing to compare.]"
    stays = [
        f"{words.lower()} ({counts[commonest]} of {counts.total()})"
        for counts, (_, words) in zip(given[1:], list(_CONDITIONS.values())[1:], strict=True)
        if counts and counts.most_common(1)[0][0] == commonest
    ]
    choice = plain(groups[0][0].item.choices[commonest][:80])
    if not stays:
        return f"**The answer needs the sound.** :gray[{choice} is the usual answer with its own clip only.]"
    where = plain(", ".join(stays))
    return f"**The answer stays {choice}** with {where}: :gray[it need not have come from the sound.]"
