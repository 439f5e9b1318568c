"""Which module may import which, and where TensorFlow must not be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "pipeline",
    "resnet.analysis",
    "resnet.commands",
    "resnet.conversion",
    "resnet.datasets",
    "resnet.hosts",
    "resnet.images",
    "resnet.inventory",
    "resnet.loader",
    "resnet.records",
    "resnet.report",
    "resnet.runs_page",
    "resnet.workers",
)

IMPORT_ALL = """
import importlib, json, pkgutil, sys
imported = []
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    imported.append(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
        imported.append(module.name)
heavy = sorted(name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras"))
print(json.dumps([imported, heavy[:5]]))
"""


def test_only_the_stages_that_compute_with_tensorflow_import_it(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *PACKAGES], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    imported, heavy = json.loads(ended.stdout.splitlines()[-1])
    assert set(imported) > {"pipeline.tasks", "resnet.loader.worker", "resnet.records.shards", "resnet.datasets.idx"}
    assert heavy == []


AS_A_STAGE = """
import sys
from resnet.stages import without_keras
with without_keras():
    import resnet.stages.train
print(sorted({"keras", "tensorflow"} & {name.split(".")[0] for name in sys.modules}))
import keras
print(keras.layers.Dense.__name__)
"""


def test_a_stage_imports_tensorflow_without_keras_which_can_still_be_imported(tmp_path):
    ended = subprocess.run([sys.executable, "-c", AS_A_STAGE], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["['tensorflow']", "Dense"]


def test_imports_follow_the_layers_in_pyproject_toml():
    root = Path(__file__).parent.parent
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
