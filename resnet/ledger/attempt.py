"""The work on a stage, from begin to finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from resnet.datasets.source import with_stamps
from resnet.files import make_folder, remove_leftovers, sha256
from resnet.ledger import displacing
from resnet.ledger.ledger import Ledger
from resnet.ledger.lengthening import MADE_AGAIN, lengthened_from
from resnet.ledger.state_files import content_digest, write_state
from resnet.processes import PeakMemory
from resnet.progress import keep_in
from resnet.provenance import provenance
from resnet.stage_log import StageLog, log_path, stage_log


class Attempt:
    """The work on a stage, from `begin` to `finish`. Its folder is locked. `imported`: where its weights come from,
    if they are not made here.

    `on_news` is called when there is something new to see: when the stage has begun, and after each epoch of training.
    """

    def __init__(self, ledger: Ledger, stage: str, imported: Mapping[str, str] | None = None):
        self.ledger, self._imported = ledger, imported
        self._run, self._stage = ledger.run, stage
        self.folder = ledger.run.stage_folder(stage)
        self.number = 1
        self.begun: dict[str, Any] = {}  # the content of begun.json
        self._stamps: list[str] = []
        self._started = time.monotonic()
        self.on_news: Callable[[], None] = lambda: None
        self._notes: ExitStack | None = None  # while `noted`
        self._log = StageLog()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """In this block, from `begin` on, the stage's folder says how far the attempt is, and has a log of it."""
        with stage_log() as self._log, ExitStack() as self._notes:
            yield

    def require_room(self) -> None:
        """Raise UserError where `begin` would displace guarded work: for who begins several stages, or none."""
        earlier = self._earlier()
        if not self._continues(earlier):
            displacing.require_displaceable(self.ledger, self._stage, earlier, self._imported)

    def begin(self, find_changed: Callable[[], Sequence[Path]] = tuple) -> None:
        """Prepare the stage's folder, and keep what an earlier attempt at the same settings and inputs left.

        Moves everything else to the trash folder, and says so: all of it, or, where the settings and inputs are the
        same, the files that `find_changed` returns. Raises UserError if that is more than a minute of work and must not
        be discarded; then nothing has changed.
        """
        make_folder(self.folder)
        remove_leftovers(self.folder)  # of writers that were killed: nobody else writes here now
        if self._stage == "convert":
            self.ledger.require_own_records()
        earlier = self._earlier()
        if not self._continues(earlier):
            displacing.displace(self.ledger, self._stage, earlier, self._imported)
            earlier = None
        epochs = self._lengthened_from(earlier)
        self.begun = self._identity() | {"start": _now(), "attempts": 1, "worked_seconds": 0.0}
        if earlier:
            self._continue(earlier)
            displacing.displace_files(self.ledger, self._stage, earlier, find_changed(), "the images have changed")
        if earlier and epochs and "end" in earlier:  # one that was only interrupted has nothing that was longer once
            self.begun["lengthened_from"] = [*earlier.get("lengthened_from", []), epochs]
        self.begun["attempt_start"] = _now()
        self.number = self.begun["attempts"]
        write_state(self.folder / "begun.json", self.begun)
        if earlier and epochs:
            self._set_aside(earlier, epochs)  # now that begun.json says what goes on
        (self.folder / "stage.json").unlink(missing_ok=True)
        (self.folder / displacing.STALE).unlink(missing_ok=True)
        if self._stage != "convert" or not self._run.stored_recipe.exists():
            self._run.store()
        if self._notes:
            self._log.start(log_path(self.folder, self.number))
            self._notes.enter_context(keep_in(self.folder))
        self.on_news()

    def _earlier(self) -> dict[str, Any] | None:
        return self.ledger.record(self._stage) or self.ledger.begun(self._stage)

    def _continues(self, earlier: dict[str, Any] | None) -> bool:
        if self._imported is None:
            is_same = self.ledger.matches(self._stage, earlier) or self._lengthened_from(earlier) is not None
            return is_same and "imported" not in (earlier or {})
        is_same = earlier is not None and earlier.get("imported") == self._imported
        return is_same and not self.ledger.differences(self._stage, earlier or {}, with_inputs=False)

    def _lengthened_from(self, earlier: dict[str, Any] | None) -> int | None:
        """The epochs of a shorter training that this attempt lengthens."""
        return lengthened_from(self.ledger, earlier) if self._stage == "train" else None

    def _set_aside(self, shorter: dict[str, Any], epochs: int) -> None:
        """Move what a shorter training ended with to the trash; the checkpoints and the log stay."""
        files = [path for name in MADE_AGAIN if (path := self.folder / name).exists()]
        displacing.move(self.ledger, self._stage, shorter, files, f"{epochs} epochs are lengthened")

    def _identity(self) -> dict[str, Any]:
        if self._imported is None:
            return self.ledger.identity(self._stage)
        return self.ledger.identity_of_import(self._stage, self._imported)

    def _continue(self, earlier: dict[str, Any]) -> None:
        """Take over what an earlier attempt at the same settings and inputs says of itself."""
        self.begun |= {
            "start": earlier["start"],
            "attempts": earlier.get("attempts", 0) + 1,
            "worked_seconds": displacing.work_seconds(self.folder, earlier),
        }
        self.begun |= {name: earlier[name] for name in ("lengthened_from",) if name in earlier}
        self._stamps = earlier.get("source", {}).get("stamps", [])
        if "outputs" in earlier and earlier["digest"] != content_digest(earlier["outputs"]):
            self.begun["former_digest"] = {content_digest(earlier["outputs"]): earlier["digest"]}
        elif "former_digest" in earlier:
            self.begun["former_digest"] = earlier["former_digest"]

    def finish(
        self,
        outputs: Iterable[Path],
        *,
        byproducts: Iterable[Path] = (),
        checksums: dict[str, str] | None = None,
        same_images: bool = False,
        gpu_memory: int = 0,
        **facts: Any,
    ) -> None:
        """Write stage.json, last of all. `facts` go into it.

        `outputs` decide the digest that the stages downstream depend on. `byproducts` (logs, lists for people: whatever
        has times in it) may get lost later. `checksums` (SHA-256 by name) saves reading large files again.
        `same_images`: whether all that the earlier attempt converted was found to be made from the images of today.
        `gpu_memory`: the most bytes that were in use on a GPU.
        """
        files = {}
        for path, counts in [(path, True) for path in outputs] + [(path, False) for path in byproducts]:
            name = str(path.relative_to(self.folder))
            files[name] = {"size": path.stat().st_size, "sha256": (checksums or {}).get(name) or sha256(path)}
            if not counts:
                files[name]["byproduct"] = True
        done = {key: value for key, value in self.begun.items() if key != "attempt_start"} | facts
        done["worked_seconds"] += time.monotonic() - self._started
        if self._imported is not None:
            done["inputs"] = self._identity()["inputs"]  # all stages of an import begin before the first is finished
        if self.ledger.source and self._stage == "convert":
            stamps = with_stamps(self._stamps if same_images else (), [self.ledger.source.stamp])
            done["source"] = done["source"] | {"stamps": stamps}
        # The same outputs keep the digest that an earlier version gave them: what was made from them stays up to date.
        content = content_digest(files)
        digest = done.get("former_digest", {}).get(content, content)
        peak_memory = PeakMemory.facts(gpu_memory)  # of this attempt
        done |= {"digest": digest, "end": _now(), "peak_memory": peak_memory, **provenance(), "outputs": files}
        write_state(self.folder / "stage.json", done)
        displacing.unmark(self.ledger, self._stage, digest)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
