"""Evaluate: each validation image exactly once, in each view that the recipe asks for."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from resnet.devices import device_names, make_strategy
from resnet.evaluation.logits_file import megabytes, writing_logits
from resnet.evaluation.statistics_curve import statistics_curve
from resnet.evaluation.views import Seen, evaluate_view
from resnet.files import atomic
from resnet.inference import Predictor, summary
from resnet.ledger import Attempt
from resnet.loader.batches import block
from resnet.loader.views import LONGEST
from resnet.model.network import ResNet, network_of
from resnet.predictions_file import predictions_name, write_predictions
from resnet.records.shards import ShardedRecords
from resnet.report.published import agreement, expected_error, is_imagenet
from resnet.run import Run
from resnet.weights.safetensors_files import load_weights


def main(run: Run, attempt: Attempt) -> None:
    """Measure the weights with averaged statistics on the validation images."""
    attempt.begin()
    records = ShardedRecords(run.records, "validation")
    strategy = make_strategy(run.machine)
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
        print_result(run, records, view, metrics["views"][view], seen.cut)
    if run.recipe.evaluation.statistics_curve:
        metrics["statistics"] = measure_statistics(run, attempt, records, network, predictor)
    attempt.finish([write_metrics(attempt, metrics), *outputs], devices=device_names(strategy), metrics=metrics)


def look(
    run: Run, attempt: Attempt, records: ShardedRecords, predictor: Predictor, view: str
) -> tuple[Seen, list[Path]]:
    """Show all images in a view; returns what came of it, and the files that it is in."""
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
    corrupt = attempt.ledger.finished("train").get("corrupt_records", [])
    curve = statistics_curve(run, records, network, predictor, corrupt)
    for point in curve:
        batches = f"{point['batches']:,} batches" if point["batches"] else "moving averages"
        print(f"evaluate: statistics of {batches}: top-1 error {point['top1_error']:.2f} %")
    return curve


def print_result(run: Run, records: ShardedRecords, view: str, scores: dict[str, Any], cut: int) -> None:
    """The errors in a view, and what is published for it."""
    name = "" if run.recipe.evaluation.views == ["1-crop"] else f"{view}: "
    errors = f"top-1 error {scores['top1_error']:.2f} %, top-5 error {scores['top5_error']:.2f} %"
    print(f"evaluate: {name}{errors} on {len(records):,} images", flush=True)
    if cut:
        print(f"evaluate: {cut:,} images are {LONGEST} times as long as wide, or longer: {view} shows their middle")
    if view == "1-crop" and is_imagenet(run.recipe, len(records), len(records.classes)):
        print_expectation(run, scores)


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
