"""What the settings of newer recipes are worth on small data: errors with and without them, with several seeds each.

    python benchmarks/modern_settings.py PHOTOGRAPH ...                     three tasks, 3 seeds
    python benchmarks/modern_settings.py --tasks fashion-mnist --override training.epochs=6
    python benchmarks/modern_settings.py PHOTOGRAPH ... --tasks photographs --arms plain cosine
    python benchmarks/modern_settings.py --tasks folder --data FOLDER       of `benchmarks/cifar10.py`, for example

An arm is a list of settings, which are added to the task's recipe. The same seed stands for the same initial weights
and the same sampling order in all arms.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from machine import machine
from small_trainings import FOLDER, TASKS, compare, prepare

COSINE = ["training.schedule=cosine", "training.warmup_epochs=1"]
SMOOTH = [*COSINE, "training.label_smoothing=0.1", "training.decayed=all but norms"]
AVERAGED = [*SMOOTH, "training.average=0.95", "training.zero_last_scale=true"]
MORE_DECAY = [*AVERAGED, "training.weight_decay=5e-4"]
LARGER_CROPS = ["augmentation.area_min=0.3"]
AT_32 = ["model.image_size=32"]  # to which crops of photographs of 128 pixels are scaled by more than a half
ARMS = {
    "plain": [],
    "cosine": COSINE,
    "cosine, smoothing": SMOOTH,
    "modern": AVERAGED,
    "modern, mixup": [*AVERAGED, "augmentation.mixup=0.2"],
    "modern, CutMix and mixup": [*AVERAGED, "augmentation.mixup=0.2", "augmentation.cutmix=1.0"],
    "modern, more decay": MORE_DECAY,
    "modern, more decay, mixup": [*MORE_DECAY, "augmentation.mixup=0.2"],
    "modern, more decay, CutMix and mixup": [*MORE_DECAY, "augmentation.mixup=0.2", "augmentation.cutmix=1.0"],
    "modern, more decay, TrivialAugment": [*MORE_DECAY, "augmentation.policy=trivialaugment"],
    "modern, erasing": [*AVERAGED, "augmentation.erasing=0.25"],
    "modern, TrivialAugment": [*AVERAGED, "augmentation.policy=trivialaugment"],
    "larger crops": LARGER_CROPS,
    "modern, larger crops": [*AVERAGED, *LARGER_CROPS],
    "modern, more decay, larger crops": [*MORE_DECAY, *LARGER_CROPS],
    "modern, more decay, larger crops, batches of 32": [
        *MORE_DECAY,
        *LARGER_CROPS,
        "training.batch_size=32",
        "training.replica_batch_size=32",
    ],
    "32 pixels": AT_32,
    "32 pixels, half decoding": [*AT_32, "augmentation.half_decoding=true"],
}


def main() -> None:
    options, facts = _options(), machine()
    print(f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, load {facts['load']:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="modern-settings-") as folder:
        root = Path(folder)
        suffix = ".jpg" if any("half" in arm for arm in options.arms) else ".png"
        prepare(root, options.tasks, options.photographs, options.data, suffix)
        compare(root, options.tasks, {arm: ARMS[arm] for arm in options.arms}, options.seeds, options.override)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="*")
    parser.add_argument("--tasks", nargs="+", choices=(*TASKS, FOLDER), default=TASKS)
    parser.add_argument("--data", type=Path, help="a folder of images, for the task 'folder'")
    parser.add_argument("--arms", nargs="+", choices=ARMS, metavar="ARM", default=["plain", "modern, mixup"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--override", action="append", default=[], help="of all recipes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
