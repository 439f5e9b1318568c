"""Which stages of a run are complete, and why the others are not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet.checked_json import Corrupt
from resnet.errors import UserError
from resnet.files import sha256
from resnet.ledger import starting_point
from resnet.ledger.lengthening import lengthened_from, why_not_lengthened
from resnet.ledger.starting_point import StartingPoint
from resnet.ledger.state_files import read_state
from resnet.run import Run
from resnet.settings import Recipe
from resnet.stage_table import STAGES, chain

if TYPE_CHECKING:
    from resnet.datasets.source import Fingerprint

logger = logging.getLogger(__name__)

SHOWN = 3  # differences in a reason
FORMERLY_UNRECORDED = {("dataset", "classes")}  # settings of earlier versions: whatever they were counts as the same


class Ledger:
    """`fingerprint` identifies the images that the run would convert; None while they cannot be seen.

    It is handed in, so that the ledger needs to know no data set. It is called once, since it may list a large folder.
    """

    def __init__(self, run: Run, fingerprint: Callable[[], Fingerprint | None]):
        self.run = run
        self._fingerprint = fingerprint

    def record(self, stage: str) -> dict[str, Any] | None:
        """The stage's stage.json, or None if there is none. Raises Corrupt, unless the stage may be discarded."""
        return self._read(stage, "stage.json")

    def begun(self, stage: str) -> dict[str, Any] | None:
        """The stage's begun.json, likewise."""
        return self._read(stage, "begun.json")

    def _read(self, stage: str, name: str) -> dict[str, Any] | None:
        try:
            return read_state(self.run.stage_folder(stage) / name)
        except Corrupt:
            if stage in self.run.discard:
                return None
            raise

    def finished(self, stage: str) -> dict[str, Any]:
        """The stage.json of a stage that is there. Raises UserError otherwise."""
        record = self.record(stage)
        if record is None:
            raise UserError(f"{self.run.stage_folder(stage)} has no finished {stage} stage: run it first")
        return record

    def why_incomplete(self, stage: str) -> str:
        """Empty when the stage is complete, otherwise the reason why it is not."""
        needed, reason = self._first_incomplete(stage)
        return reason if needed in ("", stage) else f"it depends on {needed}, which is incomplete: {reason}"

    def _first_incomplete(self, stage: str) -> tuple[str, str]:
        """The first of a stage and all that it depends on that is incomplete, and why; empty where all are complete."""
        for name in chain(stage):
            if reason := self.why_itself_incomplete(name):
                return name, reason
        return "", ""

    def why_itself_incomplete(self, stage: str) -> str:
        """Why a stage is incomplete, whatever it depends on."""
        done = self.record(stage)
        if done is None:
            return self._why_unfinished(stage)
        if stage == "train" and (epochs := lengthened_from(self, done)):
            return f"it has {epochs} epochs, and is lengthened to {self.run.recipe.training.epochs}"
        differences = self.differences(stage, done)
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        stale = ", ".join(differences[:SHOWN]) + more
        if stage == "convert" and not stale:
            stale = self.what_changed(done)
        if stage == "train" and stale and (why := why_not_lengthened(self, done)):
            stale += f"; {why}, so it begins again"
        return stale or _missing_or_changed(self.run.stage_folder(stage), done["outputs"])

    def _why_unfinished(self, stage: str) -> str:
        parts = range(self.run.recipe.records.parts) if stage == "convert" else range(0)
        if len(parts) > 1 and all(map(self._part_was_made, parts)):
            return "its parts are done; they are not combined yet"
        begun = self.begun(stage)
        if begun and "imported" in begun:
            return f"the import of {begun['imported']['file']} was interrupted"
        if not begun:
            return "it has not run yet"
        why = self.why_not_continued(stage, begun)
        return f"it was interrupted; {why}, so it begins again" if why else "it was interrupted"

    def why_not_continued(self, stage: str, begun: dict[str, Any]) -> str:
        """Why an attempt that was interrupted, by its begun.json, would begin again; empty where it would go on."""
        if "imported" in begun or (stage == "train" and lengthened_from(self, begun)):
            return ""
        return ", ".join(self.differences(stage, begun))

    def differences(self, stage: str, earlier: dict[str, Any], *, with_inputs: bool = True) -> list[str]:
        """What is wanted now and an earlier attempt (stage.json or begun.json) did not have: version, settings, inputs.

        Other images are no such difference: conversion finds out which shards they concern.
        """
        version = STAGES[stage].version
        if earlier["version"] != version:
            return [f"it was made by version {earlier['version']} of the stage, and the code is version {version}"]
        wanted, inputs = self.settings(stage), self._digests_of_stages(stage)
        if "imported" in earlier:  # it depends on nothing but what it records
            wanted = {section: wanted[section] for section in earlier["settings"]}
            inputs = {name: inputs[name] for name in earlier["inputs"]}
        recorded = _with_defaults(stage, wanted, earlier["settings"])
        found = [
            f"{section}.{key} was {json.dumps(was)}, now {json.dumps(value)}"
            for section, values in wanted.items()
            for key, value in values.items()
            if (was := recorded[section][key]) != value
        ]
        if stage == "train" and "imported" not in earlier:
            found += starting_point.difference(self.starting_point, earlier)
        for name, digest in inputs.items():
            if with_inputs and digest is not None and earlier["inputs"].get(name) != digest:
                found.append(f"{name} has changed since")
        return found

    def matches(self, stage: str, earlier: dict[str, Any] | None) -> bool:
        """Whether an earlier attempt was at the same version, settings and inputs."""
        return earlier is not None and not self.differences(stage, earlier)

    def settings(self, stage: str) -> dict[str, Any]:
        """The settings that affect this stage's results, by section."""
        return _affecting(stage, self.run.recipe)

    def identity(self, stage: str) -> dict[str, Any]:
        """What makes two attempts at a stage the same: version, settings and inputs. For conversion also the images.

        For a training that starts from trained weights, these are an input, and their place is beside the inputs.
        """
        identity: dict[str, Any] = {
            "stage": stage,
            "version": STAGES[stage].version,
            "settings": self.settings(stage),
            "inputs": self._digests_of_stages(stage),
        }
        if stage == "train" and (start := self.starting_point):
            identity["inputs"][starting_point.INPUT] = start.digest(self.record(stage) or self.begun(stage))
            identity[starting_point.INPUT] = str(start)
        if stage == "convert":
            identity["source"] = {"data": self.run.data and str(self.run.data), "listing": self._listing}
        return identity

    def identity_of_import(self, stage: str, imported: Mapping[str, str]) -> dict[str, Any]:
        """Likewise for a stage whose weights are imported: neither images nor training settings matter to it."""
        identity = self.identity(stage)
        inputs = {name: digest for name, digest in identity["inputs"].items() if name in ("train", "batchnorm")}
        return identity | {
            "settings": {name: values for name, values in identity["settings"].items() if name == "model"},
            "inputs": inputs,
            "imported": dict(imported),
        }

    @property
    def starting_point(self) -> StartingPoint | None:
        """The trained weights that Train starts from; None for random ones."""
        return StartingPoint.of(self.run)

    def require_start(self) -> None:
        """Raise UserError where a training is still to begin and there is nothing that it can start from."""
        earlier = self.record("train") or self.begun("train")
        if (start := self.starting_point) and not self.matches("train", earlier) and not lengthened_from(self, earlier):
            start.require()

    def _digests_of_stages(self, stage: str) -> dict[str, str | None]:
        records = {name: self.record(name) for name in STAGES[stage].inputs}
        return {name: record["digest"] if record else None for name, record in records.items()}

    @cached_property
    def source(self) -> Fingerprint | None:
        """The fingerprint of the images, None while they cannot be seen."""
        try:
            return self._fingerprint()
        except (UserError, OSError) as error:
            if self.record("convert") is None:
                raise
            logger.warning("the images cannot be looked at, and the records are used as they are: %s", error)
            return None

    @property
    def _listing(self) -> str | None:
        return self.source.listing if self.source else None

    def forget_images(self) -> None:
        """Ask for the images' fingerprint again when it is next needed: they have been downloaded."""
        self.__dict__.pop("source", None)

    def what_changed(self, done: dict[str, Any]) -> str:
        """Whether the images are those that were converted. Images that cannot be seen have not changed."""
        converted = _source_of(done)
        if self.source is None:
            return ""
        if converted["listing"] != self.source.listing:
            return "the images have changed"
        if self.source.stamp not in converted.get("stamps", [self.source.stamp]):
            return "the images may have changed: their times differ"
        return ""

    def require_own_records(self) -> None:
        """Raise UserError if the records folder belongs to other images, in another folder: each needs its own name."""
        earlier = None if "convert" in self.run.discard else self.record("convert") or self.begun("convert")
        if earlier is None or self.source is None or self.run.data is None:
            return
        owner = _source_of(earlier)
        if owner.get("data") in (None, str(self.run.data)) or owner["listing"] == self.source.listing:
            return
        raise UserError(
            f"{self.run.records} has the records of other images: those of {owner['data']}, not of {self.run.data}. "
            "Give these a name of their own: --override dataset.name=NAME. If they are the same images, which moved "
            "and changed: --discard convert moves the old records to the trash."
        )

    def require_inputs(self, stage: str) -> None:
        """Raise UserError, naming the stage to run first, where something that the stage depends on is incomplete."""
        if not (reason := self.why_inputs_incomplete(stage)):
            return
        needed, _ = self._first_incomplete(stage)
        shared = (
            f" Runs on one data set share {self.run.records}: if another run needs other records, give one of the two "
            "a name of its own, --override dataset.name=NAME."
            if needed == "convert" and self.record("convert")
            else ""
        )
        first = f"Run it first: python -m resnet {needed}, with the same recipe, data, run, artifacts and overrides."
        raise UserError(f"{reason}. {first}{shared}")

    def why_inputs_incomplete(self, stage: str) -> str:
        """What the stage depends on that is incomplete, and why; empty where all is complete."""
        needed, reason = self._first_incomplete(stage)
        return "" if needed in ("", stage) else f"{stage} depends on {needed}, which is incomplete: {reason}"

    def verify_inputs(self, stage: str) -> None:
        """Raise UserError, naming the file, where a stage would read a byte that is not as it was written.

        Records are left out: each has a checksum of its own, checked whenever it is read.
        """
        for needed in STAGES[stage].inputs:
            for name, output in self.finished(needed)["outputs"].items():
                if "byproduct" in output or name.startswith(STAGES[needed].self_checked):
                    continue
                if self.has_changed(needed, name):
                    raise UserError(
                        f"{self.run.stage_folder(needed) / name} is corrupt: it differs from what {needed} wrote. "
                        f"Delete it and run the same command again: {needed} makes it again."
                    )

    def has_changed(self, stage: str, name: str) -> bool:
        """Whether a file of a finished stage is missing or differs from what the stage wrote."""
        output, path = self.finished(stage)["outputs"].get(name), self.run.stage_folder(stage) / name
        return output is not None and (not path.exists() or sha256(path) != output["sha256"])

    def is_listing_unchanged(self) -> bool:
        """Whether the names and sizes of the images are those that the records were made from."""
        earlier = self.record("convert") or self.begun("convert")
        return earlier is not None and _source_of(earlier)["listing"] == self._listing

    def conversion_has_begun(self) -> bool:
        """Whether the conversion that is wanted now is begun or done. Raises UserError as `require_own_records`."""
        self.require_own_records()
        if self.record("convert"):
            return not self.why_incomplete("convert")
        begun = self.begun("convert")
        return self.matches("convert", begun) and self._listing in (None, _source_of(begun or {})["listing"])

    def part_is_done(self, part: int) -> bool:
        """Whether a part of the conversion is there, for the settings and images wanted now."""
        return self._part_was_made(part) or not self.why_incomplete("convert")

    def _part_was_made(self, part: int) -> bool:
        made = read_state(self.part_file(part))
        return self.matches("convert", made) and self._listing in (None, (made or {}).get("source", {}).get("listing"))

    def part_file(self, part: int) -> Path:
        """Which says that a part of the conversion is done, and of what."""
        return self.run.records / "parts" / f"{part:05d}-of-{self.run.recipe.records.parts:05d}.json"


