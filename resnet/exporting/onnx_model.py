"""ONNX: the file model.onnx, for ONNX Runtime and whatever else reads ONNX.

Its metadata has the facts, each as JSON: `classes`, `image_size` and so on.

The graph is written layer by layer from the folded network. (tf2onnx, which converts TensorFlow's graph, makes the same
file, but takes 6 GB of memory for ResNet-50; and here the weights keep their names.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from resnet.exporting.folding import Bias
from resnet.exporting.interface import Answer, Answerer, Interface
from resnet.files import atomic
from resnet.model.layers import Conv, normalized
from resnet.model.network import Block, ResNet

MODEL = "model.onnx"
OPSET, IR_VERSION = 18, 8  # of 2023: every runtime that is maintained reads them


def write(interface: Interface, folder: Path) -> None:
    """Write model.onnx."""
    size, classes = interface.facts["image_size"], len(interface.classes)
    graph = _Graph()
    graph.network(interface.network)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            interface.facts["network"],
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", size, size, 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", classes]) for name in Answer._fields],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {name: json.dumps(value) for name, value in interface.facts.items()})
    onnx.checker.check_model(model, full_check=True)
    with atomic(folder / MODEL) as file:
        file.write(model.SerializeToString())


def opened(folder: Path) -> Answerer:
    """The written network, in ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
    return lambda images: Answer(*session.run(Answer._fields, {"images": np.ascontiguousarray(images)}))


class _Graph:
    """A network's nodes and weights, as ONNX has them. Values between nodes are NCHW, and have names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def network(self, network: ResNet) -> None:
        """Add everything from `images` to `logits` and `probabilities`."""
        x = self._relu(self._conv(self._pixels(network.normalization), network.stem, network.stem_norm))
        if network.for_imagenet:
            x = self._node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for block in network.blocks:
            x = self._block(x, block)
        features = self._node("Flatten", [self._node("GlobalAveragePool", [x])])
        classifier = [self._variable(network.classifier.kernel), self._variable(network.classifier.bias)]
        logits = self._node("Gemm", [features, *classifier], output="logits")
        self._node("Softmax", [logits], output="probabilities", axis=1)

    def _pixels(self, normalization: str) -> str:
        """The normalised images. Each channel is scaled and shifted, so that black and white say what to do."""
        black, white = (normalized(np.full(3, value, np.uint8), normalization).numpy() for value in (0, 255))
        x = self._node("Cast", ["images"], to=TensorProto.FLOAT)
        x = self._node("Mul", [x, self._weight("normalization/scale", (white - black) / np.float32(255))])
        x = self._node("Add", [x, self._weight("normalization/offset", black)])
        return self._node("Transpose", [x], perm=[0, 3, 1, 2])

    def _block(self, x: str, block: Block) -> str:
        shortcut = self._conv(x, block.projection, block.projection_norm) if block.projection else x
        for conv, bias in zip(block.convs[:-1], block.norms[:-1], strict=True):
            x = self._relu(self._conv(x, conv, bias))
        return self._relu(self._node("Add", [self._conv(x, block.convs[-1], block.norms[-1]), shortcut]))

    def _conv(self, x: str, conv: Conv, bias: Bias) -> str:
        inputs = [x, self._variable(conv.kernel), self._variable(bias.bias)]
        return self._node("Conv", inputs, strides=[conv.stride] * 2, pads=[conv.padding] * 4)

    def _relu(self, x: str) -> str:
        return self._node("Relu", [x])

    def _node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def _variable(self, variable: tf.Variable) -> str:
        """Add a variable under its own name; kernels of convolutions change from HWIO to OIHW."""
        values = variable.numpy()
        return self._weight(variable.name.split(":")[0], values.transpose(3, 2, 0, 1) if values.ndim == 4 else values)

    def _weight(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name
