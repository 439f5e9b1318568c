"""The graph as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from pipeline.tasks import FullRun
from resnet.report.graph import HEIGHT, WIDTH, Task, graph, needed_by
from resnet.stage_table import STAGES

TASKS = [Task(stage.title, "up to date", ["2 s"]) for stage in STAGES.values()]


def test_its_arrows_are_those_of_the_tasks_themselves(tmp_path):
    task = FullRun(artifacts=str(tmp_path), recipe="digits").requires()
    while task.task_family != "Images":
        assert needed_by(task.task_family) == task.requires().task_family
        task = task.requires()


def test_it_has_a_box_for_each_task_with_its_state_and_the_images_that_all_come_from():
    drawing = ET.fromstring(graph(TASKS).svg)
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["Images", "from outside"]
    assert [text for text in texts if text in {stage.title for stage in STAGES.values()}] == [t.title for t in TASKS]
    assert texts.count("up to date") == texts.count("2 s") == len(STAGES)


def test_each_arrow_leads_from_the_task_that_is_waited_for():
    made = ET.fromstring(graph(TASKS).svg)
    space = "{http://www.w3.org/2000/svg}"
    boxes = [(int(box.get("x")), int(box.get("y"))) for box in made.iter(f"{space}rect") if box.get("rx")]
    place = dict(zip(["Images", *(task.title for task in TASKS)], boxes, strict=True))
    for arrow, task in zip(made.iter(f"{space}path"), TASKS, strict=True):
        x, y = map(int, (arrow.get("d") or "").split()[1:3])
        left, top = place[needed_by(task.title)]
        assert (x, y) in {(left + WIDTH, top + HEIGHT // 2), (left + WIDTH // 2, top + HEIGHT)}


def test_whatever_a_line_says_the_picture_can_be_read_and_the_line_fits():
    made = graph([Task("ConvertRecords", "stale", ["<b>&amp;", "x" * 100])])
    texts = [element.text or "" for element in ET.fromstring(made.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "<b>&amp;" in texts
    assert max(map(len, texts)) == 25
    assert made.inline().startswith("<svg")
