"""mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): which share of itself an image keeps, and where.

All images of a replica are mixed alike, each with the one before it: so a replica's step is the same on any device. A
mix is five numbers:

    share, top, left, bottom, right

An image keeps `share` of each pixel, and none inside the box; its partner gives the rest. mixup has an empty box, and
CutMix the share 1. What the labels count for is the mean over the pixels. With both, either comes half of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from resnet.loader.random_streams import MIXING, philox
from resnet.loader.sampler import ALL, Share
from resnet.settings import Recipe


@dataclass(frozen=True)
class Mixer:
    """Draws the mixes of a step: a pure function of (seed, step, replica). Of the replicas, those of a host's share."""

    mixup: float  # the parameter of the symmetric beta distribution of the shares; 0: without
    cutmix: float
    seed: int
    replicas: int  # of all hosts
    share: Share = ALL

    @classmethod
    def of(cls, recipe: Recipe, share: Share = ALL) -> Mixer | None:
        """None where the recipe mixes nothing."""
        augmentation, training = recipe.augmentation, recipe.training
        if not augmentation.mixup and not augmentation.cutmix:
            return None
        return cls(augmentation.mixup, augmentation.cutmix, training.seed, training.replicas, share)

    def __call__(self, step: int, size: int) -> np.ndarray:
        """The mix of each replica, for images of `size` pixels: float32 [replicas, 5]."""
        return np.array([self._mix(step, replica, size) for replica in self.share.rows(self.replicas)], np.float32)

    def _mix(self, step: int, replica: int, size: int) -> tuple[float, ...]:
        random = np.random.Generator(philox(self.seed, step, MIXING, replica))
        is_cutmix, y, x = random.random() < 0.5 if self.mixup and self.cutmix else not self.mixup, *random.random(2)
        alpha = self.cutmix if is_cutmix else self.mixup
        share = random.beta(alpha, alpha)
        if not is_cutmix:
            return share, 0, 0, 0, 0
        half = size * math.sqrt(1 - share) / 2  # of the box's side; at the edges of the image the box is cut
        edges = [min(max(round(size * centre + half * sign), 0), size) for sign in (-1, 1) for centre in (y, x)]
        return 1, *edges


def kept(mix: np.ndarray, size: int) -> np.ndarray:
    """How much of itself an image keeps at each pixel: float32 [size, size]."""
    share, top, left, bottom, right = mix
    found = np.full((size, size), share, np.float32)
    found[int(top) : int(bottom), int(left) : int(right)] = 0
    return found