def _source_of(convert: dict[str, Any]) -> dict[str, Any]:
    """Which images a conversion is of. Earlier versions recorded their listing only, as an input."""
    return convert.get("source") or {"listing": convert.get("inputs", {}).get("source")}


def _affecting(stage: str, recipe: Recipe) -> dict[str, dict[str, Any]]:
    return {section: getattr(recipe, section).affecting_results() for section in STAGES[stage].sections}


def _with_defaults(stage: str, wanted: dict[str, Any], recorded: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Recorded settings as today's code has them. One that was added since counts as its default, which therefore must
    do what the code did before; one that was removed is left out."""
    defaults = _affecting(stage, Recipe())
    for section, key in FORMERLY_UNRECORDED:
        if section in defaults:
            defaults[section][key] = wanted[section][key]
    return {
        section: {key: recorded.get(section, {}).get(key, default) for key, default in values.items()}
        for section, values in defaults.items()
    }


def _missing_or_changed(folder: Path, outputs: dict[str, Any]) -> str:
    for name, output in outputs.items():
        if "byproduct" in output:
            continue
        try:
            size = (folder / name).stat().st_size
        except OSError:
            return f"{folder / name} is missing"
        if size != output["size"]:
            return f"{folder / name} has {size} bytes, not {output['size']}"
    return ""
