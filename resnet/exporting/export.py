"""The export of a run: written beside its place, compared with Evaluate there, and put in place last of all."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from resnet.classifier import load_classifier
from resnet.errors import UserError
from resnet.exporting import VIEW, Format
from resnet.exporting.comparison import Comparison, Evaluated, compare, tolerance
from resnet.exporting.interface import Interface
from resnet.exporting.model_card import card
from resnet.files import atomic, atomic_folder
from resnet.ledger import Ledger
from resnet.ledger.locking import reading
from resnet.locks import locked
from resnet.predictions_file import predictions_name, read_predictions
from resnet.run import Run
from resnet.stage_table import STAGES

READ = ("convert", "batchnorm", "evaluate")


class Exported(NamedTuple):
    """A finished export."""

    folder: Path
    comparison: Comparison


def export(ledger: Ledger, format: Format) -> Exported:
    """Write the ledger's run in a format to its folder export/<format>, replacing what is there.

    Raises UserError, and leaves what is there as it is, where Evaluate is incomplete, a file is corrupt, or the written
    network answers a validation image otherwise than Evaluate.
    """
    run = ledger.run
    require_evaluated(ledger)
    folder = run.folder / "export" / format.name
    with reading(ledger, READ), locked(folder.parent, wait=math.inf):
        require_evaluated(ledger)  # another process may have changed it while this one waited
        with atomic_folder(folder) as temporary:
            return Exported(folder, _write(ledger, format, temporary))


def require_evaluated(ledger: Ledger) -> None:
    """Raise UserError where Evaluate is incomplete, or a file that an export reads is not as its stage wrote it."""
    run = ledger.run
    if reason := ledger.why_incomplete("evaluate"):
        raise UserError(
            f"run {run.name} cannot be exported before it is evaluated: {reason}. Finish it: "
            f"{run.luigi_command(STAGES['evaluate'].title)}"
        )
    if VIEW not in run.recipe.evaluation.views:
        raise UserError(
            f"an exported network is compared with Evaluate's answers to the {VIEW} view, which run {run.name} lacks. "
            f"Add it to evaluation.views, and evaluate again: {run.luigi_command(STAGES['evaluate'].title)}"
        )
    names = [("batchnorm", "weights.safetensors"), ("evaluate", "metrics.json"), ("evaluate", predictions_of(run))]
    for stage, name in names:
        if ledger.has_changed(stage, name):
            raise UserError(
                f"{run.stage_folder(stage) / name} is corrupt: it differs from what {stage} wrote. Delete it, and "
                f"make it again: {run.luigi_command(STAGES['evaluate'].title)}"
            )


def predictions_of(run: Run) -> str:
    """The name of the file of predictions that an exported network is compared with."""
    return predictions_name(VIEW, run.recipe.evaluation.views)


def _write(ledger: Ledger, format: Format, folder: Path) -> Comparison:
    run, module = ledger.run, importlib.import_module(format.module)
    classifier = load_classifier(run.folder)
    interface = Interface(classifier)
    try:
        module.write(interface, folder)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"the export to {format.title} cannot be written in {folder.parent}: {_reason(error)}. Nothing was put in "
            "place. Make room there, and run the same command again."
        ) from None
    identifiers = [identifier for identifier, _ in classifier.classes]
    evaluated = Evaluated.of(
        read_predictions(run.stage_folder("evaluate") / predictions_of(run), identifiers), identifiers
    )
    allowed = tolerance(run.recipe.training.precision, ledger.finished("evaluate").get("devices", []))
    comparison = compare(format.title, module.opened(folder), run, evaluated, allowed)
    with atomic(folder / "README.md", "w") as file:
        file.write(card(ledger, format, interface, comparison))
    return comparison


def _reason(error: OSError | tf.errors.OpError) -> str:
    """What happened, without the nodes and the operation that TensorFlow names before and after it."""
    return getattr(error, "strerror", None) or str(error).rpartition("; ")[2].partition(" [Op:")[0]
