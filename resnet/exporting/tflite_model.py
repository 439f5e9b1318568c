"""TFLite: the file model.tflite, for LiteRT (TensorFlow Lite) on phones and small computers.

A ZIP archive is appended to it, which runtimes skip, as in TensorFlow Lite's metadata convention: labels.txt has a
class's name a line, facts.json the rest.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from resnet.exporting.interface import Answer, Answerer, Interface
from resnet.files import atomic
from resnet.processes import cores

MODEL = "model.tflite"


def write(interface: Interface, folder: Path) -> None:
    """Write model.tflite."""
    with tempfile.TemporaryDirectory(dir=folder) as saved:  # given functions, the converter writes one in /tmp itself,
        tf.saved_model.save(interface, saved, interface.answer)  # and leaves the signature out where that is full
        content = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    labels = "".join(f"{name}\n" for _, name in interface.classes).encode()
    with atomic(folder / MODEL) as file:
        file.write(content)
        with zipfile.ZipFile(file, "a") as attached:
            attached.writestr("labels.txt", labels)
            attached.writestr("facts.json", interface.facts_file())


def opened(folder: Path) -> Answerer:
    """The written network, in LiteRT."""
    run = Interpreter(str(folder / MODEL), num_threads=cores()).get_signature_runner("serving_default")

    def answer(images: np.ndarray) -> Answer:
        outputs = run(images=images)
        return Answer(outputs["probabilities"], outputs["logits"])

    return answer
