"""The status of a run as a picture of its tasks."""

from __future__ import annotations

from resnet.progress import time_text
from resnet.report.drawing import Figure
from resnet.report.graph import Task, graph
from resnet.status.run_status import RunStatus
from resnet.status.stage_status import StageStatus


def picture(status: RunStatus) -> Figure:
    """The graph, with the state of each task, how long it took or is going to take, and what came of it."""
    return graph([Task(one.title, one.state.value, _lines(one, status)) for one in status.stages.values()])


def _lines(one: StageStatus, status: RunStatus) -> list[str]:
    if one.seconds is not None:
        return [time_text(one.seconds), one.figure]
    how_far = f"{100 * one.fraction:.0f} %" if one.fraction is not None else ""
    seconds = status.next.seconds.get(one.stage)
    return [how_far, f"about {time_text(seconds)}" if seconds is not None else ""]
