"""Pictures to the moments of their latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..chance import normal
from ..data.images import View, load_mask, load_view
from ..digests import digest, digest_file, digest_module
from .store import TensorStore


@dataclass(frozen=True, eq=False)
class Moments:
    """What the VAE says about a picture, and where the loss counts. Latents are drawn from it at each occurrence."""

    mean: Tensor
    """(c, h, w), not scaled."""
    deviation: Tensor
    """(c, h, w)."""
    mask: Tensor | None = None
    """(1, h, w) in [0, 1]."""


class LatentEncoder:
    """Encodes views of pictures, keeping what it made by content.

    The digest covers the bytes of the picture and its mask, the VAE's weights, and size, cut, mirroring and background;
    a change of any of them encodes anew.

    Args:
        store: where moments are kept; `None` encodes every time.
        batch_size: pictures that go through the VAE together. With 1, cached and fresh moments are the same bits; with
            more, they differ by rounding, since convolutions of another batch size sum in another order.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        *,
        store: TensorStore | None = None,
        batch_size: int = 1,
        background: tuple[int, int, int] = (255, 255, 255),
    ) -> None:
        self.vae = vae
        self.store = store
        self.batch_size = batch_size
        self.background = background
        self._vae_digest = "" if store is None else digest_module(vae)
        self._file_digests: dict[Path, str] = {}

    def moments(self, views: Sequence[View]) -> list[Moments]:
        """For views of one size.

        Raises:
            DataError: a file cannot be read.
        """
        known = [self._known(view) for view in views]
        missing = [place for place, moments in enumerate(known) if moments is None]
        for first in range(0, len(missing), self.batch_size):
            places = missing[first : first + self.batch_size]
            for place, moments in zip(places, self._encode([views[place] for place in places]), strict=True):
                known[place] = moments
                self._keep(views[place], moments)
        return [moments for moments in known if moments is not None]

    def digest_of(self, path: Path) -> str:
        """SHA-256 of a file's bytes, read once: files do not change while a training runs.

        Raises:
            DataError: it cannot be read.
        """
        if path not in self._file_digests:
            self._file_digests[path] = digest_file(path)
        return self._file_digests[path]

    def sample(self, moments: Sequence[Moments], keys: Sequence[tuple[int, ...]]) -> Tensor:
        """Latents (n, c, h, w) as the U-Net sees them, one drawn for each key."""
        device, shift = self.vae.device, self.vae.config.get("shift_factor") or 0.0
        drawn = [
            each.mean + each.deviation * normal(each.mean.shape, "latent", *key)
            for each, key in zip(moments, keys, strict=True)
        ]
        return ((torch.stack(drawn) - shift) * self.vae.config.scaling_factor).to(device)

    @torch.no_grad()
    def _encode(self, views: Sequence[View]) -> list[Moments]:
        pixels = torch.stack([load_view(view, self.background) for view in views])
        posterior = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist
        means, deviations = posterior.mean.float().cpu(), posterior.std.float().cpu()
        made = []
        for view, mean, deviation in zip(views, means, deviations, strict=True):
            mask = load_mask(view)
            if mask is not None:
                mask = torch.nn.functional.interpolate(mask[None], mean.shape[-2:], mode="area")[0]
            made.append(Moments(mean, deviation, mask))
        return made

    def _known(self, view: View) -> Moments | None:
        kept = self.store.get(self._key(view)) if self.store is not None else None
        return None if kept is None else Moments(kept["mean"], kept["deviation"], kept.get("mask"))

    def _keep(self, view: View, moments: Moments) -> None:
        if self.store is None:
            return
        tensors = {"mean": moments.mean, "deviation": moments.deviation}
        if moments.mask is not None:
            tensors["mask"] = moments.mask
        self.store.put(self._key(view), tensors)

    def _key(self, view: View) -> str:
        item, place = view.item, view.placement
        return digest(
            "latents 1",
            self._vae_digest,
            self.digest_of(item.path),
            self.digest_of(item.mask) if item.mask else item.alpha_mask,
            place.bucket,
            place.resized,
            (view.left, view.top, view.mirrored),
            self.background,
        )
