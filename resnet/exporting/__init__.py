"""Finished networks for other runtimes: written, opened again there, compared with Evaluate, then put in place.

What every format has, `exporting/interface.py` says. Each format's module has `write(interface, folder)`, and
`opened(folder)`: the written network in its own runtime, as a function from images to answers.
"""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A row of the table."""

    name: str  # of the option and of the folder
    title: str
    packages: tuple[str, ...]  # of the extra `export`, that it needs besides TensorFlow, by their names on PyPI
    module: str  # a string, so that the command's help needs no TensorFlow


FORMATS = {
    row.name: row
    for row in (
        Format("savedmodel", "SavedModel", (), "resnet.exporting.saved_model"),
        Format("onnx", "ONNX", ("onnx", "onnxruntime"), "resnet.exporting.onnx_model"),
        Format("tflite", "TFLite", ("ai-edge-litert",), "resnet.exporting.tflite_model"),
    )
}
VIEW = "1-crop"  # how exported networks are meant to be used: Evaluate's answers in this view are compared
CARD_PACKAGE = "huggingface-hub"  # which writes the model card of every format
