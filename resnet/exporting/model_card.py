"""The model card: README.md beside an exported network, with the metadata that Hugging Face's hub reads.

It needs no network. Names from the data are escaped: whatever they are, they are text, and neither Markdown nor YAML.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from resnet.exporting import VIEW, Format
from resnet.exporting.comparison import Comparison
from resnet.exporting.interface import Interface
from resnet.ledger import Ledger
from resnet.report.names import as_markdown, one_line, readable
from resnet.run import Run

TEMPLATE = Path(__file__).parent / "model_card.md"
LIBRARIES = {"savedmodel": "tensorflow", "onnx": "onnx", "tflite": "tflite"}  # as the hub calls them
LONGEST = 200  # characters of a name
NAMED_CLASSES = 20


def card(ledger: Ledger, format: Format, interface: Interface, comparison: Comparison) -> str:
    """The card's text: what it is, how to use it, its result, where it comes from, and its limits."""
    run, metrics = ledger.run, ledger.finished("evaluate")["metrics"]
    train = ledger.finished("train")
    first = train.get("imported") or train.get("started_from") or {}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["text"] = lambda name: as_markdown(one_line(str(name), LONGEST))
    content = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        format=format,
        run=run,
        recipe=run.recipe,
        facts=interface.facts,
        classes=[name or identifier for identifier, name in interface.classes],
        most_classes=NAMED_CLASSES,
        view=metrics["views"][VIEW],
        images=ledger.finished("convert")["images"],
        comparison=comparison,
        imported="imported" in train,
        first_weights=_name_of(first),
        sha256=first.get("sha256"),
    )
    metadata = _metadata(run, format, metrics)
    return readable(str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{content}")))


def _metadata(run: Run, format: Format, metrics: dict[str, Any]) -> ModelCardData:
    """The licence is left out: only the owner of the images and of the weights can know it."""
    view = metrics["views"][VIEW]
    result = EvalResult(
        task_type="image-classification",
        dataset_type=run.recipe.dataset.source,
        dataset_name=one_line(run.records_name, LONGEST),
        dataset_split="validation",
        metric_type="accuracy",
        metric_name="top-1 accuracy",
        metric_value=round(1 - view["top1_error"] / 100, 6),
    )
    return ModelCardData(
        library_name=LIBRARIES[format.name],
        pipeline_tag="image-classification",
        tags=["image-classification", "resnet", format.name],
        model_name=run.name,
        eval_results=[result],
    )


def _name_of(first: dict[str, Any]) -> str:
    """The run or file of the first weights; empty where they were random.

    Cards are published, so the folder that a file was in is left out.
    """
    return f"run {first['run']}" if "run" in first else Path(first.get("file", "")).name
