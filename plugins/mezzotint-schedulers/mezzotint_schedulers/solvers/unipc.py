"""UniPC: a predictor, and a corrector that costs no evaluation (Zhao et al. 2023)."""

import math

from mezzotint.scheduling import Step, solver

from ..option_range import one_of, within


@solver(
    "unipc",
    accuracy_order=3,
    history=3,
    paper="Zhao et al. 2023 (UniPC), algorithms 1 and 2 with data prediction",
    order=2,
    solver_type="bh2",
    lower_order_final=True,
)
def unipc(s: Step):
    """UniPC: correct the previous step with the new evaluation, then predict the next from there."""
    x = s.x
    if s.history:
        last = s.history[-1]
        nodes = [last, *reversed(s.history[:-1])][: _order(s, s.index - 1)]
        x = _unified(s, last.carry["corrected"], nodes, s.half_log_snr, s.denoised)
    nodes = [s, *reversed(s.history)][: _order(s, s.index)]
    return _unified(s, x, nodes, s.half_log_snr_next, None), {"corrected": x}


def _order(s: Step, index: int) -> int:
    """Order of the step of this index; the number of steps behind it limits it by the length of `nodes`."""
    order = within(s, "order", 1, 3)
    return min(order, s.steps - index) if s.options.lower_order_final else order


def _unified(s: Step, x, nodes, target: float, at_target):
    """From the first node's λ to `target` (eq. 9), as predictor, or as corrector with the value `at_target`."""
    import numpy as np

    here = nodes[0]
    h = target - here.half_log_snr
    plain = here.denoised + math.exp(-h) * (x - here.denoised)
    if math.isinf(h):
        return plain
    r = [(node.half_log_snr - here.half_log_snr) / h for node in nodes[1:]]
    differences = [(n.denoised - here.denoised) / ratio for n, ratio in zip(nodes[1:], r, strict=True)]
    if at_target is not None:
        r.append(1.0)
        differences.append(at_target - here.denoised)
    if not r:
        return plain
    # B(h) of the two variants, for data prediction; both give the same order (section 3.1).
    b_h = -h if one_of(s, "solver_type", "bh1", "bh2") == "bh1" else math.expm1(-h)
    phi, values = math.expm1(-h) / -h - 1, []
    for k in range(1, len(r) + 1):
        values.append(phi * math.factorial(k) / b_h)
        phi = phi / -h - 1 / math.factorial(k + 1)
    if len(r) == 1:
        # Both orders accept 1/2, which needs no solution (appendix F).
        rhos = [0.5]
    else:
        rhos = np.linalg.solve([[ratio**k for ratio in r] for k in range(len(r))], values).tolist()
    correction = rhos[0] * differences[0]
    for rho, difference in zip(rhos[1:], differences[1:], strict=True):
        correction = correction + rho * difference
    return plain - b_h * correction
