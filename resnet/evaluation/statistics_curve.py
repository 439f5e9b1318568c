"""The error against the number of batches that the batch-norm statistics are averaged over.

The recipe reproduced here takes 25, and its authors found 1000 to be almost the same: a claim that each run can test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnet.analysis.mcnemar import compare
from resnet.evaluation.views import evaluate_view
from resnet.inference import Answers, Predictor, summary
from resnet.model.network import ResNet
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.settings import Recipe
from resnet.training.statistics import averaged_statistics, store

USUAL, MOST = (1, 5, 25, 100), 1000  # batches


def statistics_curve(
    run: Run, validation: ShardedRecords, network: ResNet, predictor: Predictor, corrupt: Sequence[str]
) -> list[dict[str, Any]]:
    """The centre crop's error by the number of batches; 0 stands for the statistics that the trained weights have:
    training's moving averages, or those that were imported with them.

    Each point also counts the images that are right there and wrong with as many batches as the recipe says
    (`gained`), and the other way round (`lost`). `network` has the trained weights and their statistics; afterwards
    it has the last of the averaged ones.
    """
    records = ShardedRecords(run.records, "train")
    counts = points(run.recipe, len(records))
    answers = {0: evaluate_view(run, validation, predictor).answers}
    averages = averaged_statistics(run, records, network, counts, corrupt)
    for batches, statistics in list(zip(counts, averages, strict=True)):
        store(network, statistics)
        answers[batches] = evaluate_view(run, validation, predictor).answers
    own = answers[run.recipe.batchnorm.batches]
    return [{"batches": batches} | _point(found, own) for batches, found in answers.items()]


def _point(answers: Answers, own: Answers) -> dict[str, Any]:
    scores, comparison = summary(answers), compare(own.ranks < 1, answers.ranks < 1)
    named = {name: scores[name] for name in ("loss", "top1_error", "top1_error_interval")}
    return named | {"gained": comparison.only_b, "lost": comparison.only_a}


def points(recipe: Recipe, images: int) -> list[int]:
    """The numbers of batches: the usual ones, the recipe's own, and as many as an epoch has, up to MOST."""
    own, most = recipe.batchnorm.batches, min(images // recipe.training.batch_size, MOST)
    return sorted({own, max(most, 1), *(count for count in USUAL if count <= most)})
