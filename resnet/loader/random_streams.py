"""Random numbers that are pure functions of (seed, epoch, position): it does not matter which process draws, or when.

Each use has its own stream, a word of Philox's counter: a new use does not change the others' numbers.
"""

from __future__ import annotations

import numpy as np

# The word of each stream. They decide the results of finished trainings: give a new use a new word.
AUGMENTATION, SAMPLER, POLICY, ERASING, MIXING = 0, 1, 2, 3, 4

DRAWS = 32  # uniform numbers that a stream has for an image: a multiple of 4, Philox's block


def philox(seed: int, epoch: int, stream: int, position: int = 0) -> np.random.Philox:
    """The generator of a stream in an epoch, at the numbers of an image's position."""
    counter = [position * (DRAWS // 4), 0, 0, stream]
    return np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=counter)


def draws(seed: int, epoch: int, position: int, count: int, stream: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for `count` successive positions of an epoch: float64 [count, DRAWS]."""
    raw = philox(seed, epoch, stream, position).random_raw(count * DRAWS)
    return (raw >> np.uint64(11)).reshape(count, DRAWS) * 2.0**-53
