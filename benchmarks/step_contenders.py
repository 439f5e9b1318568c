"""The training steps that are compared: whole steps, with forward, backward, update and metrics, on the same batch.

Each is made in a process of its own (see `step_process`). `run(steps)` trains so many steps and returns when the last
one has ended, with its loss. Keras and PyTorch are given float32 images that were prepared before; this project takes
the uint8 images, as in training.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from step_task import LEARNING_RATE, LeftOut, StepTask

if TYPE_CHECKING:  # importing TensorFlow takes seconds, and the interpreter of PyTorch has none
    import tensorflow as tf

    from resnet.model.network import ResNet
    from resnet.settings import Recipe
    from resnet.training.step import TrainStep

CHECKPOINTED = "this project"  # the contender that also saves checkpoints


class Row(NamedTuple):
    make: str  # module:class
    options: dict[str, Any]
    is_torch: bool = False  # it may live in another interpreter


CONTENDERS = {
    "this project": Row("step_contenders:Ours", {}),
    "this project, deterministic": Row("step_contenders:Ours", {"deterministic": True}),
    "this project, XLA": Row("step_contenders:Ours", {"xla": True}),
    "Keras": Row("step_keras:KerasStep", {"xla": False}),
    "Keras, XLA": Row("step_keras:KerasStep", {"xla": True}),
    "PyTorch": Row("step_torch:TorchStep", {"compiled": False}, is_torch=True),
    "PyTorch, compiled": Row("step_torch:TorchStep", {"compiled": True}, is_torch=True),
    "products of matrices": Row("step_ceiling:Ceiling", {}),  # the ceiling of them all
}


class Ours:
    """`resnet.training.step.TrainStep`, on a batch that is on the device, as the others' is."""

    def __init__(self, task: list[Any], xla: bool = False, deterministic: bool = False, folder: str = ""):
        import tensorflow as tf

        from resnet.devices import device_names
        from resnet.training.checkpoints import Checkpoints

        own = StepTask(*task)
        if deterministic and own.deterministic:
            raise LeftOut("with --deterministic, every contender is")
        own = own._replace(deterministic=own.deterministic or deterministic)
        self._step, network, strategy = training_step(own, xla)
        self._batch = self._step.place(*own.load())
        self._numbers = itertools.count(1)
        self._temporary = tempfile.TemporaryDirectory(prefix="checkpoints-", dir=folder or None)
        self._checkpoints = Checkpoints(Path(self._temporary.name), network, self._step.state)
        self.facts = {"versions": f"TensorFlow {tf.__version__}", "device": ", ".join(device_names(strategy))}

    def run(self, steps: int) -> dict[str, float]:
        for _ in range(steps):
            metrics = self._step.on(self._batch, LEARNING_RATE)
        return {"loss": float(metrics[0])}

    def save(self) -> dict[str, float]:
        """Save a checkpoint, as training does: its state is on the disk when this returns."""
        return {"bytes": os.path.getsize(self._checkpoints.save(next(self._numbers)))}


def training_step(task: StepTask, xla: bool) -> tuple[TrainStep, ResNet, tf.distribute.Strategy]:
    """The recipe's TrainStep, its network and the trainer's strategy."""
    recipe = recipe_of(task, xla)
    strategy = strategy_of(recipe)
    return *made_step(recipe, task.classes, strategy), strategy


def strategy_of(recipe: Recipe) -> tf.distribute.Strategy:
    """The trainer's, over one device."""
    from resnet.devices import make_strategy
    from resnet.run import Machine

    training = recipe.training
    return make_strategy(Machine(), 1, precision=training.precision, deterministic=training.deterministic)


def made_network(recipe: Recipe, classes: int, strategy: tf.distribute.Strategy) -> ResNet:
    from resnet.model.network import network_of

    with strategy.scope():
        return network_of(recipe, classes)


def made_step(recipe: Recipe, classes: int, strategy: tf.distribute.Strategy) -> tuple[TrainStep, ResNet]:
    from resnet.training.step import TrainStep

    network = made_network(recipe, classes, strategy)
    with strategy.scope():
        return TrainStep(network, strategy, recipe.training), network


def recipe_of(task: StepTask, xla: bool) -> Recipe:
    """The recipe of ImageNet with the task's settings. Raises UserError for a setting that this version does not
    have."""
    from resnet.recipes import load_recipe

    settings = [
        f"model.depth={task.depth}",
        f"model.image_size={task.size}",
        f'model.stride_in="{task.stride_in}"',
        f"training.batch_size={task.batch}",
        f"training.replica_batch_size={task.batch // task.replicas}",
        f'training.precision="{task.precision}"',
        f"training.xla={json.dumps(xla)}",
        f"training.deterministic={json.dumps(task.deterministic)}",
    ]
    return load_recipe("imagenet-resnet50", settings)[1]
