"""ONNX: the file model.onnx, for ONNX Runtime and whatever else reads ONNX.

Its metadata has the facts, each as JSON: `classes`, `image_size` and so on.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tf2onnx

from resnet.exporting.interface import Answer, Answerer, Interface
from resnet.files import atomic

MODEL = "model.onnx"
OPSET = 18  # of 2023: every runtime that is maintained has it


def write(interface: Interface, folder: Path) -> None:
    """Write model.onnx."""
    model, _ = tf2onnx.convert.from_function(interface.answer, interface.answer.input_signature, opset=OPSET)
    model.graph.name = interface.facts["network"]
    del model.graph.value_info[:]  # inferred shapes, which every runtime infers again
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in interface.facts.items()})
    onnx.checker.check_model(model)
    with atomic(folder / MODEL) as file:
        file.write(model.SerializeToString())


def opened(folder: Path) -> Answerer:
    """The written network, in ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
    return lambda images: Answer(*session.run(Answer._fields, {"images": np.ascontiguousarray(images)}))
