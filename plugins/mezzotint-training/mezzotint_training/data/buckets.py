"""Aspect buckets: pictures of like shape are brought to one size, so that they fit in a batch.

The list and the choice are those of kohya's sd-scripts (`library/model_util.py::make_bucket_resolutions`,
`BucketManager.select_bucket`), so that a data set is cut in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Buckets:
    """Which sizes there are.

    Args:
        resolution: the area that every size stays within.
        enabled: without, every picture is brought to `resolution`.
        minimum: of a side.
        maximum: of a side.
        step: sides are multiples of it.
        no_upscale: small pictures keep their size, cut down to multiples of `step`.
    """

    resolution: Size
    enabled: bool = True
    minimum: int = 256
    maximum: int = 1024
    step: int = 64
    no_upscale: bool = False

    def sizes(self) -> list[Size]:
        """All sizes, sorted; a square and every width with the greatest height that fits, both ways round."""
        area = self.resolution[0] * self.resolution[1]
        square = int(math.sqrt(area) // self.step) * self.step
        found = {(square, square)}
        for width in range(self.minimum, self.maximum + 1, self.step):
            height = min(self.maximum, area // width // self.step * self.step)
            if height >= self.minimum:
                found |= {(width, height), (height, width)}
        return sorted(found)

    def place(self, size: Size) -> Placement:
        """Where a picture of this size goes."""
        if not self.enabled:
            return Placement(self.resolution, cover(size, self.resolution))
        if self.no_upscale:
            return self._shrink(size)
        sizes = self.sizes()
        if size in sizes:
            return Placement(size, size)
        aspect = size[0] / size[1]
        bucket = min(sizes, key=lambda each: abs(each[0] / each[1] - aspect))
        return Placement(bucket, cover(size, bucket))

    def _shrink(self, size: Size) -> Placement:
        width, height = size
        area = self.resolution[0] * self.resolution[1]
        resized = size
        if width * height > area:
            aspect = width / height
            ideal_width = math.sqrt(area * aspect)
            ideal_height = area / ideal_width
            by_width = self._round(ideal_width)
            by_width = (by_width, self._round(by_width / aspect))
            by_height = self._round(ideal_height)
            by_height = (self._round(by_height * aspect), by_height)
            if abs(by_width[0] / by_width[1] - aspect) < abs(by_height[0] / by_height[1] - aspect):
                resized = (by_width[0], int(by_width[0] / aspect + 0.5))
            else:
                resized = (int(by_height[1] * aspect + 0.5), by_height[1])
        bucket = (
            max(self.step, resized[0] - resized[0] % self.step),
            max(self.step, resized[1] - resized[1] % self.step),
        )
        return Placement(bucket, resized if min(resized) >= self.step else cover(resized, bucket))

    def _round(self, value: float) -> int:
        rounded = int(value + 0.5)
        return max(self.step, rounded - rounded % self.step)


@dataclass(frozen=True)
class Placement:
    """A picture is resized to `resized` and cut to `bucket`."""

    bucket: Size
    resized: Size


def cover(size: Size, bucket: Size) -> Size:
    """The smallest size of this aspect that covers the bucket."""
    width, height = size
    if width * bucket[1] > height * bucket[0]:
        return max(bucket[0], int(width * bucket[1] / height + 0.5)), bucket[1]
    return bucket[0], max(bucket[1], int(height * bucket[0] / width + 0.5))
