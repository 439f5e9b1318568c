"""Tasks that are not stages: what is done, and doing it again."""

from __future__ import annotations

import sys

from luigi.retcodes import retcode

from pipeline.luigi_hooks import RunLocks
from pipeline.run_task import RunTask
from resnet.status import read_status


class Status(RunTask):
    """What is done, running, interrupted or stale, and why. It runs nothing, and ends `luigi` before it schedules."""

    writes_in_run = False

    def prepare(self, locks: RunLocks) -> None:
        """Print the status, and exit: with 0 only where everything is up to date."""
        status = read_status(self.ledger)
        print("\n".join(status.lines()), flush=True)
        sys.exit(0 if status.is_up_to_date else retcode().not_run)
