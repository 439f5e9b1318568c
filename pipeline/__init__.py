"""The graph: Luigi tasks around the stages of `resnet`, nothing else. Never imports TensorFlow.

luigi --module pipeline FullRun --local-scheduler
"""

import sys

from pipeline.interruption import show_exception

sys.excepthook = show_exception  # before the imports below, which take a second

from pipeline import luigi_hooks  # noqa: E402

luigi_hooks.install()

# The tasks take their defaults from the configuration that was just installed.
from pipeline import webhook  # noqa: E402
from pipeline.operations import Rerun, Status  # noqa: E402
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

webhook.install()

__all__ = [
    "BatchNormStatistics",
    "ConvertPart",
    "ConvertRecords",
    "Evaluate",
    "FullRun",
    "Images",
    "Report",
    "Rerun",
    "Status",
    "Train",
]
