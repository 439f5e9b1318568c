"""Whether each result of a run belongs to what is there now: the digests from the images to the report."""

from __future__ import annotations

from collections.abc import Iterator

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.run import luigi_command
from resnet.stage_table import STAGES
from resnet.verification.checks import Finding


def broken_links(ledger: Ledger) -> Iterator[Finding]:
    """A finding for each finished stage that was made at other settings, or from other results or images."""
    for stage in STAGES:
        folder = ledger.run.stage_folder(stage)
        try:
            record = ledger.record(stage)
            differences = ledger.differences(stage, record) if record else []
            if stage == "convert" and record and not differences and (changed := ledger.what_changed(record)):
                differences = [changed]
        except UserError:  # a file of it is corrupt, which is a finding of its own
            continue
        if differences:
            mend = luigi_command(STAGES[stage].title, ledger.run.folder)
            yield Finding(str(folder / "stage.json"), f"stale: {', '.join(differences)}", mend)
