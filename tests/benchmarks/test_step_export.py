"""A training step as StableHLO: what each argument and result is, and that it is TrainStep's own step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from exported_step import INPUTS, METRICS, ExportedStep
from step_contenders import made_step, recipe_of
from step_export import described, export_step, portable
from step_task import LEARNING_RATE, StepTask, made_batch
from tensorflow.compiler.tf2xla.python import xla

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.training.step import TrainStep
from resnet.weights.safetensors_files import values

TASK = StepTask(20, 2, 8, 10, "float32", "1x1", False, "")


@pytest.fixture(scope="module")
def steps() -> list[tuple[TrainStep, ResNet]]:
    """ResNet-20's step on two images of 8x8 pixels, twice, with the same weights."""
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    return [made_step(recipe_of(TASK, False), TASK.classes, strategy) for _ in range(2)]


@pytest.fixture(scope="module")
def step(steps, tmp_path_factory) -> ExportedStep:
    folder = tmp_path_factory.mktemp("exported") / "step"
    export_step(*steps[0], TASK, folder)
    return ExportedStep.read(folder)


def call(step: ExportedStep, arguments: list[np.ndarray]) -> list[np.ndarray]:
    """The module's results, computed from the file alone."""
    results = step.description["results"]

    @tf.function(jit_compile=True, autograph=False)
    def run(*values: tf.Tensor) -> list[tf.Tensor]:
        return xla.call_module(
            values,
            version=9,
            module=step.module,
            Tout=[tf.as_dtype(one["dtype"]) for one in results],
            Sout=[one["shape"] for one in results],
            platforms=["CPU"],
        )

    return [result.numpy() for result in run(*map(tf.constant, arguments))]


def test_the_exported_step_is_the_trainers_step(step, steps):
    images, labels = made_batch(TASK.batch, TASK.size, TASK.classes)
    results = call(step, [images, labels, np.float32(LEARNING_RATE), *step.state()])
    found = {one["name"]: value for one, value in zip(step.description["results"], results, strict=True)}
    own, network = steps[1]
    metrics = own(images, labels, LEARNING_RATE).numpy()
    state = {f"weights/{name}": value for name, value in values(network.named_variables()).items()}
    expected = {METRICS: metrics} | state | values(own.optimizer.state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4 * np.abs(value).max(), err_msg=name)


def test_the_description_agrees_with_the_module(step):
    arguments, results = step.description["arguments"], step.description["results"]
    assert [one["name"] for one in arguments[: len(INPUTS)]] == list(INPUTS)
    assert [(one["shape"], one["dtype"]) for one in arguments[:3]] == [
        ([2, 8, 8, 3], "uint8"),
        ([2], "int32"),
        ([], "float32"),
    ]
    assert results[step.metrics] == {"shape": [4], "dtype": "float32", "name": METRICS}
    for result, argument in step.replaces.items():
        assert {key: arguments[argument][key] for key in ("name", "shape", "dtype")} == {
            key: results[result][key] for key in ("name", "shape", "dtype")
        }
    assert sorted(step.replaces.values()) == list(range(len(INPUTS), len(arguments)))  # nothing is frozen here
    assert [one["shape"] for one in arguments[len(INPUTS) :]] == [list(array.shape) for array in step.state()]


def test_the_module_is_a_portable_artifact_of_the_version_that_the_description_names(step):
    assert f"StableHLO_v{step.description['stablehlo']}".encode() in step.module[:40]


def test_a_module_whose_arguments_are_not_the_variables_is_refused():
    text = "func.func @main(%arg0: tensor<2xui8>, %arg1: tensor<2xi32>) -> (tensor<3xf32>) {\n"
    with pytest.raises(UserError, match="are not the step's variables in their order"):
        described(text, {})


def test_a_module_with_operations_outside_of_stablehlo_is_refused():
    text = "func.func @main(%0: tensor<f32>) -> tensor<f32> { %1 = mhlo.erf %0 : tensor<f32> return %1 : tensor<f32> }"
    with pytest.raises(UserError, match="not plain StableHLO"):
        portable(text)


@pytest.mark.parametrize(("precision", "exactness"), [("float32", "HIGHEST"), ("tensorfloat32", "DEFAULT")])
def test_an_export_in_float32_forbids_tensorfloat_32(precision, exactness, steps, tmp_path, monkeypatch):
    texts: list[str] = []
    monkeypatch.setattr("step_export.portable", lambda text: texts.append(text) or b"")
    export_step(*steps[0], TASK._replace(precision=precision), tmp_path)
    products = [line for line in texts[0].splitlines() if "stablehlo.convolution" in line or "stablehlo.dot" in line]
    assert len(products) > 60
    assert all(exactness in line for line in products)
