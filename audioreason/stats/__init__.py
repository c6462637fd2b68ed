"""Honest numbers: pure functions from counts and scores to intervals, tests and sentences.

`intervals` (Wilson, Clopper-Pearson, clustered errors, shrinkage), `paired` (sign-flip, McNemar, Holm, the
verdict), `power`, `samples` (pass@k, majority, luck), `agreement` (kappa, alpha). Fractions everywhere,
never percentages. Knows nothing about runs, items or files.
"""

from audioreason.stats.agreement import cohen_kappa, krippendorff_alpha
from audioreason.stats.intervals import (
    Interval,
    clopper_pearson,
    cluster_bootstrap,
    clustered_interval,
    clustered_standard_error,
    clustered_wilson,
    design_effect,
    shrunken,
    wilson,
)
from audioreason.stats.paired import Difference, holm, mcnemar, paired_difference, sign_flip, verdict
from audioreason.stats.power import minimum_detectable_effect, required_items
from audioreason.stats.samples import consistency, guess_share, majority, majority_at_k, pass_all_k, pass_at_k

__all__ = [
    "Difference",
    "Interval",
    "clopper_pearson",
    "cluster_bootstrap",
    "clustered_interval",
    "clustered_standard_error",
    "clustered_wilson",
    "cohen_kappa",
    "consistency",
    "design_effect",
    "guess_share",
    "holm",
    "krippendorff_alpha",
    "majority",
    "majority_at_k",
    "mcnemar",
    "minimum_detectable_effect",
    "paired_difference",
    "pass_all_k",
    "pass_at_k",
    "required_items",
    "shrunken",
    "sign_flip",
    "verdict",
    "wilson",
]
