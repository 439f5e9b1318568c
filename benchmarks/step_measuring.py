"""Steps of several contenders in turn, one at a time, and what is said about them."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from step_task import LeftOut

WARM_UP = 2  # steps that are not counted: the first one traces and compiles


class Asked(Protocol):
    """A contender, seen from here: `step_process.StepProcess`, or a stand-in in tests."""

    facts: dict[str, Any]

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Group:
    """Contenders that are compared. Those that end, or whose loss is not finite, are left out from then on."""

    def __init__(self, batch: int):
        self.processes: dict[str, Asked] = {}
        self.left_out: dict[str, str] = {}  # name: reason
        self.batch = batch
        self.steps: dict[str, int] = {}  # of a round, by contender
        self._rates: dict[str, list[float]] = {}  # images/s, one a round

    def add(self, name: str, start: Any, seconds: float) -> None:
        """Start a contender, warm it up, and find out how many steps fit into a round of so many seconds."""
        try:
            process = start()
        except LeftOut as reason:
            self._leave_out(name, str(reason))
            return
        self.processes[name], self._rates[name] = process, []
        self._run(name, WARM_UP)
        if name in self.processes:
            rate = self._run(name, 1)
            self.steps[name] = max(1, round(seconds * rate / self.batch))

    def round(self, number: int) -> None:
        """Let each contender do its steps, one after the other."""
        for name in list(self.processes):
            rate = self._run(name, self.steps[name])
            if name in self.processes:
                self._rates[name].append(rate)
                print(f"round {number}, {name}: {rate:,.1f} images/s", file=sys.stderr, flush=True)

    def ask(self, name: str, do: str, **arguments: Any) -> list[dict[str, Any]]:
        """What a contender measured; nothing from one that is left out, now or before."""
        if name not in self.processes:
            return []
        try:
            return [self.processes[name].ask(do, **arguments)]
        except LeftOut as reason:
            self._leave_out(name, str(reason))
            return []

    def _run(self, name: str, steps: int) -> float:
        """Images a second; 0 for a contender that had to be left out."""
        for figures in self.ask(name, "run", steps=steps):
            if math.isfinite(figures["loss"]):
                return steps * self.batch / figures["seconds"]
            self._leave_out(name, f"its loss became {figures['loss']}")
        return 0.0

    def _leave_out(self, name: str, reason: str) -> None:
        print(f"left out: {name}: {reason}", file=sys.stderr, flush=True)
        self.left_out[name] = reason
        if name in self.processes:
            self.processes.pop(name).close()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Versions, device, steps a round, the median of the rounds and each of them, by contender."""
        return {
            name: {
                **process.facts,
                "steps": self.steps[name],
                "rate": statistics.median(self._rates[name]),
                "rounds": self._rates[name],
            }
            for name, process in self.processes.items()
            if self._rates[name]
        }

    def close(self) -> None:
        for process in self.processes.values():
            process.close()


def times(ours: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How many times as fast the first is: the median over pairs of rounds, between which the machine's speed drifts
    least."""
    return statistics.median(a / b for a, b in zip(ours["rounds"], other["rounds"], strict=True))


def table(contenders: Mapping[str, Mapping[str, Any]], first: str, digits: int = 1) -> list[str]:
    """A Markdown table: images/s, the least and the greatest round, and how many times as fast the `first` is."""
    rows = [["contender", "images/s: median (least to greatest)", f"{first} is", "versions"], ["---"] * 4]
    for name, figure in contenders.items():
        low, high = min(figure["rounds"]), max(figure["rounds"])
        rate = f"{figure['rate']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
        compared = first in contenders and name != first
        ratio = f"{times(contenders[first], figure):.2f} times as fast" if compared else ""
        rows.append([name, rate, ratio, figure["versions"]])
    return [f"| {' | '.join(row)} |" for row in rows]
