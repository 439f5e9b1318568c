"""The graph: Luigi tasks around the stages of `resnet`, nothing else. Never imports TensorFlow.

luigi --module pipeline FullRun --local-scheduler
"""

from pipeline import luigi_hooks

luigi_hooks.install()

# The tasks take their defaults from the configuration that was just installed.
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
