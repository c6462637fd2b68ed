"""The Settings page's parts: the list of endpoints, a form for a new one, and trying one out with a clip."""

from __future__ import annotations

import shlex

import streamlit as st
from pydantic import ValidationError

from app import session
from app.machine import machine
from app.session import ClipView, clip_view, plain
from app.trial import Trial
from app.widgets.line import line
from app.widgets.player import player
from app.widgets.trace import Section, parts, trace
from audioreason.answers import RawResponse, read
from audioreason.errors import LabError
from audioreason.inference.endpoint import (
    Endpoint,
    Transport,
    choose_endpoint,
    default_endpoint,
    is_protected,
    load_endpoints,
    remove_endpoint,
    save_endpoint,
)
from audioreason.items import Dataset, Item, list_datasets
from audioreason.items.splits import split_of

_FAMILY = "count_events"  # what an endpoint is tried with: short, and its answer can be checked by ear
_TRANSPORTS: dict[Transport, str] = {
    "auto": "find out",
    "file": "by file (the server shares this disk)",
    "input_audio": "inside the request",
}


def choose() -> None:
    """The embedded model and every saved endpoint; the one in use is marked."""
    chosen = default_endpoint(session.workspace())
    _embedded(in_use=chosen is None)
    for endpoint in load_endpoints(session.workspace()):
        _row(endpoint, in_use=chosen is not None and endpoint.name == chosen.name)


def _embedded(in_use: bool) -> None:
    engine = machine().engine
    words = {
        "off": ":gray[not running]",
        "starting": ":orange[starting …]",
        "running": f":green[running] :gray[{_address(engine.endpoint) if engine.endpoint else ''}]",
        "failed": f":red[{plain(engine.sentence)}]",
    }[engine.state]
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**Embedded model** {_mark(in_use)}", width="content")
            st.space("stretch")
            if not in_use and st.button("Use", key="use_embedded", type="tertiary"):
                choose_endpoint(session.workspace(), None)
                st.rerun()
            if engine.state in ("running", "starting"):
                if st.button("Stop", key="stop_embedded", type="tertiary"):
                    machine().serve_embedded(False)
                    st.rerun()
            elif st.button("Start", key="start_embedded", type="tertiary"):
                machine().serve_embedded(True)
                st.rerun()
            if engine.endpoint and st.button("Try", key="try_embedded", type="tertiary"):
                _begin(engine.endpoint)
        about = "Pocket Listener: about 10 million parameters, on this machine's processor."
        honest = "Proof that everything here works; no evidence about large models."
        st.markdown(f"{words}  \n:small[:gray[{about} {honest}]]")


def _row(endpoint: Endpoint, in_use: bool) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(endpoint.name)}** {_mark(in_use)}", width="content")
            st.space("stretch")
            if not in_use and st.button("Use", key=f"use_{endpoint.name}", type="tertiary"):
                choose_endpoint(session.workspace(), endpoint.name)
                st.rerun()
            if st.button("Try", key=f"try_{endpoint.name}", type="tertiary"):
                _begin(endpoint)
            if st.button("Remove", key=f"remove_{endpoint.name}", type="tertiary"):
                remove_endpoint(session.workspace(), endpoint.name)
                st.rerun()
        place = "" if endpoint.local else " :orange[· clips leave this machine]"
        model = plain(endpoint.model or "the first model listed")
        clips = f"clips: {_TRANSPORTS[endpoint.transport]}"
        st.markdown(f":small[:gray[{_address(endpoint)} · {model} · {clips}]{place}]")
        if not endpoint.key_confirmed:
            _ask_for_key(endpoint)


def _ask_for_key(endpoint: Endpoint, new: bool = False) -> None:
    """Ask whether the value of the variable may be sent to the address; `new` is not saved yet."""
    variable, name = endpoint.api_key_env or "", endpoint.name
    if is_protected(variable):
        st.markdown(
            f":orange[{plain(variable)} is a credential of another service. It is sent only if it is named"
            " on the command line:]"
        )
        line(
            shlex.join(
                ["audioreason", "endpoints", "add", name, endpoint.base_url, "--key-env", variable]
                + (["--model", endpoint.model] if endpoint.model else [])
            ),
            key=f"key_line_{'new' if new else name}",
        )
        return
    address = endpoint.base_url.replace("`", "%60")  # as code: it would become a link
    st.markdown(f"Send the value of `{variable}` to `{address}` with every request?")
    with st.container(horizontal=True, gap="small"):
        if st.button("Send it", key=f"confirm_{'new' if new else name}", type="secondary"):
            save_endpoint(session.workspace(), endpoint.confirm_key())
            st.session_state.pop("asked_key", None)
            st.rerun()
        if new and st.button("Cancel", key="cancel_key", type="tertiary"):
            del st.session_state["asked_key"]
            st.rerun()


def _address(endpoint: Endpoint) -> str:
    """The address without its scheme, which Markdown would turn into a link to a server that has no page."""
    return plain(endpoint.base_url.partition("://")[2])


def _mark(in_use: bool) -> str:
    return ":blue[in use]" if in_use else ""


