"""How long training takes, and the learning rate at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from resnet.settings import Training


@dataclass(frozen=True)
class Schedule:
    """Steps count from 0. The batches are cut from an endless stream with `images` images an epoch."""

    training: Training
    images: int

    @property
    def steps(self) -> int:
        """Steps until every image was seen `epochs` times; the last batch may go a little beyond."""
        return -(-self.training.epochs * self.images // self.training.batch_size)

    def epoch(self, step: int) -> int:
        """The epoch that the first image of the step's batch belongs to."""
        return step * self.training.batch_size // self.images

    def epochs_done(self, done: int) -> int:
        """How many epochs are over after `done` steps."""
        return min(self.epoch(done), self.training.epochs)

    def is_epoch_end(self, done: int) -> bool:
        """Whether an epoch, or the training, ends with the last of `done` steps: its batch holds the last image."""
        return done > 0 and (self.epoch(done) > self.epoch(done - 1) or done == self.steps)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step.

        In the warm-up it rises evenly from step to step, and the last of its steps has the whole learning rate. Then it
        drops, at the first step of each of `drop_epochs`, or follows half a cosine over the epochs that are left:

            final + (initial - final) * (1 + cos(pi * passed)) / 2
        """
        training = self.training
        warmup = training.warmup_epochs * self.images / training.batch_size  # in steps; it may end within one
        if step + 1 < warmup:
            risen = (step + 1) / warmup
            return training.learning_rate * (training.warmup_factor + (1 - training.warmup_factor) * risen)
        if training.schedule == "cosine":
            whole = training.epochs * self.images / training.batch_size
            passed = min(max(step - warmup, 0) / (whole - warmup), 1.0)
            falls = training.learning_rate - training.final_learning_rate
            return training.final_learning_rate + falls * (1 + math.cos(math.pi * passed)) / 2
        drops = sum(self.epoch(step) >= epoch for epoch in training.drops)
        return training.learning_rate * training.drop_factor**drops

    @property
    def log_steps(self) -> int:
        """Steps between lines of the log: about twenty lines an epoch."""
        return max(self.images // self.training.batch_size // 20, 1)
