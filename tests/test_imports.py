"""Where TensorFlow must not come in."""

from __future__ import annotations

import json
import subprocess
import sys

PACKAGES = ("pipeline", "resnet.loader", "resnet.records", "resnet.datasets")

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


def test_the_graph_the_loader_and_what_makes_records_never_import_tensorflow(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *PACKAGES], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    imported, heavy = json.loads(ended.stdout.splitlines()[-1])
    assert set(imported) > {"pipeline.tasks", "resnet.loader.worker", "resnet.records.shards", "resnet.datasets.idx"}
    assert heavy == []
