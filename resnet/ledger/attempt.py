"""The work on a stage, from begin to finish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet.files import make_folder, remove_leftovers, sha256
from resnet.ledger import displacing
from resnet.ledger.state_files import content_digest, write_state
from resnet.provenance import provenance

if TYPE_CHECKING:
    from resnet.ledger.ledger import Ledger

STAMPS = 16  # of the same images in several places: local copies of several hosts


class Attempt:
    """The work on a stage, from `begin` to `finish`. Its folder is locked."""

    def __init__(self, ledger: Ledger, stage: str):
        self.ledger = ledger
        self._run, self._stage = ledger.run, stage
        self.folder = ledger.run.stage_folder(stage)
        self.number = 1
        self._begun: dict[str, Any] = {}

    def begin(self, changed: Callable[[], Sequence[Path]] = tuple) -> None:
        """Prepare the stage's folder, and keep what an earlier attempt at the same settings and inputs left.

        Moves everything else to the trash folder, and says so: all of it, or, of a stage that was finished with the
        same settings, what `changed` names. Raises UserError if that is more than a minute of work and must not be
        discarded; then nothing has changed.
        """
        make_folder(self.folder)
        remove_leftovers(self.folder)  # of writers that were killed: nobody else writes here now
        if self._stage == "convert":
            self.ledger.require_own_records()
        earlier = self.ledger.record(self._stage) or self.ledger.begun(self._stage)
        if not self.ledger.matches(self._stage, earlier):
            displacing.displace(self.ledger, self._stage, earlier)
            earlier = None
        self._begun = self.ledger.identity(self._stage) | {"start": _now(), "attempts": 1}
        if earlier:
            self._continue(earlier, changed)
        self.number = self._begun["attempts"]
        write_state(self.folder / "begun.json", self._begun)
        (self.folder / "stage.json").unlink(missing_ok=True)
        (self.folder / displacing.STALE).unlink(missing_ok=True)
        if self._stage != "convert":
            self._run.store()

    def _continue(self, earlier: dict[str, Any], changed: Callable[[], Sequence[Path]]) -> None:
        self._begun |= {"start": earlier["start"], "attempts": earlier.get("attempts", 0) + 1}
        if "end" in earlier or "finished_seconds" in earlier:  # it was complete once, and what it has is worth keeping
            self._begun["finished_seconds"] = displacing.work_seconds(self.folder, earlier)
            files = changed()
            displacing.displace_files(self.ledger, self._stage, earlier, files, "the images have changed")
            if "source" in earlier and not files:  # the same images as before, whatever their times
                self._begun["source"] = earlier["source"] | self._begun["source"]

    def finish(
        self,
        outputs: Iterable[Path],
        *,
        byproducts: Iterable[Path] = (),
        checksums: dict[str, str] | None = None,
        **facts: Any,
    ) -> None:
        """Write stage.json, last of all. `facts` go into it.

        `outputs` decide the digest that the stages downstream depend on. `byproducts` (logs, pictures: whatever has
        times in it) only have to exist. `checksums` (SHA-256 by name) saves reading large files again.
        """
        files = {}
        for path, counts in [(path, True) for path in outputs] + [(path, False) for path in byproducts]:
            name = str(path.relative_to(self.folder))
            files[name] = {"size": path.stat().st_size, "sha256": (checksums or {}).get(name) or sha256(path)}
            if not counts:
                files[name]["byproduct"] = True
        begun = {key: value for key, value in self._begun.items() if key != "finished_seconds"}
        if self.ledger.source and self._stage == "convert":
            stamps = [*begun["source"].get("stamps", []), self.ledger.source.stamp]
            begun["source"] |= {"stamps": list(dict.fromkeys(stamps))[-STAMPS:]}
        done = begun | facts | {"digest": content_digest(files), "end": _now(), **provenance(), "outputs": files}
        write_state(self.folder / "stage.json", done)
        displacing.unmark(self.ledger, self._stage)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
