"""How small a difference a comparison can see, and how many items it takes to see one."""

from __future__ import annotations

import math
from statistics import NormalDist


def minimum_detectable_effect(
    n: int, discordance: float, power: float = 0.8, alpha: float = 0.05, design_effect: float = 1.0
) -> float:
    """The smallest mean paired difference (fraction) that n items reveal with this power.

    `discordance` is the share of items on which the two runs differ; the variance of a difference is
    bounded by it. `design_effect` is 1 for independent items (clustered variance / naive variance).
    Source: Miller (2024), arXiv 2411.00640, section 5; Connor (1987), Biometrics 43:207.
    """
    if n <= 0:
        return float("inf")
    return _quantiles(power, alpha) * math.sqrt(max(discordance, 0.0) * design_effect / n)


def required_items(
    effect: float = 0.02,
    discordance: float = 0.2,
    power: float = 0.8,
    alpha: float = 0.05,
    design_effect: float = 1.0,
) -> int:
    """How many items reveal a mean paired difference of `effect` (fraction) with this power.

    Raises:
        ValueError: if the effect is 0.
    """
    if effect == 0:
        raise ValueError("no number of items reveals an effect of zero")
    return math.ceil((_quantiles(power, alpha) / effect) ** 2 * discordance * design_effect)


def _quantiles(power: float, alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
