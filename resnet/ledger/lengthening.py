"""Whether a training goes on where an earlier one of fewer epochs ended, instead of beginning again.

It can where the learning rate drops at fixed epochs: no step of the earlier training knew when it would end, so the
longer one has the same steps, and the same weights as if it had been that long from the start. Along a cosine, every
learning rate depends on the number of epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet.settings import Training
from resnet.training.checkpoint_files import checkpoint_steps

if TYPE_CHECKING:
    from resnet.ledger.ledger import Ledger

MADE_AGAIN = ("weights.safetensors", "stage.json")  # of the shorter training: they move to the trash


def lengthened_from(ledger: Ledger, earlier: dict[str, Any] | None) -> int | None:
    """The epochs of an earlier attempt at Train (stage.json or begun.json) that today's settings lengthen; None where
    they do not."""
    training, was = ledger.run.recipe.training, _earlier_training(ledger, earlier)
    if was is None or training.schedule != "drops" or was.epochs >= training.epochs:
        return None
    if _until(was.epochs, training) != _until(was.epochs, was):
        return None
    folder = ledger.run.stage_folder("train") / "checkpoints"
    return was.epochs if folder.is_dir() and checkpoint_steps(folder) else None


def why_not_lengthened(ledger: Ledger, earlier: dict[str, Any] | None) -> str:
    """Why settings that differ from an earlier attempt's in the epochs alone do not lengthen it; empty where they do,
    or more differs."""
    training, was = ledger.run.recipe.training, _earlier_training(ledger, earlier)
    if was is None or was.epochs >= training.epochs or lengthened_from(ledger, earlier):
        return ""
    if training.schedule == "cosine":
        return "it cannot be lengthened: along a cosine, the learning rate of all steps depends on training.epochs"
    if _until(was.epochs, training) != _until(was.epochs, was):
        return f"it cannot be lengthened: the learning rate would drop elsewhere in its {was.epochs} epochs"
    return "it cannot be lengthened: its checkpoints are gone"


def _earlier_training(ledger: Ledger, earlier: dict[str, Any] | None) -> Training | None:
    """The earlier attempt's settings of training, if only its length differs from today's."""
    if earlier is None or "imported" in earlier:
        return None
    wanted, recorded = ledger.settings("train"), earlier["settings"].get("training", {})
    of_length = {name: wanted["training"][name] for name in ("epochs", "drop_epochs")}
    of_same_length = earlier | {"settings": earlier["settings"] | {"training": recorded | of_length}}
    if not ledger.matches("train", of_same_length) or ledger.matches("train", earlier):
        return None
    kept = {name: recorded[name] for name in of_length if name in recorded}
    return Training.model_construct(**{**Training().model_dump(), **wanted["training"], **kept})


def _until(epochs: int, training: Training) -> list[int]:
    """The drops of the learning rate within so many epochs."""
    return [epoch for epoch in training.drops if epoch < epochs]
