"""Evaluate: each validation image exactly once, in each view that the recipe asks for."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.baseline import compare_with_chance
from resnet.analysis.class_order import SUSPICIOUS, reordered_error
from resnet.devices import device_names, make_strategy, peak_gpu_memory
from resnet.evaluation.logits_file import megabytes, writing_logits
from resnet.evaluation.real_labels import RealLabels
from resnet.evaluation.statistics_curve import statistics_curve
from resnet.evaluation.views import Seen, evaluate_view
from resnet.files import atomic
from resnet.inference import Predictor, summary
from resnet.ledger import Attempt
from resnet.loader.batches import block, doubts
from resnet.loader.views import LONGEST
from resnet.model.network import ResNet, network_of
from resnet.predictions_file import predictions_name, write_predictions
from resnet.records.shards import ShardedRecords
from resnet.report.published import agreement, expected_error, is_imagenet
from resnet.run import Run
from resnet.weights.safetensors_files import load_weights

logger = logging.getLogger(__name__)


def main(run: Run, attempt: Attempt) -> None:
    """Measure the weights with averaged statistics on the validation images."""
    records = ShardedRecords(run.records, "validation")
    real_labels = RealLabels.of(run, records)  # a wrong file is found before anything makes way
    attempt.begin()
    strategy = make_strategy(run.machine, precision=run.recipe.training.precision)
    with strategy.scope():
        network = network_of(run.recipe, len(records.classes))
    load_weights(run.stage_folder("batchnorm") / "weights.safetensors", network)
    predictor = Predictor(network, strategy, block(records))
    metrics: dict[str, Any] = {"images": len(records), "views": {}}
    outputs = []
    for view in run.recipe.evaluation.views:
        seen, files = look(run, attempt, records, predictor, view)
        metrics["views"][view] = summary(seen.answers)
        outputs += files
        print_result(run, records, view, metrics["views"][view], seen)
        if real_labels and view == run.recipe.evaluation.views[0]:
            metrics["real_labels"] = real_labels.measure(seen)
    if run.recipe.evaluation.statistics_curve:
        metrics["statistics"] = measure_statistics(run, attempt, records, network, predictor)
    outputs.insert(0, write_metrics(attempt, metrics))
    devices = device_names(strategy)
    attempt.finish(outputs, gpu_memory=peak_gpu_memory(), devices=devices, metrics=metrics)


def look(
    run: Run, attempt: Attempt, records: ShardedRecords, predictor: Predictor, view: str
) -> tuple[Seen, list[Path]]:
    """Show all images in a view; returns what came of it, and the files that it is in."""
    for doubt in doubts(view, run.recipe):
        logger.warning("%s: %s", view, doubt)
    views, classes = run.recipe.evaluation.views, records.classes
    files = [attempt.folder / predictions_name(view, views)]
    with contextlib.ExitStack() as logits:
        keep = {}
        if view == views[0] and megabytes(len(records), len(classes)) <= run.recipe.evaluation.logits_megabytes:
            files.append(attempt.folder / "logits.npy")
            keep["keep"] = logits.enter_context(writing_logits(files[-1], len(records), len(classes)))
        seen = evaluate_view(run, records, predictor, view, **keep)
    answers = seen.answers
    write_predictions(files[0], seen.filenames, answers.labels, answers.likeliest, answers.probabilities, classes)
    return seen, files


def measure_statistics(
    run: Run, attempt: Attempt, records: ShardedRecords, network: ResNet, predictor: Predictor
) -> list[dict[str, Any]]:
    """The error by the number of batches that the statistics are averaged over, from training's weights on."""
    attempt.ledger.verify_inputs("batchnorm")  # training's weights, which are no input otherwise
    load_weights(run.stage_folder("train") / "weights.safetensors", network)
    trained = attempt.ledger.finished("train")
    curve = statistics_curve(run, records, network, predictor, trained.get("corrupt_records", []))
    print_statistics(curve, "imported" in trained)
    return curve


def print_statistics(curve: Sequence[dict[str, Any]], is_imported: bool) -> None:
    """The error by the statistics. `is_imported`: whether those that the weights have are from elsewhere."""
    stored = "the imported statistics" if is_imported else "training's moving averages"
    for point in curve:
        number = point["batches"]
        averaged = f"statistics averaged over {number:,} {'batch' if number == 1 else 'batches'}"
        print(f"evaluate: with {averaged if number else stored}: top-1 error {point['top1_error']:.2f} %")


def print_result(run: Run, records: ShardedRecords, view: str, scores: dict[str, Any], seen: Seen) -> None:
    """The errors in a view, what is published for it, and what is wrong with the answers, if anything."""
    name = "" if run.recipe.evaluation.views == ["1-crop"] else f"{view}: "
    errors = f"top-1 error {scores['top1_error']:.2f} %, top-5 error {scores['top5_error']:.2f} %"
    print(f"evaluate: {name}{errors} on {len(records):,} images", flush=True)
    if seen.cut:
        shape = f"{LONGEST} times as long as wide, or longer"
        print(f"evaluate: {seen.cut:,} images are {shape}: {view} shows their middle")
    for doubt in doubts_about_answers(seen, records.classes):
        logger.warning("%s", doubt)
    if view == "1-crop" and is_imagenet(run.recipe, len(records), len(records.classes)):
        print_expectation(run, scores)


def doubts_about_answers(seen: Seen, classes: list[tuple[str, str]]) -> list[str]:
    """What is wrong with answers that no trained network gives: no better than chance, or classes in two orders."""
    answers = seen.answers
    images = EvaluatedImages(seen.filenames, classes, answers.labels, answers.likeliest, answers.probabilities)
    baseline = compare_with_chance(images)
    takes_all = baseline.dominant is not None and baseline.dominant.takes_all
    found = [] if baseline.better_than_chance and not takes_all else [baseline.sentence]
    order = reordered_error(images).sentence if images.error > SUSPICIOUS else ""
    return [*found, order] if order else found


def print_expectation(run: Run, scores: dict[str, Any]) -> None:
    """What is published for the run's recipe, and whether the result agrees with it."""
    if expected := expected_error(run.recipe_name, run.recipe):
        print(f"evaluate: published by {expected.source}: {expected.top1_error:.2f} % top-1 error")
        print(f"evaluate: this {agreement(scores, expected)} (95 % interval)")


def write_metrics(attempt: Attempt, metrics: dict[str, Any]) -> Path:
    """Write metrics.json; returns its path."""
    with atomic(attempt.folder / "metrics.json", "w") as file:
        json.dump(metrics, file, indent=1)
    return attempt.folder / "metrics.json"
