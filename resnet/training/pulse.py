"""Follows the steps to their end, from threads, so that training itself need not wait for a device.

What it promises:
- the first step whose loss or gradients are not finite is known as soon as the device has done it, by its number;
  in float16, one that was skipped because its gradients overflowed does not count;
- where nothing ends within `limit` seconds, the stacks of all threads are written to a file and `on_stall` is called,
  so that training saves and stops if it still can. If it cannot, the process ends after GRACE_SECONDS, by itself: the
  same command continues from the newest checkpoint. A process that was suspended is not stalled.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import tensorflow as tf

from resnet.console import UNSHOWN
from resnet.errors import Stalled, UserError
from resnet.progress import send_to_parent, time_text

logger = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
LOOK_SECONDS = 1.0  # between two looks at the clock


class NotFinite(UserError):
    """The loss or the gradients of a step are not finite. `step` counts from 1."""

    def __init__(self, step: int, learning_rate: float, what: str):
        super().__init__(f"{what} in step {step}, at the learning rate {learning_rate:g}")
        self.step = step


class _Step(NamedTuple):
    """A step that is running, or done."""

    number: int  # counts from 1
    learning_rate: float
    metrics: tf.Tensor
    is_read: threading.Event


class Pulse:
    """A context manager. `names`: of what the steps return. `stacks`: a file for them. `limit`: seconds; 0: none."""

    def __init__(self, names: Sequence[str], stacks: Path, limit: float, on_stall: Callable[[], None]):
        self._names, self._stacks, self._limit, self._on_stall = names, stacks, limit, on_stall
        self._steps: SimpleQueue[_Step | None] = SimpleQueue()
        self._newest: _Step | None = None
        # A daemon: it may wait for a device that never answers, and the process must end all the same.
        self._reader = threading.Thread(target=self._read, name="pulse", daemon=True)
        self._found: NotFinite | None = None
        self._stalled = ""
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._watch_clock, name="clock", daemon=True)

    def __enter__(self) -> Pulse:
        self.beat()
        self._reader.start()
        if self._limit:
            self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._steps.put(None)

    def beat(self) -> None:
        """Something has come to its end."""
        self._beat = time.monotonic()

    def follow(self, step: int, learning_rate: float, metrics: tf.Tensor) -> None:
        """Look at what a step has found, when it is done. `step` counts from 1."""
        self._newest = _Step(step, learning_rate, metrics, threading.Event())
        self._steps.put(self._newest)

    def require_finite(self, *, all_steps: bool = False) -> None:
        """Raise NotFinite for what is known so far; with `all_steps`, wait for the steps that are not done yet."""
        if all_steps and self._newest:
            self._newest.is_read.wait()
        if self._found:
            raise self._found

    def require_progress(self) -> None:
        """Raise Stalled where nothing ended in time."""
        if self._stalled:
            raise Stalled(self._stalled)

    def _read(self) -> None:
        while step := self._steps.get():
            with contextlib.suppress(tf.errors.OpError):  # whoever reads the step's results meets it too
                values = dict(zip(self._names, step.metrics.numpy().tolist(), strict=True))
                self.beat()
                self._look(step.number, step.learning_rate, values)
            step.is_read.set()

    def _look(self, step: int, learning_rate: float, values: Mapping[str, float]) -> None:
        if self._found or values.get("skipped_steps"):
            return
        if not math.isfinite(values["loss"]):
            self._found = NotFinite(step, learning_rate, f"the loss became {values['loss']:g}")
        elif not math.isfinite(values["gradient_norm"]):
            self._found = NotFinite(step, learning_rate, f"the gradients became {values['gradient_norm']:g}")

    def _watch_clock(self) -> None:
        looked = time.monotonic()
        while not self._ended.wait(min(LOOK_SECONDS, self._limit / 4)):
            now = time.monotonic()
            if now - looked > self._limit / 2:  # the process was suspended
                self.beat()
            looked = now
            if now - self._beat > self._limit:
                self._stall()
                return

    def _stall(self) -> None:
        self._stalled = (
            f"no step ended within {time_text(self._limit)}; {self._stacks} says what each thread was doing. The same "
            "command continues from the newest checkpoint (the limit is step_minutes in luigi.cfg)"
        )
        self._on_stall()
        # From a thread of its own: the disk may be what hangs.
        threading.Thread(target=self._write_stacks, name="stacks", daemon=True).start()
        if self._ended.wait(GRACE_SECONDS):
            return
        logger.error("%s", self._stalled, extra=UNSHOWN)
        if not send_to_parent(error=self._stalled):
            print(f"error: {self._stalled}", file=sys.stderr, flush=True)
        os._exit(Stalled.exit_code)

    def _write_stacks(self) -> None:
        logger.warning("no step ended within %s: training saves and stops, if it can", time_text(self._limit))
        with contextlib.suppress(OSError), open(self._stacks, "w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
