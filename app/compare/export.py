"""Export: the tables and charts of the page as files, exactly what it shows.

A file is made when somebody asks for it, outside the page's script: nothing here that makes one may draw.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import orjson
import pandas as pd
import streamlit as st

from app.compare import words
from app.compare.charts import Drawn, standalone
from app.theme import Palette

Form = Literal["csv", "md", "tex"]

_SCALE = 2.0  # pixels of a PNG for each of the page's
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run the cell
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: f"\\{character}" for character in "&%$#_{}"
}


def export(
    table: Callable[[], pd.DataFrame], charts: Mapping[str, Callable[[], Drawn]], palette: Palette
) -> None:
    """Draw the popover.

    Args:
        table: gives the page's numbers, see `table_file`.
        charts: gives the page's charts, by what they are called.
        palette: the colours of the theme in use.
    """
    with st.popover("Export", icon=":material/download:", key="compare_export"):
        st.markdown(":small[:gray[Every number with its interval]]")
        with st.container(horizontal=True, gap="small"):
            _download("CSV", partial(table_file, table, "csv"), "csv", "text/csv")
            _download("Markdown", partial(table_file, table, "md"), "md", "text/markdown")
            _download("LaTeX", partial(table_file, table, "tex"), "tex", "application/x-tex")
        name = st.selectbox("Chart", list(charts), key="compare_export_chart", width=320)
        drawn = charts[name or next(iter(charts))]
        with st.container(horizontal=True, gap="small"):
            _download("SVG", partial(chart_file, drawn, palette, "svg"), "svg", "image/svg+xml")
            _download("PNG", partial(chart_file, drawn, palette, "png"), "png", "image/png")
            _download("Vega-Lite", partial(chart_file, drawn, palette, "json"), "json", "application/json")


def _download(label: str, make: Callable[[], bytes], suffix: str, mime: str) -> None:
    st.download_button(
        label,
        make,
        file_name=f"comparison.{suffix}",
        mime=mime,
        key=f"compare_export_{suffix}",
        on_click="ignore",
    )


def chart_file(make: Callable[[], Drawn], palette: Palette, form: Literal["svg", "png", "json"]) -> bytes:
    """A chart as SVG, PNG or a Vega-Lite document with its data."""
    document = standalone(make(), palette)
    if form == "json":
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    import vl_convert  # 30 MB that only an export needs

    if form == "svg":
        return str(vl_convert.vegalite_to_svg(document)).encode()
    return bytes(vl_convert.vegalite_to_png(document, scale=_SCALE))


def table_file(make: Callable[[], pd.DataFrame], form: Form) -> bytes:
    """The page's numbers as one table.

    CSV has fractions, for programs; Markdown and LaTeX have percentages and points, for people. Cells that a
    spreadsheet would run as a formula get a leading apostrophe.
    """
    frame = make()
    if form == "csv":
        return _csv(frame).encode()
    return (_markdown(frame) if form == "md" else _latex(frame)).encode()


def _csv(frame: pd.DataFrame) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(frame.columns)
    for row in frame.astype(object).where(frame.notna(), "").itertuples(index=False, name=None):
        writer.writerow([_safe(value) for value in row])
    return buffer.getvalue()


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


_HEADINGS = ("Run", "Group", "Items", "Accuracy", "95% interval", "Difference", "95% interval", "p")


def _cells(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            str(row.label),
            str(row.group),
            f"{row.n:,}",
            words.percent(row.accuracy),
            _span(row.low, row.high),
            words.points(row.difference),
            words.bounds(row.difference_low, row.difference_high),
            "" if pd.isna(row.p) else f"{row.p:.3f}",
        )
        for row in frame.itertuples(index=False)
    ]


def _span(low: float, high: float) -> str:
    return f"{words.percent(low)} to {words.percent(high)}" if pd.notna(low) else ""


def _markdown(frame: pd.DataFrame) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = "|---|---|" + "--:|" * (len(_HEADINGS) - 2)
    return "\n".join([line(_HEADINGS), rule, *map(line, _cells(frame)), ""])


def _latex(frame: pd.DataFrame) -> str:
    def line(cells: Sequence[str]) -> str:
        escaped = ("".join(_LATEX.get(character, character) for character in cell) for cell in cells)
        return " & ".join(escaped).replace(words.MINUS, "$-$") + r" \\"

    body = [line(cells) for cells in _cells(frame)]
    columns = "ll" + "r" * (len(_HEADINGS) - 2)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(_HEADINGS),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
