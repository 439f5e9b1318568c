"""Classes that were counted in two different orders: the network is good, and nearly every answer counts as wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from resnet.analysis.answers import EvaluatedImages

SUSPICIOUS = 50.0  # percent: above this error, another order of the classes is looked for
BETTER = 0.5  # an error that is less than this part of it says that there is one


@dataclass(frozen=True)
class Reordering:
    """What another order of the classes would make of the answers."""

    error: float  # as evaluated, in percent
    reordered_error: float  # after `permutation`, found on one half of the images and judged on the other, in percent
    permutation: np.ndarray  # int64 [classes]: the answer that most likely means label i; found on all images
    sentence: str  # empty unless the order is the likely mistake


def reordered_error(images: EvaluatedImages, orders: Mapping[str, Sequence[str]] | None = None) -> Reordering:
    """The error after the best permutation of the classes, and what mistake it looks like.

    `orders` names orders that classes may have been counted in, each a list of identifiers: {"the development kit's
    order": [...]}. A permutation fits noise too where a class has few images; hence the two halves.
    """
    first = np.random.default_rng(0).permutation(len(images)) % 2 == 0
    after = [_error_after(images, best_permutation(images, ~half), half) for half in (first, ~first)]
    weights = [first.sum(), (~first).sum()]
    better = float(np.average(after, weights=weights)) if len(images) else np.nan
    permutation = best_permutation(images, np.ones(len(images), bool))
    is_mistake = images.error > SUSPICIOUS and better < BETTER * images.error
    sentence = _sentence(images, better, permutation, orders or {}) if is_mistake else ""
    return Reordering(images.error, better, permutation, sentence)


def best_permutation(images: EvaluatedImages, chosen: np.ndarray) -> np.ndarray:
    """The permutation that makes most of the chosen images right, int64 [classes]: entry i is the answer for label i.

    That is an assignment problem. It is solved on the answers that occur, since 21,841 classes have 477 million pairs.
    """
    size = len(images.classes)
    rows = chosen & ~images.unanswered
    counts = coo_matrix((np.ones(rows.sum()), (images.labels[rows], images.predicted[rows])), (size, size)).tocsr()
    # Each label may also stay without an answer: a column of its own, worth nothing. (A weight of 0 would be no edge.)
    counts.data += 1
    edges = hstack([counts, csr_matrix((np.ones(size), (np.arange(size), np.arange(size))), (size, size))], "csr")
    answers = min_weight_full_bipartite_matching(edges, maximize=True)[1]
    left = answers >= size
    answers[left] = np.setdiff1d(np.arange(size), answers[~left])
    return answers.astype(np.int64)


def _error_after(images: EvaluatedImages, permutation: np.ndarray, chosen: np.ndarray) -> float:
    """The error of the chosen images in percent, if the answer permutation[i] meant label i."""
    right = (permutation[images.labels] == images.predicted) & ~images.unanswered
    return float(100 * (1 - right[chosen].mean())) if chosen.any() else np.nan


def _sentence(
    images: EvaluatedImages, better: float, permutation: np.ndarray, orders: Mapping[str, Sequence[str]]
) -> str:
    start = (
        f"The error of {images.error:.2f} % would be {better:.2f} % with the classes in another order: the network and "
        "the records do not count the classes in the same way. "
    )
    everything = np.ones(len(images), bool)
    for mistake, candidate in _simple_mistakes(images, orders):
        if _error_after(images, candidate, everything) < better + 1:
            return f"{start}{mistake}."
    names = [name for _, name in images.classes]
    examples = "; ".join(f"{names[i]} is answered as {names[permutation[i]]}" for i in range(min(3, len(names))))
    return f"{start}For example, {examples}."


def _simple_mistakes(images: EvaluatedImages, orders: Mapping[str, Sequence[str]]) -> list[tuple[str, np.ndarray]]:
    """The orders that are often mistaken for each other, and the answer that each label would then get."""
    size = len(images.classes)
    identifiers = [identifier for identifier, _ in images.classes]
    found = [
        (
            "Labels are shifted by one: the network counts classes from 1, or its first output is no class",
            np.roll(np.arange(size), -1),
        ),
        ("Labels are shifted by one: the records count classes from 1", np.roll(np.arange(size), 1)),
    ]
    known = dict(orders)
    known["alphabetical order"] = sorted(identifiers)
    if all(identifier.isdecimal() for identifier in identifiers):
        known["the order of their numbers"] = sorted(identifiers, key=int)
    for name, order in known.items():
        if sorted(order) == sorted(identifiers):
            place = {identifier: i for i, identifier in enumerate(order)}
            answers = np.array([place[identifier] for identifier in identifiers])
            found.append((f"The network has them in {name}", answers))
            found.append((f"The labels of the records are in {name}", np.argsort(answers)))
    return found
