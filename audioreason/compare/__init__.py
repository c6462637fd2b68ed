"""Comparing runs, so that a wrong conclusion is hard.

comparison   `compare`: leaderboard, pairs, views on every split and by both scores
pair         one run against the baseline: difference, grid, groups, verdict
loading      what a comparison reads from the catalog, once
paper        the published table beside own runs on MMAR
stability    other orders of the choices, and what hearing the clips adds
tables       CSV, Markdown and LaTeX          charts       Vega-Lite, SVG and PNG
html         one self-contained report        summary      the whole as plain values, for JSON

Every figure that a page or command shows about two runs comes from here. Knows nothing about pages.
"""

from audioreason.compare.comparison import EFFECT, Comparison, Errata, compare
from audioreason.compare.loading import Score
from audioreason.compare.pair import CELLS, SMALL, Overlap, Pair
from audioreason.compare.paper import PUBLISHED, PaperTable, papers_table
from audioreason.compare.stability import (
    Contribution,
    Stability,
    audio_contribution,
    choice_stability,
    orders_of,
)

__all__ = [
    "CELLS",
    "EFFECT",
    "PUBLISHED",
    "SMALL",
    "Comparison",
    "Contribution",
    "Errata",
    "Overlap",
    "Pair",
    "PaperTable",
    "Score",
    "Stability",
    "audio_contribution",
    "choice_stability",
    "compare",
    "orders_of",
    "papers_table",
]
