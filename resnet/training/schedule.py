"""How long training goes, and the learning rate at each step."""

from __future__ import annotations

from dataclasses import dataclass

from resnet.settings import Training


@dataclass(frozen=True)
class Schedule:
    """Steps count from 0; the batches are cut from an endless stream of `images` an epoch."""

    training: Training
    images: int

    @property
    def steps(self) -> int:
        """Steps until every image was seen `epochs` times; the last batch may run a little over."""
        return -(-self.training.epochs * self.images // self.training.batch_size)

    def epoch(self, step: int) -> int:
        """The epoch that the first image of the step's batch belongs to."""
        return step * self.training.batch_size // self.images

    def ends_epoch(self, step: int) -> bool:
        """Whether the step's batch holds the last image of an epoch, or is the last of all."""
        return self.epoch(step + 1) > self.epoch(step) or step + 1 == self.steps

    def learning_rate(self, step: int) -> float:
        drops = sum(self.epoch(step) >= epoch for epoch in self.training.drop_epochs)
        return self.training.learning_rate * self.training.drop_factor**drops

    @property
    def log_steps(self) -> int:
        """Steps between lines of the log: about twenty lines an epoch."""
        return max(self.images // self.training.batch_size // 20, 1)
