"""A correct small scheduler in diffusers' style, for tests to break."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin


class SmallScheduler(SchedulerMixin, ConfigMixin):
    """DDIM with eta, by index, in three dozen lines: a mutant overrides one method."""

    order = 1
    init_noise_sigma = 1.0

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        trained_betas: list | None = None,
        prediction_type: str = "epsilon",
        eta: float = 0.0,
    ):
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, num_train_timesteps, dtype=torch.float64) ** 2
        if trained_betas is not None:
            betas = torch.tensor(trained_betas, dtype=torch.float64)
        self.alphas_cumprod = torch.cumprod(1 - betas, 0)
        self.begin = 0
        self.index = None
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)

    def set_timesteps(self, n, device=None):
        self.timesteps = self.spaced(n, self.config.num_train_timesteps)
        self.begin, self.index = 0, None

    def spaced(self, n, total):
        if n > total:
            raise ValueError(f"{n} steps are too many for {total} timesteps")
        return torch.tensor([round(total - total * i / n) - 1 for i in range(n)])

    def set_begin_index(self, begin_index=0):
        self.begin = begin_index

    def scale_model_input(self, sample, timestep=None):
        return sample

    def next_cumulative(self, index):
        """ᾱ of where the step of this index ends."""
        if index + 1 == len(self.timesteps):
            return torch.ones((), dtype=torch.float64)
        return self.alphas_cumprod[self.timesteps[index + 1]]

    def denoised(self, output, sample, alpha, sigma):
        match self.config.prediction_type:
            case "epsilon":
                return (sample - sigma * output) / alpha
            case "v_prediction":
                return alpha * sample - sigma * output
            case "sample":
                return output
        raise ValueError(self.config.prediction_type)

    def noise(self, sample, generator):
        if not isinstance(generator, list):
            return torch.randn(sample.shape, generator=generator, dtype=torch.float64)
        return torch.cat(
            [torch.randn(1, *sample.shape[1:], generator=g, dtype=torch.float64) for g in generator]
        )

    def step(self, output, timestep, sample, generator=None, return_dict=True):
        self.index = self.begin if self.index is None else self.index
        x, answer = sample.double(), output.double()
        now, then = self.alphas_cumprod[self.timesteps[self.index]], self.next_cumulative(self.index)
        clean = self.denoised(answer, x, now.sqrt(), (1 - now).sqrt())
        epsilon = (x - now.sqrt() * clean) / (1 - now).sqrt()
        up = self.config.eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
        x = then.sqrt() * clean + (1 - then - up**2).clamp(min=0).sqrt() * epsilon
        if up > 0:
            x = x + up * self.noise(sample, generator)
        self.index += 1
        return (x.to(sample.dtype),)

    def add_noise(self, original_samples, noise, timesteps):
        cumulative = self.alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
        return cumulative.sqrt() * original_samples + (1 - cumulative).sqrt() * noise
