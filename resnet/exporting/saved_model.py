"""TensorFlow's SavedModel: a folder, for TensorFlow and TensorFlow Serving.

Its assets are classes.txt (identifier, tab, name) and facts.json; the signature `classes` gives the same names as
tensors, to clients that see no files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet.exporting.interface import Answer, Answerer, Interface
from resnet.records.shards import write_classes

MODEL = "model"


def write(interface: Interface, folder: Path) -> None:
    """Write the folder `model`."""
    identifiers, names = (
        tf.constant([name.encode(errors="surrogateescape") for name in column])
        for column in zip(*interface.classes, strict=True)
    )

    def classes() -> dict[str, tf.Tensor]:
        return {"identifiers": tf.identity(identifiers), "names": tf.identity(names)}

    signatures = {
        tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: interface.answer,
        "classes": tf.function(classes, input_signature=[], autograph=False),
    }
    with tempfile.TemporaryDirectory(dir=folder) as assets:
        facts = Path(assets) / "facts.json"
        facts.write_bytes(interface.facts_file())
        interface.classes_file = tf.saved_model.Asset(str(write_classes(Path(assets), interface.classes)))
        interface.facts_asset = tf.saved_model.Asset(str(facts))
        tf.saved_model.save(interface, str(folder / MODEL), signatures)


def opened(folder: Path) -> Answerer:
    """The written network. It runs on the CPU: there, float32 is float32, and not TensorFloat-32."""
    with tf.device("CPU"):
        loaded = tf.saved_model.load(str(folder / MODEL))

    def answer(images: np.ndarray) -> Answer:
        with tf.device("CPU"):
            outputs = loaded.signatures["serving_default"](images=tf.constant(images))
        return Answer(outputs["probabilities"].numpy(), outputs["logits"].numpy())

    return answer
