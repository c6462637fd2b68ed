"""Export: the tables and charts of the page as files, exactly what it shows.

A file is made when somebody asks for it, outside the page's script: nothing that makes one may draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import streamlit as st

from app.compare.charts import Drawn, standalone
from app.theme import Palette
from audioreason.compare.charts import ChartFormat, chart_as
from audioreason.compare.tables import Format

_TABLES: tuple[tuple[str, Format, str, str], ...] = (
    ("CSV", "csv", "csv", "text/csv"),
    ("Markdown", "markdown", "md", "text/markdown"),
    ("LaTeX", "latex", "tex", "application/x-tex"),
)
_CHARTS: tuple[tuple[str, ChartFormat, str, str], ...] = (
    ("SVG", "svg", "svg", "image/svg+xml"),
    ("PNG", "png", "png", "image/png"),
    ("Vega-Lite", "json", "json", "application/json"),
)


@dataclass(frozen=True)
class Exports:
    """What can be had as a file: the numbers as text in a format, charts by their names, an HTML report."""

    name: str
    table: Callable[[Format], str]
    charts: Mapping[str, Callable[[], Drawn]]
    report: Callable[[], str] | None = None


def export(made: Exports, palette: Palette) -> None:
    """Draw the popover; charts are drawn in the colours of the theme in use."""
    with st.popover("Export", icon=":material/download:", key="compare_export"):
        st.markdown(":small[:gray[Every number with its interval]]")
        with st.container(horizontal=True, gap="small"):
            for label, form, suffix, mime in _TABLES:
                _download(label, partial(made.table, form), f"{made.name}.{suffix}", mime)
        name = st.selectbox("Chart", list(made.charts), key=f"compare_export_{made.name}", width=320)
        drawn = made.charts[name or next(iter(made.charts))]
        with st.container(horizontal=True, gap="small"):
            for label, chart, suffix, mime in _CHARTS:
                _download(label, partial(chart_file, drawn, palette, chart), f"{made.name}.{suffix}", mime)
        if made.report is not None:
            _download("HTML report", made.report, f"{made.name}.html", "text/html")
            st.markdown(":small[:gray[One file with charts and the flips, their sound and both answers]]")


def _download(label: str, make: Callable[[], str | bytes], name: str, mime: str) -> None:
    st.download_button(
        label, make, file_name=name, mime=mime, key=f"compare_download_{name}", on_click="ignore"
    )


def chart_file(make: Callable[[], Drawn], palette: Palette, form: ChartFormat) -> bytes:
    """A chart of the page as SVG, PNG or a Vega-Lite document with its data."""
    return chart_as(standalone(make(), palette), form)
