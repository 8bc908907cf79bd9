"""Weights of Adams methods: integrals of the polynomials that interpolate earlier values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def lagrange_weights(
    nodes: Sequence[float],
    start: float,
    end: float,
    density: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> list[float]:
    """∫ ℓ_j(u) density(u) du from `start` to `end` for each node j, ℓ_j its Lagrange polynomial.

    Gauss-Legendre quadrature with 16 points: exact for polynomials to degree 31, and to rounding for the
    exponentials of one solver step.
    """
    points, weights = _gauss_legendre()
    half = (end - start) / 2
    u = start + half * (points + 1)
    weighted = half * weights * (density(u) if density else 1.0)
    integrals = []
    for j, node in enumerate(nodes):
        polynomial = weighted
        for k, other in enumerate(nodes):
            if k != j:
                polynomial = polynomial * (u - other) / (node - other)
        integrals.append(float(polynomial.sum()))
    return integrals


@cache
def _gauss_legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    points, weights = np.polynomial.legendre.leggauss(16)
    return points, weights
