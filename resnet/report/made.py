"""What was run, on what and by what: the report's table of facts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from resnet.report.results import Results
from resnet.report.wording import count, learning_rate, listed
from resnet.settings import Augmentation, Training

STATISTICS = ("/mean", "/variance")  # how the names of tensors end that are no parameters


class Fact(NamedTuple):
    name: str
    text: str


def facts(results: Results) -> list[Fact]:
    """The facts of a run, in the order of the page."""
    run, train = results.run, results.stages["train"]
    found = [
        *_network(results),
        *_origin(results),
        *([] if results.imported else _training(results)),
        *_images(results),
        Fact("Shown for evaluation", _view(results)),
        Fact("Seeds", _seeds(results)),
    ]
    if not results.imported:
        hosts = f"on {count(train['hosts'], 'host')}: " if train.get("hosts", 1) > 1 else ""
        found.append(Fact("Devices", hosts + ", ".join(train["devices"])))
    found += _memory(train)
    software = ", ".join(f"{package} {version}" for package, version in train["packages"].items())
    found += [
        Fact("Software", f"Python {train['python']}" + (f", {software}" if software else "")),
        Fact("Commit", train["git_commit"] or "not a git checkout"),
        Fact("Host", train["host"]),
    ]
    if corrupt := train.get("corrupt_records"):
        found.append(Fact("Corrupt records", f"{count(len(corrupt), 'record')} substituted by other images"))
    found.append(Fact("Recipe", run.recipe_name))
    return found


def parameters(weights: Path) -> int | None:
    """How many numbers of a file of weights are trained; None where it cannot be read. Only the header is read."""
    try:
        with open(weights, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(min(length, 1 << 26)))
        shapes = {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
        return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(STATISTICS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _network(results: Results) -> list[Fact]:
    model = results.run.recipe.model
    size = f"{model.image_size}x{model.image_size}"
    if first := results.run.recipe.training.first_image_size:
        size = f"{first}x{first} growing to {size}"
    classes = count(len(results.classes), "class", "classes")
    found = [Fact("Network", f"ResNet-{model.depth}, input {size}, {classes}")]
    if number := parameters(results.run.stage_folder("batchnorm") / "weights.safetensors"):
        found.append(Fact("Parameters", f"{number:,}"))
    return found


def _origin(results: Results) -> list[Fact]:
    if imported := results.imported:
        return [
            Fact("Weights", "imported with their batch-norm statistics, not trained here"),
            Fact("Their file", imported["file"]),
            Fact("Their SHA-256", imported["sha256"]),
        ]
    if not (started := results.started_from):
        return []
    where = f"run {started['run']}" if "run" in started else started["file"]
    classifier = "new classifier" if started["new"] else "with its classifier"
    freeze = results.run.recipe.training.freeze
    frozen = f"; frozen: {', '.join(freeze)}" if freeze else ""
    return [Fact("Started from", f"{where}, SHA-256 {started['sha256'][:16]}...; {classifier}{frozen}")]


def _training(results: Results) -> list[Fact]:
    training, augmentation = results.run.recipe.training, results.run.recipe.augmentation
    replicas = f": {training.replicas} replicas of {training.replica_batch_size}" if training.replicas > 1 else ""
    before = results.stages["train"].get("lengthened_from", [])
    longer = f" (lengthened from {' and '.join(map(str, before))})" if before else ""
    changes = [f"{augmentation.crop} crop", *(["flip"] if augmentation.flip else [])]
    changes += _policy(augmentation)
    changes += ["colour"] if augmentation.color else []
    changes += [f"{100 * augmentation.erasing:g} % with a rectangle erased"] if augmentation.erasing else []
    mixing = {"mixup": augmentation.mixup, "CutMix": augmentation.cutmix}
    mixed = " or ".join(f"{name} {parameter:g}" for name, parameter in mixing.items() if parameter)
    changes += [mixed] if mixed else []
    precision: list[str] = [training.precision]
    precision += ["compiled by XLA"] if training.xla else []
    precision += ["not deterministic"] if not training.deterministic else []
    return [
        Fact("Training", f"{count(training.epochs, 'epoch')}{longer}, {training.batch_size} images a batch{replicas}"),
        Fact("Learning rate", learning_rate(training)),
        Fact("Optimizer", _optimizer(training)),
        *([Fact("Loss", loss)] if (loss := _loss(training)) else []),
        *([Fact("Weights", average)] if (average := _average(training)) else []),
        Fact("Precision", ", ".join(precision)),
        Fact("Augmentation", ", ".join(changes)),
    ]


def _policy(augmentation: Augmentation) -> list[str]:
    """What it is called and how strong it is; empty where there is none."""
    randaugment = f"RandAugment of {augmentation.operations} operations, {augmentation.magnitude:g} tenths strong"
    return {"none": [], "trivialaugment": ["TrivialAugment"], "randaugment": [randaugment]}[augmentation.policy]


def _optimizer(training: Training) -> str:
    name = f"SGD with momentum {training.momentum:g}" if training.optimizer == "sgd" else "LAMB"
    kind = "decoupled " if training.decay_kind == "decoupled" else ""
    of = "" if training.decayed == "all" else f" of {training.decayed.replace('all', 'all weights')}"
    clip = f", gradients of norm {training.clip_norm:g} at most" if training.clip_norm else ""
    return f"{name}, {kind}weight decay {training.weight_decay:g}{of}{clip}"


def _average(training: Training) -> str:
    every = f", taken every {training.average_steps} steps" if training.average_steps > 1 else ""
    return f"a moving average with decay {training.average:g}{every}" if training.average else ""


def _loss(training: Training) -> str:
    """What is unusual about it; empty for the plain cross-entropy."""
    kind = "binary cross-entropy" if training.loss == "binary" else "cross-entropy"
    ways = [f"label smoothing {training.label_smoothing:g}"] if training.label_smoothing else []
    if training.class_weights != "none":
        given = training.class_weights
        ways.append(
            "balanced classes" if given == "balanced" else f"classes weighted {listed([f'{x:g}' for x in given])}"
        )
    return ", ".join([kind, *ways]) if ways or training.loss == "binary" else ""


def _images(results: Results) -> list[Fact]:
    conversion = results.stages["convert"]
    images = conversion["images"]
    text = f"{images['train']:,} for training, {images['validation']:,} for validation"
    found = [Fact("Images", text)]
    if rejected := conversion["rejected"]:
        found.append(Fact("Rejected", f"{count(rejected, 'unreadable image')} left out"))
    if warnings := conversion["decode_warnings"]:
        found.append(Fact("Decode warnings", f"{count(warnings, 'image')} decoded with warnings"))
    found += [
        Fact("Ignored", f"{count(number, 'file')} not read: {kind}")
        for kind, number in conversion.get("ignored", {}).items()
    ]
    found += [Fact("Converted", f"{n:,} stored as PNG: {kind}") for kind, n in conversion["converted"].items()]
    found += [Fact("Reduced", f"{n:,} reduced: {why}") for why, n in conversion.get("reduced", {}).items()]
    return found


def _view(results: Results) -> str:
    evaluation, size = results.run.recipe.evaluation, results.run.recipe.evaluation_size
    return (
        f"{', '.join(results.views)}; shorter side {evaluation.shorter_side}, crop {size} ({evaluation.interpolation})"
    )


def _seeds(results: Results) -> str:
    recipe = results.run.recipe
    training = "" if results.imported else f"training {recipe.training.seed}, "
    return f"{training}records {recipe.records.seed}, split {recipe.dataset.split_seed}"


def _memory(train: dict[str, Any]) -> list[Fact]:
    """The peak of Train's memory, where its stage.json has it: bytes by what they are of."""
    peak = train.get("peak_memory", {})
    parts = [f"{value / 2**30:.2f} GiB ({name.replace('_', ' ')})" for name, value in peak.items()]
    return [Fact("Peak memory of training", ", ".join(parts))] if parts else []
