"""Which theme the viewer looks at, and its colours for charts that are built on the server.

Streamlit's own answer can be wrong at the first load and after a switch, so a component without a body
reports what it sees. Colours are read from the configuration: they exist once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import streamlit as st

_JS = """
export default function ({ parentElement, data, setStateValue }) {
  const probe = parentElement.querySelector("i");
  const [r, g, b] = getComputedStyle(probe).backgroundColor.match(/[\\d.]+/g).map(Number);
  const seen = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
  if (seen !== data.believed) setStateValue("kind", seen);
}
"""
_component = st.components.v2.component(
    "audioreason_theme",
    html="<i></i>",
    css="i { display: block; width: 0; height: 0; background: var(--st-background-color); }",
    js=_JS,
)


@dataclass(frozen=True)
class Palette:
    """The theme's colours by what they mean, as CSS."""

    text: str
    grey: str
    line: str
    background: str
    surface: str
    accent: str
    right: str
    wrong: str
    series: tuple[str, ...]


def kind() -> Literal["light", "dark"]:
    """The theme in use, as far as is known."""
    seen = st.session_state.get("theme_kind") or st.context.theme.type
    return "dark" if seen == "dark" else "light"


def palette() -> Palette:
    """The colours of the theme in use."""
    theme = kind()

    def colour(name: str) -> str:
        return str(st.get_option(f"theme.{theme}.{name}"))

    return Palette(
        text=colour("textColor"),
        grey=colour("grayTextColor"),
        line=colour("borderColor"),
        background=colour("backgroundColor"),
        surface=colour("secondaryBackgroundColor"),
        accent=colour("primaryColor"),
        right=colour("greenColor"),
        wrong=colour("redColor"),
        series=tuple(st.get_option(f"theme.{theme}.chartCategoricalColors")),
    )


def watch() -> None:
    """Let the browser say which theme it shows; the page runs again only if that was not known."""

    def seen() -> None:
        st.session_state["theme_kind"] = st.session_state["theme_probe"]["kind"]

    _component(key="theme_probe", data={"believed": kind()}, on_kind_change=seen, width=1)
