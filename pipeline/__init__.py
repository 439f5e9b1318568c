"""The graph: Luigi tasks around the stages of `resnet`, nothing else. Never imports TensorFlow.

luigi --module pipeline FullRun --local-scheduler
"""

import os
from pathlib import Path

import luigi.configuration

# Luigi looks for luigi.cfg in the working folder only. This project's own comes first, so that `luigi` answers alike
# from any folder; then the working folder's and LUIGI_CONFIG_PATH's, so that theirs prevail.
for _path in (Path(__file__).parent.parent / "luigi.cfg", "luigi.cfg", os.environ.get("LUIGI_CONFIG_PATH", "")):
    if os.path.isfile(_path):
        luigi.configuration.add_config_path(str(_path))

# The tasks' defaults come from the configuration.
from pipeline.tasks import (  # noqa: E402
    BatchNormStatistics,
    ConvertPart,
    ConvertRecords,
    Evaluate,
    FullRun,
    Images,
    Report,
    Train,
)

__all__ = ["BatchNormStatistics", "ConvertPart", "ConvertRecords", "Evaluate", "FullRun", "Images", "Report", "Train"]
