"""How many wrong labels the analysis finds, where it is known which ones are wrong.

    python benchmarks/planted_labels.py [--share 0.02] [--seeds 1] [--epochs 40] [--json]

Takes scikit-learn's handwritten digits and gives a share of them, drawn at the seed, another digit as their label, in
training and validation images alike. Trains and evaluates with the recipe `digits` and the project's own commands. Then
compares the labels of the validation images that the analysis doubts with those that were changed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sklearn.datasets import load_digits

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.label_errors import likely_label_errors
from resnet.records.shards import read_classes
from resnet.run import Run


def main() -> None:
    options = _options()
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(prefix="planted-labels-") as folder:
            root = Path(folder)
            write_digits(root / "digits", options.share, seed)
            result = {"seed": seed} | found_errors(trained(root, seed, options.epochs))
        print(json.dumps(result) if options.json else shown(result), flush=True)


def write_digits(root: Path, share: float, seed: int) -> None:
    """A folder for `--data`, in which that share of the images are in the folder of another digit than they show."""
    scans = load_digits()
    labels = planted(scans.target, share, seed)
    for digit in range(10):
        (root / str(digit)).mkdir(parents=True)
    for number, (pixels, label) in enumerate(zip(scans.images, labels, strict=True)):
        cv2.imwrite(str(root / str(label) / f"{number:04d}.png"), np.rint(pixels * (255 / 16)).astype(np.uint8))


def planted(digits: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The digits, a share of them changed to another one."""
    random = np.random.default_rng(seed)
    changed = random.choice(len(digits), round(share * len(digits)), replace=False)
    labels = digits.copy()
    labels[changed] = (labels[changed] + random.integers(1, 10, len(changed))) % 10
    return labels


def trained(root: Path, seed: int, epochs: int) -> Run:
    """A run on that folder, with every stage up to Evaluate."""
    drops = sorted({round(epochs * share) for share in (0.5, 0.75, 0.9)})  # as in the recipe
    overrides = [
        "dataset.source=folder",
        "dataset.name=planted",
        f"training.seed={seed}",
        f"training.epochs={epochs}",
        f"training.drop_epochs={drops}",
    ]
    place = {"name": "planted", "artifacts": root / "artifacts", "data": root / "digits"}
    command = ["--recipe", "digits", "--override", json.dumps(overrides)]
    command += ["--run", place["name"], "--artifacts", str(place["artifacts"]), "--data", str(place["data"])]
    for stage in ("convert", "train", "batchnorm", "evaluate"):
        subprocess.run([sys.executable, "-m", "resnet", stage, *command], check=True, stdout=sys.stderr)
    return Run.of("digits", overrides, **place)


def found_errors(run: Run) -> dict[str, Any]:
    """The labels that the analysis doubts, beside those that were changed."""
    folder = run.stage_folder("evaluate")
    images = EvaluatedImages.read(folder / "predictions.csv", folder / "logits.npy", read_classes(run.records))
    doubted = likely_label_errors(images)
    if doubted.table is None:
        raise SystemExit(doubted.sentence)
    truth = load_digits().target[[int(Path(file).stem) for file in images.files]]
    shown_labels = np.array([int(images.classes[label][0]) for label in images.labels])
    changed = set(np.flatnonzero(shown_labels != truth).tolist())
    others = doubted.table[~doubted.table["row"].isin(changed)]
    hits = len(doubted.table) - len(others)
    return {
        "images": len(images),
        "error": images.error,
        "planted": len(changed),
        "found": hits,
        "not_planted": len(others),
        "precision": hits / len(doubted.table) if len(doubted.table) else None,
        "recall": hits / len(changed) if changed else None,
        "missed": [images.files[row] for row in sorted(changed - set(doubted.table["row"]))],
        "others": others[["file", "label", "suggested", "label_probability", "probability"]].to_dict("records"),
    }


def shown(result: dict[str, Any]) -> str:
    shares = [f"{name} {result[name]:.2f}" for name in ("recall", "precision") if result[name] is not None]
    lines = [
        f"seed {result['seed']}: top-1 error {result['error']:.2f} % on {result['images']} images, of which "
        f"{result['planted']} have a planted label",
        f"  found {result['found']} of them and named {result['not_planted']} others  {'  '.join(shares)}",
    ]
    for row in result["others"]:
        lines.append(
            f"    {row['file']}: label {row['label']} ({row['label_probability']:.3f}), "
            f"answered {row['suggested']} ({row['probability']:.3f})"
        )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.02, help="of all images whose labels are changed")
    parser.add_argument("--seeds", type=int, default=1, help="how many times, with the seeds 0, 1, 2 ...")
    parser.add_argument("--epochs", type=int, default=40, help="of training; the recipe has 40")
    parser.add_argument("--json", action="store_true", help="print an object a seed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
