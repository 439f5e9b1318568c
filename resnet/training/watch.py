"""Looks at a training after each epoch, and says what goes wrong although it goes on."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

logger = logging.getLogger(__name__)

FIRST_STEPS = 100  # in which a network need not have learned anything
FAR_OFF = 0.2  # of the expected first loss: at most 0.07 was seen, in 48 networks of all kinds
MOST_WAIT = 0.05  # of the time, spent waiting for images
DEVIATIONS = 2  # by which an error must be below chance to be better
SLOWEST = 0.5  # of the greatest images/s so far


class Epoch(NamedTuple):
    """What the steps of an epoch were like, as far as this attempt saw them."""

    loss: float | None  # the mean; None unless all were seen, and where float16 skipped all
    images_per_second: float | None  # None where too few were seen
    data_wait: float | None  # share of the time spent waiting for images
    is_whole: bool = True  # whether all were seen


class Watch:
    """Each warning comes once. `chance_error`: of always answering the most frequent class, in percent. `images`: how
    many are validated, which says how much luck may be worth. `speaks`: of several hosts that train together, one does.
    """

    def __init__(self, chance_error: float, images: int, speaks: bool = True):
        self._chance_error, self._speaks = chance_error, speaks
        deviation = math.sqrt(chance_error * (100 - chance_error) / images)  # of a binomial, in percent
        self._still_chance = chance_error - DEVIATIONS * deviation
        self._said: set[str] = set()
        self._fastest = 0.0

    def look_at_first_loss(self, loss: float, expected: float | None) -> None:
        """After the first step of all. `expected`: of random weights; None: not known."""
        if expected is not None and abs(loss - expected) > FAR_OFF * expected:
            self._warn(
                "first loss",
                f"the first loss is {loss:.3f}; random weights should make about {expected:.3f}. Look at images and "
                "labels (python -m resnet batch)",
            )

    def look(self, number: int, epoch: Epoch, steps: int, top1_error: float) -> None:
        """After the validation of an epoch, when so many steps are done."""
        if steps >= FIRST_STEPS and 0 < self._still_chance <= top1_error:
            self._warn(
                "chance",
                f"after epoch {number} the error is {top1_error:.2f} %, no better than chance: always to answer the "
                f"most frequent class makes {self._chance_error:.2f} %. Look at images and labels (python -m "
                "resnet batch), and lower training.learning_rate",
            )
        if (wait := epoch.data_wait or 0.0) > MOST_WAIT:
            self._warn(
                "wait",
                f"epoch {number} waited for images for {100 * wait:.0f} % of its time: give it more workers "
                "(luigi.cfg), more cores, or a faster disk",
            )
        if (speed := epoch.images_per_second) is None:
            return
        if speed < SLOWEST * self._fastest:
            self._warn(
                "speed",
                f"epoch {number} made {speed:,.0f} images/s, an earlier one {self._fastest:,.0f}: look what else "
                "runs on this machine, and whether it is too hot",
            )
        self._fastest = max(self._fastest, speed)

    def _warn(self, kind: str, message: str) -> None:
        if self._speaks and kind not in self._said:
            self._said.add(kind)
            logger.warning("%s", message)
