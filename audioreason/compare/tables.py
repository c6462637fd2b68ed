"""A comparison as a table, and a table as CSV, Markdown or LaTeX, every figure with its interval.

CSV holds fractions at full precision, for programs; Markdown and LaTeX hold percentages and points, for
people. Knows nothing about charts or pages.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from audioreason.runs import records
from audioreason.runs.cells import inert

if TYPE_CHECKING:
    import pandas as pd

    from audioreason.compare.comparison import Comparison
    from audioreason.compare.paper import PaperTable

Format = Literal["csv", "markdown", "latex"]
FORMATS: tuple[Format, ...] = ("csv", "markdown", "latex")
MINUS = "\N{MINUS SIGN}"
ALL = "all"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: f"\\{character}" for character in "&%$#_{}"
}
COLUMNS = (
    "run_id",
    "label",
    "baseline",
    "score",
    "split",
    "group",
    "n",
    "accuracy",
    "low",
    "high",
    "errors",
    "tokens",
    "seconds",
    "compared",
    "difference",
    "difference_low",
    "difference_high",
    "shrunken",
    "p",
    "p_holm",
    "mcnemar",
    "won",
    "lost",
    "significant",
    "small",
)


def comparison_table(found: Comparison, by: str | None = None) -> pd.DataFrame:
    """All figures of a comparison: each run over all items, then with `by` each pair by group of that column.

    Columns are `COLUMNS`, fractions throughout, empty where they do not apply. For all items n and accuracy
    are the run's own and `compared` counts the items of the difference; p_holm is over the compared runs.
    For a group n, accuracy and compared are over the compared items; p_holm is over the groups, and shrunken
    is the difference pulled towards that of all items, of few items more.

    Raises:
        RunError: if the column is none that items have.
    """
    import pandas as pd

    pairs = {pair.run_id: pair for pair in found.pairs}
    shared = {"baseline": found.baseline, "score": found.score, "split": found.split}
    rows: list[dict[str, Any]] = []
    for own in records(found.leaderboard):
        row = {name: own[name] for name in COLUMNS if name in own} | shared | {"group": ALL}
        if (pair := pairs.get(own["run_id"])) is not None:
            here = pair.difference
            row |= {
                "compared": pair.n,
                "difference": here.mean,
                "difference_low": here.low,
                "difference_high": here.high,
                "p": here.p,
                "p_holm": pair.p_holm,
                "mcnemar": pair.mcnemar,
                "won": len(pair.grid["won"]),
                "lost": len(pair.grid["lost"]),
                "significant": pair.significant,
            }
        rows.append(row)
    for pair in found.pairs if by else ():
        rows += [
            {
                "run_id": pair.run_id,
                "label": pair.labels[1],
                **shared,
                "group": group["group"],
                "n": group["n"],
                "accuracy": group["run"],
                "low": group["run_low"],
                "high": group["run_high"],
                "compared": group["n"],
                "difference": group["delta"],
                "difference_low": group["low"],
                "difference_high": group["high"],
                **{name: group[name] for name in ("shrunken", "p", "p_holm", "significant", "small")},
            }
            for group in records(pair.by(str(by)))
        ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(("n", "errors", "compared", "won", "lost"), "Int64"))


def comparison_as(found: Comparison, format: Format, by: str | None = None) -> str:
    """A comparison as the text of a CSV, Markdown or LaTeX file."""
    frame = comparison_table(found, by)
    if format == "csv":
        return to_csv(frame)
    headings = ["Run", "Items", "Accuracy", "95% CI", "Difference", "95% CI", "p", "Items compared"]
    if by:
        headings.insert(1, by.capitalize())
    body = [
        (
            str(row["label"]),
            *((str(row["group"]) + (" (few)" if row["small"] is True else ""),) if by else ()),
            f"{row['n']:,}",
            percent(row["accuracy"]),
            span(row["low"], row["high"], percent),
            points(row["difference"]) + ("*" if row["significant"] is True else ""),
            span(row["difference_low"], row["difference_high"], points),
            p_value(row["p_holm"]),
            "" if row["compared"] is None else f"{row['compared']:,}",
        )
        for row in records(frame)
    ]
    left = 2 if by else 1
    remark = f"{found.score} score, {found.split}; * p < 0.05 after Holm; few: under 20 items."
    return render(headings, body, format, left, remark)


def paper_as(table: PaperTable, format: Format) -> str:
    """The paper's table with own runs as the text of a CSV, Markdown or LaTeX file."""
    if format == "csv":
        return to_csv(table.rows)
    body = [
        (
            row["whose"],
            row["method"],
            f"{row['n']:,}",
            percent(row["accuracy"]),
            span(row["low"], row["high"], percent),
            percent(row["published"]),
            row["remark"],
        )
        for row in records(table.rows)
    ]
    headings = ("Whose", "Method", "Items", "Accuracy", "95% CI", "Published", "Remark")
    return render(headings, body, format, 2, " ".join(table.notes))


def to_csv(frame: pd.DataFrame) -> str:
    """A table as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")  # as a terminal and a diff want it
    writer.writerow(frame.columns)
    for row in records(frame):
        writer.writerow(["" if value is None else _safe(value) for value in row.values()])
    return buffer.getvalue()


def render(
    headings: Sequence[str], body: Sequence[Sequence[str]], format: Format, left: int, remark: str = ""
) -> str:
    """Cells as Markdown or LaTeX; the first `left` columns are text, the others numbers."""
    if format == "markdown":
        rule = "|---" * left + "|--:" * (len(headings) - left) + "|"
        lines = [_markdown_row(headings), rule, *map(_markdown_row, body)]
        return "\n".join([*lines, "", _markdown(remark), ""] if remark else [*lines, ""])
    columns = "l" * left + "r" * (len(headings) - left)
    return "\n".join(
        [
            *([f"% {' '.join(remark.split())}"] if remark else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(headings),
            r"\midrule",
            *map(_latex_row, body),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one decimal; empty if it is not known."""
    return "" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.1f}%"


def points(fraction: float | None) -> str:
    """A difference in points with its sign; empty if it is not known."""
    if fraction is None or not math.isfinite(fraction):
        return ""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def p_value(p: float | None) -> str:
    """p as people write it; empty if there is none."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def span(low: float | None, high: float | None, show: Callable[[float | None], str]) -> str:
    """An interval; empty if it has no finite bounds."""
    return f"{show(low)} to {show(high)}" if show(low) and show(high) else ""


def _safe(value: object) -> object:
    if not isinstance(value, str):
        return value
    # line ends that the writer quotes: it does not quote \r
    return inert(value).replace("\r\n", "\n").replace("\r", "\n")


def _markdown(text: str) -> str:
    """Text that Markdown shows as it is: no table, markup, link or HTML comes of it."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]|~" else c for c in text)
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").split())


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_markdown, cells))} |"


def _latex_row(cells: Sequence[str]) -> str:
    escaped = ("".join(_LATEX.get(c, c) for c in " ".join(cell.split())) for cell in cells)
    return " & ".join(escaped).replace(MINUS, "$-$") + r" \\"
