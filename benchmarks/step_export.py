"""A whole training step as StableHLO, with its state: for any machine with PJRT, without TensorFlow or this project.

A folder of `step.stablehlo` (a portable artifact), `state.safetensors` (the state before the first step) and
`step.json`, which says what each argument and result is. The state consists of arguments, and of results that replace
them. TensorFlow calls its compiler's output a means of debugging, without a promise that a later version reads it. So
it is stored as StableHLO's portable artifact of version 1.0.0, which later versions are to read (backward for five
years: https://openxla.org/stablehlo/compatibility).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from exported_step import AFTER, DESCRIPTION, INPUTS, METRICS, MODULE, STATE
from step_task import LEARNING_RATE, SEED, StepTask, made_batch

from resnet.checked_json import write_json
from resnet.errors import UserError
from resnet.files import atomic, sha256
from resnet.model.network import ResNet
from resnet.training.step import TrainStep
from resnet.weights.safetensors_files import values
from resnet.weights.tensor_files import write_tensors

TARGET = "1.0.0"  # the first version of StableHLO that promises compatibility, and old enough for every reader
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "ui8": "uint8", "i32": "int32", "i64": "int64"}
DTYPES |= {"i1": "bool"}


def export_step(step: TrainStep, network: ResNet, task: StepTask, folder: Path, *, check_steps: int = 0) -> None:
    """Write the export. `check_steps`: also the state after so many steps of TensorFlow's own XLA, to compare with, on
    `step_task.made_batch`. (Other kernels round differently, and after the first step a ReLU here and there decides
    otherwise.)

    Raises UserError for a step that XLA cannot compile or StableHLO cannot express.
    """
    # XLA writes into the module how exact products are; left alone, it would allow TensorFloat-32 in all of float32.
    tf.config.experimental.enable_tensor_float_32_execution(task.precision == "tensorfloat32")
    images, labels = made_batch(task.batch, task.size, task.classes)
    arguments = tf.constant(images), tf.constant(labels), tf.constant(LEARNING_RATE)
    function = tf.function(lambda *batch: step.on_all_devices(*batch), autograph=False, jit_compile=True)
    variables = named(function.get_concrete_function(*arguments), network, step.state)
    text = stablehlo_of(function, arguments)
    description = described(text, variables)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / MODULE) as file:
        file.write(portable(text))
    write_tensors(folder / STATE, values(variables))
    description |= {
        "step": task._replace(images="")._asdict(),
        "tensorflow": tf.__version__,
        "stablehlo": TARGET,
        "platform": "CPU",
        "sha256": {name: sha256(folder / name) for name in (MODULE, STATE)},
    }
    if check_steps:
        for _ in range(check_steps):
            metrics = function(*arguments)
        write_tensors(folder / AFTER, values(variables) | {METRICS: metrics.numpy()})
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        description["check"] = {"steps": check_steps, "learning_rate": LEARNING_RATE, "seed": SEED, "batch": digest}
        description["sha256"][AFTER] = sha256(folder / AFTER)
    write_json(folder / DESCRIPTION, description)


def stablehlo_of(function: Any, arguments: tuple[tf.Tensor, ...]) -> str:
    """What XLA makes of a function, as text. Raises UserError for one that it cannot compile."""
    tf.random.set_seed(0)  # TensorFlow draws a number to find out its device, which deterministic operations refuse
    try:
        return function.experimental_get_compiler_ir(*arguments)(stage="stablehlo", platform_name="CPU")
    except ValueError as error:
        raise UserError(f"XLA cannot compile this step: {str(error).splitlines()[0]}") from None


def named(traced: Any, network: ResNet, state: Mapping[str, tf.Variable]) -> dict[str, tf.Variable]:
    """The variables that a traced step uses, in the order of its captured arguments: weights/NAME, and those of the
    optimizer's state as in checkpoints."""
    names = {id(v.handle): f"weights/{name}" for name, v in network.named_variables().items()}
    names |= {id(v.handle): name for name, v in state.items()}
    by_handle = {id(variable.handle): variable for variable in traced.graph.variables}
    variables = {}
    for captured in traced.captured_inputs:
        variable = by_handle.get(id(captured))
        if variable is None:
            raise UserError(f"the step uses {captured!r}, which is no variable: an export cannot hold it")
        variables[names.get(id(captured), variable.name.split(":")[0])] = variable
    if len(variables) != len(traced.captured_inputs):
        raise UserError("two variables of the step have the same name: an export cannot tell them apart")
    return variables


def described(text: str, variables: dict[str, tf.Variable]) -> dict[str, list[dict[str, Any]]]:
    """What each argument and result of the module is. Raises UserError unless they are the inputs, the variables, the
    metrics and the variables' new values."""
    found = re.search(r"func\.func @main\((.*?)\) -> (.*?) \{\n", text, re.DOTALL)
    if not found:
        raise UserError("TensorFlow's StableHLO has no function main as this version expects it")
    arguments, results = (_tensors(part) for part in found.groups())
    names = [*INPUTS, *variables]
    shapes = [tuple(variable.shape) for variable in variables.values()]
    if len(arguments) != len(names) or [tuple(one["shape"]) for one in arguments[len(INPUTS) :]] != shapes:
        raise UserError("the arguments of TensorFlow's StableHLO are not the step's variables in their order")
    for argument, name in zip(arguments, names, strict=True):
        argument["name"] = name
        if name in variables:
            argument |= {"mean": _number(np.mean, variables[name]), "deviation": _number(np.std, variables[name])}
    pairs = re.findall(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>", text)
    replaces = {int(result): int(argument) for argument, result in pairs}
    for index, result in enumerate(results):
        if index in replaces:
            result |= {"name": names[replaces[index]], "replaces": replaces[index]}
        else:
            result["name"] = METRICS
    if [result["name"] for result in results].count(METRICS) != 1:
        raise UserError("TensorFlow's StableHLO does not say which argument each result replaces")
    return {"arguments": arguments, "results": results}


def _tensors(types: str) -> list[dict[str, Any]]:
    """Shape and dtype of each tensor type in some text: tensor<2x3xf32> is [2, 3] of float32."""
    parts = [found.split("x") for found in re.findall(r"tensor<([^>]*)>", types)]
    return [{"shape": [int(size) for size in sizes], "dtype": DTYPES[kind]} for *sizes, kind in parts]


def _number(of: Callable[..., Any], variable: tf.Variable) -> float:
    return float(of(variable.numpy(), dtype=np.float64))


def portable(text: str) -> bytes:
    """StableHLO as a portable artifact. TensorFlow adds copies of another dialect, each here a reshape to its own
    shape. Raises UserError for a module that has more than StableHLO."""
    from tensorflow.compiler.mlir.stablehlo import stablehlo

    plain = re.sub(r"mhlo\.copy (%\S+) : (tensor<[^>]*>)", r"stablehlo.reshape \1 : (\2) -> \2", text)
    try:
        return stablehlo.serialize_portable_artifact_str(plain, TARGET)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"the step is not plain StableHLO {TARGET}: {error}; MLIR's reason is above") from None
