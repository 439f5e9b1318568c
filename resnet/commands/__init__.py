"""The commands of `python -m resnet` that are not stages of a run.

Each module has `main(options)`, which returns an exit code, or None for 0.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A row of the table."""

    name: str
    help: str
    options: tuple[str, ...]  # groups of options, see resnet/commands/options.py
    module: str  # a string, so that a command loads only what it needs


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "run",
            "run every stage that is not up to date (Luigi's FullRun)",
            ("full run", "recipe", "run of luigi"),
            "resnet.commands.run",
        ),
        Command(
            "import-weights",
            "make a run of weights of torchvision, timm or Keras",
            ("weights", "recipe", "run"),
            "resnet.commands.import_weights",
        ),
        Command("adopt", "take over records or a run made elsewhere", ("adopt", "artifacts"), "resnet.commands.adopt"),
        Command("recipe", "print a recipe with every setting spelled out", ("recipe",), "resnet.commands.recipe"),
        Command(
            "batch",
            "draw the images that the network saw in a step",
            ("finished run", "batch"),
            "resnet.commands.batch",
        ),
        Command(
            "find-learning-rate",
            "try learning rates on a recipe, and draw the loss at each",
            ("recipe", "run", "machine", "learning rates"),
            "resnet.commands.find_learning_rate",
        ),
        Command(
            "predict", "classify images with a finished run", ("images", "finished run"), "resnet.commands.predict"
        ),
        Command(
            "export", "write a run's network for another runtime", ("finished run", "export"), "resnet.commands.export"
        ),
        Command(
            "status",
            "say what is done, running, interrupted or stale, and why",
            ("recipe", "run", "json", "picture"),
            "resnet.commands.status",
        ),
        Command("runs", "list all runs, sorted by any column", ("artifacts", "runs", "json"), "resnet.commands.runs"),
        Command(
            "compare",
            "compare runs: settings, errors, and whether they differ by chance",
            ("artifacts", "compare", "json"),
            "resnet.commands.compare",
        ),
        Command(
            "verify",
            "read every file, and compare it with what was written",
            ("artifacts", "verify", "json"),
            "resnet.commands.verify",
        ),
        Command(
            "replay",
            "train again from a checkpoint, and compare with the next one bit for bit",
            ("finished run", "replay", "machine", "json"),
            "resnet.commands.replay",
        ),
        Command(
            "trash", "list, restore or delete what made way for other results", ("trash",), "resnet.commands.trash"
        ),
        Command("settings", "print every setting with its default and meaning", (), "resnet.commands.settings"),
    )
}
