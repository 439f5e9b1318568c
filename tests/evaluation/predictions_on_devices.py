"""Writes the predictions and logits of every view, with the CPU split into some devices.

python predictions_on_devices.py FOLDER DEVICES
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from resnet.devices import make_strategy
from resnet.evaluation.views import evaluate_view
from resnet.inference import Predictor
from resnet.loader.batches import block
from resnet.model.network import ResNet
from resnet.predictions_file import write_predictions
from resnet.records.shards import ShardedRecords
from resnet.run import Machine, Run

MADE = {  # depth of the network: the records that it sees, and the views, each with training's batch sizes
    50: ("many", {"1-crop": (1, 7, 256), "10-crop": (7,)}),  # here one image and several differ in the last bits
    8: ("few", {"multi-scale": (7,)}),  # each device sees one image at a time, so any network will do
}
CLASSES = [(f"class{label}", "") for label in range(10)]


def write_all(folder: Path, devices: int) -> None:
    """Write FOLDER/VIEW-BATCH-DEVICES.csv and .npy for the records in the folders `many` and `few` there."""
    strategy = make_strategy(Machine(cpu_devices=devices))
    for depth, (name, views) in MADE.items():
        records = ShardedRecords(folder / name, "validation")
        with strategy.scope():
            network = ResNet(depth, len(CLASSES))
        predictor = Predictor(network, strategy, block(records))
        for view, sizes in views.items():
            for size in sizes:
                batch = [f"training.batch_size={size}", f"training.replica_batch_size={size}"]
                settings = ["model.image_size=16", "evaluation.shorter_side=20", *batch]
                run = Run.of("imagefolder", settings, artifacts=folder, machine=Machine(workers=2))
                logits: list[np.ndarray] = []
                answers, filenames, _ = evaluate_view(run, records, predictor, view, logits.append)
                path = folder / f"{view}-{size}-{devices}.csv"
                np.save(path.with_suffix(".npy"), np.concatenate(logits))
                write_predictions(path, filenames, answers.labels, answers.likeliest, answers.probabilities, CLASSES)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), int(sys.argv[2]))
