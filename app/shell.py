"""What every page shares: name, navigation, logo, the two rules of style that the theme has no option for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from audioreason.workspace import lab_root

_STATIC = Path(__file__).parent / "static"
_STYLE = """<style>
.stMainBlockContainer { padding-left: 20px; padding-right: 20px; }
[class*="st-key-template"] textarea { font-family: "Plex Mono", monospace; font-size: 0.86rem; }
</style>"""

st.set_page_config(page_title="audioreason", page_icon=str(_STATIC / "icon.svg"), layout="wide")
st.html(_STYLE)
st.logo(str(_STATIC / "logo.svg"), link=None)


def _page(name: str, title: str, **options: bool) -> st.Page:
    return st.Page(lab_root() / "pages" / f"{name}.py", title=title, url_path=name, **options)


st.navigation(
    [
        _page("home", "Home", default=True),
        _page("playground", "Playground"),
        _page("settings", "Settings"),
    ],
    position="top",
).run()
