"""The settings of a recipe: its sections, what must hold between them, and the page that lists them."""

from resnet.settings.page import declared, settings_page
from resnet.settings.recipe import Recipe, without_derived, without_unstated
from resnet.settings.sections import (
    Augmentation,
    BatchNorm,
    Dataset,
    Evaluation,
    Model,
    Records,
    Section,
    Training,
)

__all__ = [
    "Augmentation",
    "BatchNorm",
    "Dataset",
    "Evaluation",
    "Model",
    "Recipe",
    "Records",
    "Section",
    "Training",
    "declared",
    "settings_page",
    "without_derived",
    "without_unstated",
]
