"""Quantiles of the Beta distribution, so that a spacing of n numbers needs no scipy."""

import math
from functools import lru_cache


@lru_cache(maxsize=4096)
def beta_quantile(probability: float, a: float, b: float) -> float:
    """x with I_x(a, b) = probability, to about 1e-15: bisection on the cumulative distribution."""
    if probability <= 0 or probability >= 1:
        return min(max(probability, 0.0), 1.0)
    if probability > 0.5:
        # Near 1 a float cannot resolve x, but it can resolve 1 - x.
        return 1 - beta_quantile(1 - probability, b, a)
    low, high = 0.0, 1.0
    for _ in range(1100):
        # The geometric mean finds quantiles that are tiny in few rounds.
        middle = math.sqrt(low * high) if low > 0 else high / 16
        if not low < middle < high:
            break
        if beta_cumulative(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return high


def beta_cumulative(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cumulative(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    log_front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    # Lentz's algorithm: numerator and denominator ratios stay near 1.
    fraction, c, d = 1.0, 1.0, 0.0
    for i in range(300):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return math.exp(log_front) * (fraction - 1)
