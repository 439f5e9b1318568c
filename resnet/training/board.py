"""What TensorBoard shows of a training: its numbers and hyper-parameters, what the network sees, and its weights.

Nothing depends on it: what cannot be written is reported by `guard`, and left out.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import summary_v2 as hyper_parameters

from resnet.errors import UserError
from resnet.loader.replay import shown_in_batch
from resnet.records.shards import ShardedRecords
from resnet.settings import Recipe

Guard = Callable[[object], contextlib.AbstractContextManager[None]]

SHEET = 4  # images side by side, and one above the other


class Board:
    """Writes event files into a folder. `guard(what)`: the context that each write happens in."""

    def __init__(self, folder: Path, guard: Guard):
        self._guard, self._writer = guard, tf.summary.create_noop_writer()
        with guard(folder):
            self._writer = tf.summary.create_file_writer(str(folder))

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """What a line of the log says."""
        with self._writing(step):
            for name, value in numbers.items():
                tf.summary.scalar(name, value)

    def settings(self, recipe: Recipe, run: str) -> None:
        """The recipe as hyper-parameters: runs side by side under HPARAMS."""
        named = {
            f"{section}.{key}": value
            for section in ("model", "augmentation", "training")
            for key, value in getattr(recipe, section).affecting_results().items()
        }
        plain = {name: value if isinstance(value, (bool, int, float)) else str(value) for name, value in named.items()}
        with self._writing(0):
            hyper_parameters.hparams(plain, trial_id=run)

    def augmented(self, recipe: Recipe, records: ShardedRecords) -> None:
        """The first images of the first batch, as the network sees them."""
        try:
            pixels = sheet(recipe, records)
        except UserError:  # which the loader meets too, and says
            return
        with self._writing(0):
            tf.summary.image("augmented", pixels[None])

    def weights(self, step: int, variables: Mapping[str, tf.Variable]) -> None:
        """The distribution of each layer's weights."""
        with self._writing(step):
            for name, variable in variables.items():
                if name.endswith("/kernel"):
                    tf.summary.histogram(name, variable)

    def flush(self) -> None:
        with self._guard("the log for TensorBoard"):
            self._writer.flush()

    def close(self) -> None:
        with self._guard("the log for TensorBoard"):
            self._writer.close()

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        with self._guard("the log for TensorBoard"), self._writer.as_default(step):
            yield


def sheet(recipe: Recipe, records: ShardedRecords) -> np.ndarray:
    """The first images of the first batch in rows: uint8 RGB [height, width, 3]."""
    pixels = [shown.pixels for shown in itertools.islice(shown_in_batch(recipe, records, 0), SHEET * SHEET)]
    missing = -len(pixels) % SHEET
    pixels += [np.zeros_like(pixels[0])] * missing
    rows = [np.concatenate(pixels[start : start + SHEET], 1) for start in range(0, len(pixels), SHEET)]
    return np.concatenate(rows)
