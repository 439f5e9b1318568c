"""An exported training step under JAX's PJRT client, alone and fed by this project's loader."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from exported_step import INPUTS, METRICS, ExportedStep
from jax import export, numpy
from step_task import LEARNING_RATE, made_batch

from resnet.errors import UserError

SETTLE = 12  # steps that are not counted: as many batches as may have been ready before the first


class PjrtStep:
    """A contender: see `step_contenders`. Its state stays on the device; the step's results take its memory."""

    def __init__(self, folder: str, made_state: bool = False, records: str = ""):
        self._export, self._records = ExportedStep.read(Path(folder)), records
        start = time.perf_counter()
        self._step = compiled(self._export)
        seconds = time.perf_counter() - start
        self._state = jax.device_put(self._export.made_state() if made_state else self._export.state())
        self._rate = jax.device_put(np.float32(LEARNING_RATE))
        task = self._export.task
        self._batch = jax.device_put(made_batch(task.batch, task.size, task.classes))
        versions = f"JAX {jax.__version__}, StableHLO {self._export.description['stablehlo']} of TensorFlow "
        self.facts = {
            "versions": versions + self._export.description["tensorflow"],
            "device": jax.devices()[0].device_kind,
            "compile_seconds": seconds,
        }

    def run(self, steps: int) -> dict[str, float]:
        for _ in range(steps):
            metrics = self._train(*self._batch)
        return {"loss": float(metrics[0])}

    def check(self) -> dict[str, Any]:
        """How far the state is from TensorFlow's after the same steps: the greatest difference of a variable, relative
        to the greatest number in it; the median over all variables, the greatest, and that variable's name."""
        expected, steps, batch = self._export.expected()
        self._state = jax.device_put(self._export.state())
        for _ in range(steps):
            metrics = self._train(*batch)
        names = [one["name"] for one in self._export.description["arguments"][len(INPUTS) :]]
        found = dict(zip([*names, METRICS], [*self._state, metrics], strict=True))
        differences = {name: relative_difference(np.asarray(found[name]), expected[name]) for name in expected}
        name = max(differences, key=lambda name: differences[name])
        median = float(np.median(list(differences.values())))
        return {
            "steps": steps,
            "variables": len(expected),
            "median": median,
            "greatest": differences[name],
            "name": name,
        }

    def fed(self, workers: int, steps: int) -> dict[str, float]:
        """Train on images from the loader. `waiting`: seconds in which the device had nothing to do, because the next
        images were not on it yet."""
        with loader_of(self._records, self._export, workers) as loader, ThreadPoolExecutor(1) as observer:
            batches, waiting = iter(loader), 0.0
            finished = observer.submit(finish_time, self._train(*self._batch))
            for number in range(SETTLE + steps):
                if number == SETTLE:
                    before, waiting = finished, 0.0
                finished, waited = self._train_fed(batches, finished, observer)
                waiting += waited
            return {"seconds": finished.result() - before.result(), "waiting": waiting}

    def _train_fed(self, batches: Iterator[Any], before: Future, observer: ThreadPoolExecutor) -> tuple[Future, float]:
        """Transfer the next batch while the step before runs, and queue its step behind that one. Two steps at most are
        on their way: more would keep all of the loader's memory."""
        batch = transferred(batches)
        ready = time.perf_counter()
        metrics = self._train(*batch)
        waited = max(ready - before.result(), 0.0)
        return observer.submit(finish_time, metrics), waited

    def _train(self, images: Any, labels: Any) -> Any:
        """One step; returns its metrics, which may still be on their way."""
        results = self._step(images, labels, self._rate, *self._state)
        for result, argument in self._export.replaces.items():
            self._state[argument - len(INPUTS)] = results[result]
        return results[self._export.metrics]


def compiled(exported: ExportedStep) -> Any:
    """The step as a function of its arguments, whose state is donated.

    JAX calls what JAX has exported. So a function of the same signature is exported, and the step takes the place of
    its module.
    """
    arguments, results = (
        [jax.ShapeDtypeStruct(tuple(one["shape"]), one["dtype"]) for one in exported.description[kind]]
        for kind in ("arguments", "results")
    )

    def stand_in(*_: Any) -> list[Any]:
        return [numpy.zeros(result.shape, result.dtype) for result in results]

    signature = export.export(jax.jit(stand_in, keep_unused=True))(*arguments)
    step = dataclasses.replace(signature, fun_name="step", mlir_module_serialized=exported.module)
    donated = tuple(exported.replaces.values())
    return jax.jit(step.call, donate_argnums=donated, keep_unused=True).lower(*arguments).compile()


def transferred(batches: Iterator[Any]) -> tuple[Any, Any]:
    """The next images and labels, when they are on the device."""
    gc.collect(0)  # only then does JAX let go of memory of the loader that it has no use for any more
    batch = next(batches)
    return jax.block_until_ready(jax.device_put((batch.images, batch.labels)))


def finish_time(metrics: Any) -> float:
    """When a step has ended."""
    metrics.block_until_ready()
    return time.perf_counter()


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The greatest difference, relative to the greatest number expected."""
    difference = np.abs(found.astype(np.float64) - expected).max()
    return float(difference / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


def loader_of(folder: str, exported: ExportedStep, workers: int) -> Any:
    """This project's loader on records, with ImageNet's crops and colour. Raises UserError for records of more classes
    than the step has."""
    from resnet.loader.loader import Loader
    from resnet.loader.sampler import TrainingSampler
    from resnet.loader.transforms import Augment
    from resnet.records.shards import ShardedRecords
    from resnet.settings import Augmentation

    task, records = exported.task, ShardedRecords(Path(folder), "train")
    if len(records.classes) > task.classes:
        raise UserError(f"{folder} has {len(records.classes)} classes, and the exported step {task.classes}")
    return Loader(
        records,
        TrainingSampler(len(records), task.batch, 0),
        [Augment.of(Augmentation(), task.size)],
        task.size,
        first_step=0,
        last_step=1 << 40,
        workers=workers,
    )
