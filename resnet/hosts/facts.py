"""What hosts must agree on, and how a difference is told."""

from __future__ import annotations

from collections.abc import Mapping

from resnet.hosts.cluster import Cluster

MOST_NAMED = 3  # differences
LONGEST = 80  # characters of a value
RUN = "run"  # a fact that hosts differ in when they were not meant to train together
APART = "start each without TF_CONFIG, and with SLURM_STEP_NUM_TASKS=1 in a job of Slurm"

Facts = Mapping[str, str]  # by name. "recipe.training.epochs" is a detail of the recipe: messages name both


def disagreement(cluster: Cluster, facts: Mapping[int, Facts]) -> str:
    """In what the hosts' facts, by rank, differ from the chief's: a sentence each, and what to do; "" if in nothing."""
    found = [
        _sentence(cluster, rank, name, facts[rank].get(name), facts[0].get(name))
        for rank in sorted(facts)
        for name in sorted({*facts[rank], *facts[0]})
        if facts[rank].get(name) != facts[0].get(name)
    ]
    if not found:
        return ""
    rest = len(found) - MOST_NAMED
    more = f"; and {rest} more difference{'s' if rest > 1 else ''}" if rest > 0 else ""
    apart = any(theirs.get(RUN) != facts[0].get(RUN) for theirs in facts.values())
    advice = "" if not apart else f" To train several runs, each on one host, {APART}."
    return (
        f"{'; '.join(found[:MOST_NAMED])}{more}. All hosts need the same: correct it, and start them all again.{advice}"
    )


def _sentence(cluster: Cluster, rank: int, name: str, theirs: str | None, chiefs: str | None) -> str:
    whole, _, detail = name.partition(".")
    values = f"{_shown(theirs)} there, and {_shown(chiefs)} on {cluster.named(0)}"
    return f"{cluster.named(rank)} differs in {whole}: {f'{detail} is ' if detail else ''}{values}"


def _shown(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
