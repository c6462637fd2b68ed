"""Why runs fail: what people say about predictions, and questions about failures. Below comparisons.

annotations  tags, notes and errata in lab.sqlite        export   the same as CSV, JSON lines or Markdown
explorer     figures, lists, confusions, habits          cues     does HEARD claim what the clip has?
"""

from audioreason.review.annotations import STARTER_TAGS, Annotations, Erratum, Tag
from audioreason.review.cues import CUE_OUTCOMES, MEASURED, Cued, CueOutcome, Cues, Measured, run_cues

__all__ = [
    "CUE_OUTCOMES",
    "MEASURED",
    "STARTER_TAGS",
    "Annotations",
    "CueOutcome",
    "Cued",
    "Cues",
    "Erratum",
    "Measured",
    "Tag",
    "run_cues",
]
