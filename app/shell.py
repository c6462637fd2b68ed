"""What every page shares: name, navigation, logo, the two rules of style that the theme has no option for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.navigation import pages

_STATIC = Path(__file__).parent / "static"
_STYLE = """<style>
.stMainBlockContainer { padding-left: 20px; padding-right: 20px; }
[class*="st-key-template"] textarea { font-family: "Plex Mono", monospace; font-size: 0.86rem; }
</style>"""

st.set_page_config(page_title="audioreason", page_icon=str(_STATIC / "icon.svg"), layout="wide")
st.html(_STYLE)
st.logo(str(_STATIC / "logo.svg"), link=None)
st.navigation(pages(), position="top").run()
