"""A midpoint solver and an extension that lets the decoder glow."""

from mezzotint import Extension, Field, hookimpl, solver


@solver("afterglow-midpoint", accuracy_order=2, evals_per_step=2, paper="Runge 1895")
def midpoint(s):
    """Explicit midpoint rule in σ."""
    sigma = (s.sigma + s.sigma_next) / 2
    x = s.x + (sigma - s.sigma) * s.derivative
    return s.x + (s.sigma_next - s.sigma) * (x - s.denoise(x, sigma)) / sigma


class Afterglow(Extension, name="afterglow"):
    """Scale what leaves the decoder blocks."""

    strength: float = Field(0.1, ge=-1, le=1, description="how much to add; 0 changes nothing")

    @hookimpl(at="up.*")
    def unet_block_output(self, hidden_states):
        return hidden_states * (1 + self.strength)


@hookimpl
def schedulers():
    return [midpoint]


@hookimpl
def extensions():
    return [Afterglow]
