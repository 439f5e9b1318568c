"""What the report states: the result, what it is worth, and what it is compared with."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_runs import MadeRun, log_lines, scattered_logits

from resnet.ledger.state_files import read_state, write_state
from resnet.report import headline as headline_module
from resnet.report.content import as_json
from resnet.report.findings import MISTAKES
from resnet.report.page import Drawings, render, render_markdown
from resnet.report.published import Published
from resnet.weights.tensor_files import write_tensors

IMAGES = 60
LABELS = np.arange(IMAGES) % 3
NAMES = [f"{number}.jpg" for number in range(IMAGES)]


def good(**facts) -> MadeRun:
    """Three classes, of which nearly all images are answered right."""
    facts = {"logits": scattered_logits(LABELS, 3, 0.9)} | facts
    return MadeRun(["ant", "bee", "cat"], NAMES, labels=LABELS, **facts)


def one_answer(label: int = 0) -> np.ndarray:
    """Logits of a network that has one answer for every image."""
    logits = np.zeros((IMAGES, 3), np.float32)
    logits[:, label] = 2
    return logits


def text_of(page: str) -> str:
    return html.unescape(" ".join(re.sub("<[^>]*>", " ", page).split()))


def test_the_result_is_one_sentence_with_its_interval(tmp_path, stated):
    head = stated(good().write(tmp_path)).headline
    wrong = int((good().logits.argmax(1) != LABELS).sum())
    assert head.wrong == wrong
    assert f"names the wrong class for {wrong}: {100 * wrong / IMAGES:.2f} % top-1 error" in head.sentence
    assert head.failure == ""


def test_a_network_with_one_answer_for_all_is_called_a_failure_at_the_top(tmp_path, stated):
    content = stated(good(logits=one_answer()).write(tmp_path))
    assert content.headline.failure == "This result is no better than chance."
    page = render(content, Drawings())
    assert page.index("no better than chance") < page.index("<h2", page.index("<h2") + 1)
    assert "the network answers “ant” for 100.0 % of the images" in text_of(page)
    assert render_markdown(content).index("**This result is no better than chance.**") < 200


@pytest.mark.parametrize(("classes", "shown"), [(3, False), (10, False), (11, True)])
def test_top_5_is_stated_only_where_it_says_something(classes, shown, tmp_path, stated):
    labels = np.arange(22) % classes
    run = MadeRun(
        [f"c{k}" for k in range(classes)],
        [f"{k}.jpg" for k in range(22)],
        labels=labels,
        logits=scattered_logits(labels, classes, 0.9),
    )
    content = stated(run.write(tmp_path))
    assert (content.headline.view.top5_error is not None) == shown
    assert ("Top-5" in render(content, Drawings())) == shown


def test_every_view_is_compared_with_the_first_on_the_same_images(tmp_path, stated):
    worse = good().logits.copy()
    worse[:12] = -worse[:12]
    content = stated(good(first_view="10-crop", other_views={"1-crop": worse}).write(tmp_path))
    first, second = content.headline.views
    assert (first.name, first.comparison) == ("10-crop", "")
    assert "The error of 1-crop is" in second.comparison
    assert "McNemar's test, p < 0.001" in second.comparison
    assert "Shown ten crops" in content.headline.sentence


def test_other_runs_on_the_same_images_are_compared_newest_first(tmp_path, stated):
    good(name="old").write(tmp_path)
    good(name="bad", logits=one_answer()).write(tmp_path)
    others = stated(good(name="this").write(tmp_path)).others
    assert [run.run for run in others.runs] == ["bad", "old"]
    assert "The error of run bad is" in others.runs[0].sentence
    assert "more than chance explains" in others.runs[0].sentence
    assert others.runs[1].sentence == "run old and this run are right on the same images."
    assert others.unusable == []


def test_a_run_on_other_records_is_not_compared(tmp_path, stated):
    other = good(name="other").write(tmp_path)
    path = other.run.stage_folder("evaluate") / "stage.json"
    record = read_state(path)
    write_state(path, record | {"inputs": record["inputs"] | {"convert": "of other images"}})
    assert stated(good(name="this").write(tmp_path)).others.runs == []


def test_another_run_that_cannot_be_read_is_named_and_left_out(tmp_path, stated):
    ledgers = [good(name=name).write(tmp_path) for name in ("broken", "halved", "this")]
    (ledgers[0].run.stage_folder("evaluate") / "stage.json").write_text("{")
    table = ledgers[1].run.stage_folder("evaluate") / "predictions.csv"
    table.write_text("\n".join(table.read_text().split("\n")[:30]) + "\n")
    content = stated(ledgers[2])
    assert content.others.runs == []
    assert len(content.others.unusable) == 2
    assert "runs/broken/evaluate/stage.json is corrupt" in render(content, Drawings())


def test_published_errors_of_the_same_view_are_set_beside_the_result(tmp_path, results_of, monkeypatch):
    results = results_of(good().write(tmp_path))
    error = results.metrics["top1_error"]
    rows = [
        Published("ResNet-20", "A", "1-crop", error - 30, None, "", ""),
        Published("ResNet-20", "B", "1-crop", error + 0.5, 1.0, "", ""),
        Published("ResNet-20", "C", "10-crop", error, 1.0, "", ""),
    ]
    monkeypatch.setattr(type(results), "comparable", lambda self: rows)
    head = headline_module.headline(results)
    assert [row.is_same_view for row in head.published] == [True, True, False]
    assert [row.is_inside_interval for row in head.published] == [False, True, True]
    assert head.published[0].difference == pytest.approx(30)
    assert "2 published errors of ResNet-20" in head.published_sentences[0]
    assert "14.75 points above their median" in head.published_sentences[0]
    assert head.published_sentences[1].startswith(
        "This run's interval has 1 of 2: from these the result does not differ"
    )


@pytest.mark.parametrize(
    ("errors", "said", "meaning"),
    [
        ([-30, -29], "2 published errors of ResNet-20", "has none of them: the result differs"),
        ([0], "one error of ResNet-20 is published", "has 1 of 1: from these the result does not differ"),
    ],
)
def test_published_errors_that_are_all_elsewhere_or_only_one_are_put_so(
    errors, said, meaning, tmp_path, results_of, monkeypatch
):
    results = results_of(good().write(tmp_path))
    own = results.metrics["top1_error"]
    rows = [Published("ResNet-20", "A", "1-crop", own + error, None, "", "") for error in errors]
    monkeypatch.setattr(type(results), "comparable", lambda self: rows)
    published, inside = headline_module.headline(results).published_sentences
    assert said in published
    assert ("This run is at it." in published) == (errors == [0])
    assert inside.startswith(f"This run's interval {meaning}")


def test_a_thousand_epochs_are_a_thousand(tmp_path, stated):
    page = render(stated(good(overrides=["training.epochs=1000"]).write(tmp_path)), Drawings())
    assert "of training: 1,000 epochs" in page


def test_classes_of_one_name_are_told_apart_by_their_identifiers(tmp_path, stated):
    ledger = good().write(tmp_path)
    (ledger.run.records / "classes.txt").write_text("ant\tcrane\nbee\tcrane\ncat\tcat\n")
    content = stated(ledger)
    assert {row["name"] for row in content.classes.worst} == {"crane (ant)", "crane (bee)", "cat"}
    confused = {name for row in content.classes.confused for name in (row["label_name"], row["predicted_name"])}
    assert "crane" not in confused


def test_where_most_classes_are_faultless_the_median_is_left_out(tmp_path, stated):
    logits = 5 * np.eye(3, dtype=np.float32)[LABELS]
    logits[2, 0] = 9
    sentence = stated(good(logits=logits).write(tmp_path)).classes.sentence
    assert sentence.endswith("2 of the 3 classes have no error.")


def test_a_run_on_somebodys_own_images_says_nothing_of_published_errors(tmp_path, stated):
    content = stated(good().write(tmp_path))
    assert content.headline.published == []
    assert "ublished" not in text_of(render(content, Drawings()))


def test_classes_that_are_counted_in_another_order_are_said_at_the_top(tmp_path, stated):
    labels = np.arange(300) % 30
    logits = scattered_logits((labels + 1) % 30, 30, 1.0)
    names = [f"c{k:02}" for k in range(30)]
    run = MadeRun(names, [f"{k}.jpg" for k in range(300)], labels=labels, logits=logits)
    content = stated(run.write(tmp_path))
    assert "would be 0.00 % with the classes in another order" in content.class_order
    assert "Labels are shifted by one" in text_of(render(content, Drawings()))


def test_the_three_forms_state_the_same(tmp_path, stated):
    moving = {"batches": 0, "loss": 1.0, "top1_error": 9.0, "top1_error_interval": [8.0, 10.0], "gained": 2, "lost": 9}
    few = {"batches": 25, "loss": 1.0, "top1_error": 5.0, "top1_error_interval": [4.0, 6.0], "gained": 0, "lost": 0}
    many = {"batches": 1000, "loss": 1.0, "top1_error": 5.5, "top1_error_interval": [4.5, 6.5], "gained": 3, "lost": 4}
    run = good(metrics={"statistics": [moving, few, many]}, other_views={"10-crop": one_answer()}, name="this")
    good(name="other", logits=one_answer(1)).write(tmp_path)
    content = stated(run.write(tmp_path))
    page = text_of(render(content, Drawings()))
    markdown = re.sub(r"\\(.)", r"\1", render_markdown(content))
    plain = json.loads(as_json(content))
    sentences = [text for text in strings(plain) if text.endswith((".", "!")) and " " in text]
    assert len(sentences) > 12
    for sentence in sentences:
        if sentence not in plain["course"]["sentences"]:  # which are captions of the figures
            assert sentence in page
        assert sentence in markdown
    errors = [f"{row['error']:.2f}" for row in plain["classes"]["worst"]]
    assert all(error in page and error in markdown for error in errors)


def strings(value: object) -> list[str]:
    """All texts in what JSON has."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_what_is_not_known_is_null_in_the_json(tmp_path, stated):
    ledger = good(logits=None).write(tmp_path)
    table = ledger.run.stage_folder("evaluate") / "predictions.csv"
    table.write_text(table.read_text().replace("0.75", "").replace("0.25", ""))
    content = stated(ledger)
    plain = json.loads(as_json(content), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert plain["trust"]["ece"] is None
    assert plain["headline"]["baseline"]["unanswered"] == IMAGES
    assert "no single answer" in text_of(render(content, Drawings()))


def test_the_surest_mistakes_come_first(tmp_path, stated):
    labels = np.zeros(40, int)
    logits = np.stack([np.zeros(40), np.arange(40) / 10 - 0.95], 1).astype(np.float32)
    run = MadeRun(["a", "b"], [f"{k}.jpg" for k in range(40)], labels=labels, logits=logits)
    mistakes = stated(run.write(tmp_path)).mistakes
    assert mistakes.total == 30
    assert [one.file for one in mistakes.shown][:2] == ["39.jpg", "38.jpg"]
    assert len(mistakes.shown) == MISTAKES
    assert mistakes.sentence == "The 24 mistakes that the network was surest of, out of 30."


@pytest.mark.parametrize(
    ("many", "gained", "lost", "verdict"),
    [(5.05, 0, 200, "holds"), (5.5, 9, 12, "holds"), (6.5, 2, 20, "does not hold")],
    ids=["too close to matter", "chance explains it", "different"],
)
def test_whether_few_batches_of_statistics_do_is_judged_on_the_same_images(
    many, gained, lost, verdict, tmp_path, stated
):
    few = {"batches": 25, "top1_error": 5.0, "top1_error_interval": [4.0, 6.0], "gained": 0, "lost": 0}
    rows = [few, few | {"batches": 1000, "top1_error": many, "gained": gained, "lost": lost}]
    run = good(metrics={"statistics": rows}, overrides=["batchnorm.batches=25"])
    sentence = stated(run.write(tmp_path)).statistics.sentence
    assert f"“25 and 1,000 batches are almost the same” {verdict} here" in sentence
    assert f"right on {gained} image{'s' * (gained != 1)} that the one with 25 batches gets wrong" in sentence


def test_an_epoch_of_few_batches_cannot_tell_whether_many_would_be_the_same(tmp_path, stated):
    few = {"batches": 25, "top1_error": 5.0, "top1_error_interval": [4.0, 6.0], "gained": 0, "lost": 0}
    run = good(metrics={"statistics": [few | {"batches": 5}, few]}, overrides=["batchnorm.batches=25"])
    sentence = stated(run.write(tmp_path)).statistics.sentence
    assert re.search(r"cannot be told: an epoch has \d+ batch(es)?\.", sentence)


def test_without_logits_the_sections_that_need_them_say_so(tmp_path, stated):
    content = stated(good().write(tmp_path))
    assert content.label_errors.sentence.startswith("Likely label errors are not looked for")
    assert "No temperature is fitted" in content.trust.sentence
    assert content.trust.temperature is None


def test_no_line_of_the_page_ends_between_a_number_and_its_percent_sign(tmp_path, stated):
    good(name="other", logits=one_answer(1)).write(tmp_path)
    page = render(stated(good(name="this").write(tmp_path)), Drawings())
    assert re.search(r"p\u00a0(=|&lt;)\u00a00", page)
    assert not re.search(r"\d %|\bp (=|&lt;) ?\d", page)


@pytest.mark.parametrize("first", ["1-crop", "10-crop"])
def test_a_view_that_may_not_show_what_one_expects_is_doubted_beside_its_error(first, tmp_path, stated):
    run = good(other_views={"10-crop": one_answer()}) if first == "1-crop" else good(first_view="10-crop")
    content = stated(run.write(tmp_path))
    assert [view.name for view in content.headline.views if view.doubts] == ["10-crop"]
    for form in (text_of(render(content, Drawings())), render_markdown(content), as_json(content)):
        assert "Training showed no mirror images" in form


def test_another_run_is_compared_with_the_settings_that_it_has_otherwise(tmp_path, stated):
    good(name="other", overrides=["training.seed=3", "training.momentum=0.8"]).write(tmp_path)
    good(name="twin").write(tmp_path)
    others = {row.run: row.settings_sentence for row in stated(good(name="this").write(tmp_path)).others.runs}
    assert others["other"] == "Settings that differ: training.momentum is 0.8, here 0.9; training.seed is 3, here 0."
    assert others["twin"] == "All settings are the same."


@pytest.mark.parametrize(
    ("train", "named"),
    [({}, "training's moving averages"), ({"imported": {"file": "a.pth", "sha256": "b"}}, "its imported statistics")],
)
def test_statistics_that_no_batch_was_averaged_for_are_called_what_they_are(train, named, tmp_path, stated):
    point = {"top1_error": 5.0, "top1_error_interval": [4.0, 6.0], "gained": 0, "lost": 0}
    run = good(metrics={"statistics": [point | {"batches": 0}, point | {"batches": 25}]}, train=train)
    curve = stated(run.write(tmp_path)).statistics
    assert curve.unaveraged == named
    assert curve.sentence.endswith(
        f"The network with {named} and the one with 25 batches are right on the same images."
    )


@pytest.mark.parametrize("is_output", [True, False])
def test_it_says_whose_weights_are_the_best_where_training_has_kept_them(is_output, tmp_path, stated, monkeypatch):
    """And not where the file is of another time."""
    log = log_lines(epochs=4, per_epoch=5, validated=True)
    step = next(line["step"] for line in log if "validation_loss" in line)
    run = good(log=log)

    def write_both(folder: Path) -> list[Path]:
        MadeRun._write_log(run, folder)
        write_tensors(folder / "best.safetensors", {"x": np.zeros(1)}, {"step": step})
        return [folder / "best.safetensors"] if is_output else []

    monkeypatch.setattr(run, "_write_log", write_both)
    said = "The weights after epoch 1 are in train/best.safetensors."
    assert (said in stated(run.write(tmp_path)).course.sentences) is is_output


@pytest.mark.parametrize(("epochs", "rate"), [(2, "0.1"), (5, "0.1, times 0.1 after epochs 3 and 4")])
def test_drops_of_the_learning_rate_that_training_does_not_reach_are_not_stated(epochs, rate, tmp_path, stated):
    run = good(overrides=[f"training.epochs={epochs}", "training.drop_epochs=[3, 4, 9]"])
    assert {fact.name: fact.text for fact in stated(run.write(tmp_path)).facts}["Learning rate"] == rate


@pytest.mark.parametrize(
    ("settings", "stated_facts"),
    [
        ([], {"Optimizer": "SGD with momentum 0.9, weight decay 0.0001"}),
        (
            ["schedule=cosine", "warmup_epochs=1", "final_learning_rate=1e-6"],
            {"Learning rate": "0.1 after a warm-up of 1 epoch, along a cosine to 1e-06"},
        ),
        (
            ["decay_kind=decoupled", "decayed=all but norms", "clip_norm=1"],
            {
                "Optimizer": "SGD with momentum 0.9, decoupled weight decay 0.0001 of all weights but norms, gradients "
                "of norm 1 at most"
            },
        ),
        (
            ["optimizer=lamb", "decay_kind=lamb", "decayed=kernels", "loss=binary"],
            {"Optimizer": "LAMB, weight decay 0.0001 of kernels", "Loss": "binary cross-entropy"},
        ),
        (["label_smoothing=0.1"], {"Loss": "cross-entropy, label smoothing 0.1"}),
        (["class_weights=balanced"], {"Loss": "cross-entropy, balanced classes"}),
        (
            ["average=0.99", "average_steps=4"],
            {"Weights": "a moving average with decay 0.99, taken every 4 steps"},
        ),
    ],
)
def test_it_says_how_the_weights_were_changed(settings, stated_facts, tmp_path, stated):
    run = good(overrides=[f"training.{setting}" for setting in settings])
    facts = {fact.name: fact.text for fact in stated(run.write(tmp_path)).facts}
    assert facts | stated_facts == facts
    for unusual in ("Loss", "Weights"):
        assert (unusual in facts) == (unusual in stated_facts)


@pytest.mark.parametrize(
    ("settings", "precision"),
    [
        ([], "float32"),
        (["training.precision=bfloat16"], "bfloat16"),
        (["training.xla=true", "training.deterministic=false"], "float32, compiled by XLA, not deterministic"),
    ],
)
def test_it_says_what_the_training_computed_in(settings, precision, tmp_path, stated):
    run = good(overrides=settings, train={"hosts": 2, "devices": ["CPU", "CPU"]})
    facts = {fact.name: fact.text for fact in stated(run.write(tmp_path)).facts}
    assert facts["Precision"] == precision
    assert facts["Devices"] == "on 2 hosts: CPU, CPU"
