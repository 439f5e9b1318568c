"""What TensorBoard finds in a training's event files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from resnet.loader.replay import shown_in_batch
from resnet.model.network import ResNet
from resnet.recipes import load_recipe
from resnet.training.board import SHEET, Board, sheet

SETTINGS = [
    "model.depth=8",
    "model.image_size=16",
    "evaluation.shorter_side=16",
    "training.batch_size=16",
    "training.replica_batch_size=16",
]


def board(folder: Path) -> Board:
    return Board(folder, lambda what: contextlib.nullcontext())


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_the_settings_are_hyper_parameters(tmp_path):
    recipe = load_recipe("digits", ["training.learning_rate=0.25"])[1]
    writer = board(tmp_path)
    writer.settings(recipe, "mine")
    writer.close()
    content = events(tmp_path).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert found["training.learning_rate"].number_value == 0.25
    assert found["augmentation.flip"].bool_value == recipe.augmentation.flip
    assert found["training.drop_epochs"].string_value == str(recipe.training.drop_epochs)


def test_each_layers_weights_are_a_histogram_and_its_statistics_are_not(tmp_path):
    network, writer = ResNet(8, 10), board(tmp_path)
    writer.weights(7, network.named_variables())
    writer.close()
    tags = events(tmp_path).Tags()["tensors"]
    assert len(tags) == sum(name.endswith("kernel") for name in network.named_variables()) > 9
    assert {"stem/conv/kernel", "classifier/kernel"} <= set(tags)


def test_the_sheet_has_the_first_images_of_the_first_batch(photo_records, tmp_path):
    recipe = load_recipe("digits", [*SETTINGS, "augmentation.mixup=0.4"])[1]
    found, records = sheet(recipe, photo_records), photo_records
    assert found.shape == (SHEET * 16, SHEET * 16, 3)
    for shown in shown_in_batch(recipe, records, 0):
        top, left = 16 * (shown.row // SHEET), 16 * (shown.row % SHEET)
        np.testing.assert_array_equal(found[top : top + 16, left : left + 16], shown.pixels)
    writer = board(tmp_path)
    writer.augmented(recipe, records)
    writer.close()
    assert "augmented" in events(tmp_path).Tags()["tensors"]


def test_a_batch_of_a_few_images_has_a_sheet_too(photo_records):
    recipe = load_recipe(
        "digits",
        ["model.image_size=16", "evaluation.shorter_side=16", "training.batch_size=6", "training.replica_batch_size=6"],
    )[1]
    assert sheet(recipe, photo_records).shape == (2 * 16, SHEET * 16, 3)