def add() -> None:
    """A form for one more endpoint, drawn once it is unfolded; a name that exists is replaced."""
    box = st.expander("Add an endpoint", key="add", icon=":material/add:", on_change="rerun")
    if not box.open:
        return
    asked: Endpoint | None = st.session_state.get("asked_key")
    if asked is not None:
        with box:
            _ask_for_key(asked, new=True)
    with box, st.form("add_endpoint", border=False):
        left, right = st.columns(2)
        name = left.text_input("Name", placeholder="h100")
        url = right.text_input("Address", placeholder="http://127.0.0.1:8000/v1")
        model = left.text_input("Model", placeholder="the first one it lists")
        transport = right.selectbox(
            "How clips travel", list(_TRANSPORTS), format_func=_TRANSPORTS.__getitem__
        )
        key = left.text_input("Key, by the name of its variable", placeholder="MY_SERVER_KEY, or nothing")
        if not st.form_submit_button("Add"):
            return
        try:
            endpoint = Endpoint(
                name=name or "endpoint",
                base_url=url or "",
                model=model or "",
                transport=transport or "auto",
                api_key_env=key or None,
            )
        except LabError as error:
            st.error(f"{plain(error.message)} {plain(error.hint)}")
            return
        except ValidationError as error:
            st.error(plain(str(error.errors(include_url=False, include_input=False)[0]["msg"])))
            return
        if endpoint.api_key_env is None:
            save_endpoint(session.workspace(), endpoint)
        else:
            st.session_state["asked_key"] = endpoint
        st.rerun()


def try_out() -> None:
    """What a try found, as it finds it; and how to serve the full-size model if nobody answers."""
    trial: Trial | None = st.session_state.get("trial")
    if trial is None:
        st.markdown(
            ":gray[Try an endpoint to see whether it answers, how clips reach it and what it says about one.]"
        )
        _serve_line()
        return
    found = _clip()
    if found is not None:
        player(_view(*found), key="trial_player", size="medium")
    active = trial.state == "running"
    st.fragment(_findings, run_every=0.3 if active else None)(
        trial, active, _view(*found).id if found else None
    )
    if not active and not trial.reached:
        _serve_line()


def _findings(trial: Trial, was_active: bool, clip: str | None) -> None:
    if was_active and trial.state == "done":
        st.rerun()
    word = "" if trial.state == "done" else " :gray[trying …]"
    lines = [f"**{plain(trial.endpoint.name)}**{word}"]
    for finding in list(trial.findings):
        colour = {True: "green", False: "red", None: "orange"}[finding.good]
        lines.append(f":{colour}[●] :gray[{finding.what}] {plain(finding.words)}")
    st.markdown("  \n".join(lines))
    reading = read(RawResponse(trial.text, trial.reasoning or None), trial.item.choices)
    parsed = reading.parsed
    answer = [Section("Asked", [{"text": trial.item.question}], "quiet")]
    if parsed.thinking:
        answer.append(Section("Thinking", parts(parsed.thinking, 600.0), "quiet"))
    sections = parsed.sections or ({"Answer": parsed.answer} if parsed.answer else {})
    for name, text in sections.items():
        answer.append(Section(name, parts(text, 600.0), "strong" if name.upper() == "ANSWER" else ""))
    if "ANSWER" in parsed.sections and trial.state == "done":
        index = reading.resolution.index
        right = "the right one" if index is not None and index == trial.item.gold else "not the right one"
        answer.append(Section("Choice", [{"text": "none was stated" if index is None else right}], "quiet"))
    trace(answer, key="trial_trace", clip=clip, height=260, boxed=True, streaming=trial.state == "running")


def _begin(endpoint: Endpoint) -> None:
    found = _clip()
    if found is None:
        st.toast("There is no clip to try with.")
        return
    data, item = found
    source = data.clip(item)
    if source is not None:
        st.session_state["trial"] = Trial(endpoint, item, session.prepared(source))
    st.rerun()


def _clip() -> tuple[Dataset, Item] | None:
    """An item of Soundcheck, or of any dataset, that has a clip; never a sealed one."""
    names = [row.name for row in list_datasets(session.workspace()) if row.clips]
    for name in sorted(names, key=lambda name: name != "soundcheck"):
        data = session.dataset(name)
        parts_of = split_of(data)
        for item in sorted(data.items, key=lambda item: item.family != _FAMILY):
            if (
                parts_of.get(item.id) != "sealed"
                and data.clip(item) is not None
                and not clip_view(data, item).problem
            ):
                return data, item
    return None


def _view(data: Dataset, item: Item) -> ClipView:
    return clip_view(data, item)


def _serve_line() -> None:
    st.markdown(":small[:gray[To serve the full-size model on a machine with a GPU of 80 GB:]]")
    line(serve_line(), key="serve_line")
    st.markdown(
        ":small[:gray[The server may read the folder with prepared clips and nothing else. On another "
        "machine leave that option out: clips then travel inside the requests. Without a key in VLLM_API_KEY "
        "other users of that machine can use the server, too; name that variable for the endpoint.]]"
    )


def serve_line() -> str:
    """The command that serves Qwen3-Omni-30B-A3B-Thinking with vLLM for this workspace."""
    return (
        "vllm serve Qwen/Qwen3-Omni-30B-A3B-Thinking --host 127.0.0.1 --port 8000"
        " --max-model-len 16384 --reasoning-parser qwen3"
        ' --limit-mm-per-prompt \'{"audio":1,"image":1,"video":1}\''
        f" --allowed-local-media-path {session.workspace().clips.resolve()}"
    )
