"""What fine-tuning is worth: two epochs on few photographs, from trained weights and from scratch.

    python benchmarks/fine_tuning.py PHOTOGRAPH [PHOTOGRAPH ...]

Every photograph is a class: scikit-learn's two, matplotlib's one, and those given, which scikit-image ships, for
example. Images are crops of it; training and validation images come from disjoint strips. A ResNet-18 is trained from
scratch on many crops of two thirds of the classes. The recipe `finetune` then learns the others from few crops of each,
twice with the same seed: from those weights, and from random ones. `--seeds` repeats that.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from sklearn.datasets import load_sample_images

from resnet.run import Run
from resnet.stages import run_stage

SIZE = 64  # of the network's images, in pixels
STRIPS = 6  # of a photograph, side by side: training images come from every other one, validation images from the rest
SMALL = ("model.depth=18", f"model.image_size={SIZE}", "records.train_shards=2", "records.validation_shards=2")
RANDOM = ("training.start_from=", "training.freeze=[]")
# What the recipe imagefolder does besides the reproduced one, undone: the settings that the figures were measured with.
PLAIN = (
    "augmentation.area_min=0.08",
    "training.batch_size=64",
    "training.replica_batch_size=64",
    "training.schedule=drops",
    "training.drop_epochs=[30, 45, 55]",
    "training.warmup_epochs=0",
    "training.weight_decay=1e-4",
    "training.decayed=all",
    "training.label_smoothing=0.0",
    "training.average=0.0",
    "training.zero_last_scale=false",
)
PRETRAINING = (
    *PLAIN,
    "model.stride_in=3x3",
    "model.normalization=torch",
    "training.epochs=8",
    "training.drop_epochs=[5, 7]",
    "augmentation.area_min=0.3",
)


def main() -> None:
    options = _options()
    photographs = photographs_of(options.photographs)
    names = sorted(photographs)
    new = names[::3]
    known = [name for name in names if name not in new]
    with tempfile.TemporaryDirectory(prefix="fine-tuning-") as folder:
        root = Path(folder)
        write_images(root / "known", {name: photographs[name] for name in known}, options.pretrain_crops, 20)
        write_images(root / "new", {name: photographs[name] for name in new}, options.crops, options.validation_crops)
        print(f"trained on {len(known)} classes: {', '.join(known)}")
        print(f"fine-tuned on {len(new)} others, {options.crops} images of each: {', '.join(new)}")
        start = time.perf_counter()
        known_metrics = train(root, "known", "pretrained", "imagefolder", *PRETRAINING)
        print(f"  on the known classes after {time.perf_counter() - start:.0f} s: {shown(known_metrics)}")
        for seed in range(options.seeds):
            settings = [f"training.seed={seed}", f"training.epochs={options.epochs}", *options.override]
            tuned = train(root, "new", f"tuned-{seed}", "finetune", "training.start_from=pretrained", *settings)
            scratch = train(root, "new", f"scratch-{seed}", "finetune", *RANDOM, *settings)
            print(f"  after {options.epochs} epochs, seed {seed}: fine-tuned {shown(tuned)}")
            print(f"    from scratch {shown(scratch)}")


def write_images(
    root: Path, photographs: dict[str, np.ndarray], train: int, validation: int, suffix: str = ".png"
) -> None:
    """A folder for `--data`: that many crops of each photograph for either split, as files of this kind."""
    random = np.random.default_rng(0)
    for name, pixels in photographs.items():
        for first, (split, count) in enumerate((("train", train), ("val", validation))):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                crop = crop_of(pixels, 2 * int(random.integers(STRIPS // 2)) + first, random)
                cv2.imwrite(str(root / split / name / f"{i:04d}{suffix}"), crop)


def crop_of(pixels: np.ndarray, strip: int, random: np.random.Generator) -> np.ndarray:
    """A square crop from one of the STRIPS, three quarters of its width up to all of it."""
    height, width = pixels.shape[0], pixels.shape[1] // STRIPS
    size = int(width * random.uniform(0.75, 1))
    x, y = strip * width + int(random.integers(width - size + 1)), int(random.integers(height - size + 1))
    return pixels[y : y + size, x : x + size]


def train(root: Path, images: str, name: str, recipe: str, *overrides: str) -> dict:
    """Run every stage up to Evaluate; returns the metrics."""
    artifacts = root / "artifacts"
    run = Run.of(recipe, [*SMALL, *overrides], name=name, artifacts=artifacts, data=root / images)
    for stage in ("convert", "train", "batchnorm", "evaluate"):
        run_stage(stage, run)
    return json.loads((run.stage_folder("evaluate") / "metrics.json").read_text())


def shown(metrics: dict) -> str:
    view = metrics["views"]["1-crop"]
    low, high = view["top1_error_interval"]
    return f"{view['top1_error']:.1f} % error ({low:.1f} to {high:.1f}) on {metrics['images']} images"


def photographs_of(paths: list[Path]) -> dict[str, np.ndarray]:
    """BGR pixels of 768x512 by name: strips of one size."""
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    found = {path.stem: cv2.imread(str(path)) for path in [*paths, hopper]}
    samples = load_sample_images()
    found |= {Path(name).stem: image[:, :, ::-1] for name, image in zip(samples.filenames, samples.images, strict=True)}
    if unreadable := [name for name, pixels in found.items() if pixels is None]:
        raise SystemExit(f"OpenCV cannot read {', '.join(unreadable)}")
    return {name: cv2.resize(pixels, (768, 512), interpolation=cv2.INTER_AREA) for name, pixels in found.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="*")
    parser.add_argument("--pretrain-crops", type=int, default=150, help="of each class, to train from scratch on")
    parser.add_argument("--crops", type=int, default=20, help="of each class, to fine-tune on")
    parser.add_argument("--validation-crops", type=int, default=40, help="of each class")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--override", action="append", default=[], help="of the recipe finetune")
    return parser.parse_args()


if __name__ == "__main__":
    main()
