"""The records that a run has found corrupt, on whichever host."""

from __future__ import annotations

from collections.abc import Iterator

from resnet.errors import UserError
from resnet.hosts.meeting import Meeting
from resnet.loader.loader import Batch, Loader

REPORT = "corrupt records"  # what a host reports to the chief


class CorruptRecords:
    """Iterate over it for their names, each once: those of all hosts, on the chief; elsewhere this host's own."""

    def __init__(self, loader: Loader, meeting: Meeting, most: int):
        self._loader, self._meeting, self._most = loader, meeting, most

    def __iter__(self) -> Iterator[str]:
        others = (name for reports in self._meeting.reported.values() for name in reports.get(REPORT, []))
        return iter(dict.fromkeys([*self._loader.corrupt, *others]))

    def reported(self) -> Iterator[Batch]:
        """The loader's batches; the chief hears of what is found in them.

        Each loader counts what it finds itself. Raises UserError where all of it together is too much.
        """
        known = len(self._loader.corrupt)
        for batch in self._loader:
            if len(self._loader.corrupt) > known:
                known = len(self._loader.corrupt)
                self._meeting.report(REPORT, self._loader.corrupt)
            if self._meeting.cluster.hosts > 1 and len(found := list(self)) > self._most:
                raise UserError(
                    f"{len(found)} records are corrupt, on all hosts together, the last one {found[-1]}. "
                    f"records.max_corrupt is {self._most}: so many may be substituted with other images. "
                    "`python -m resnet verify --mend` makes their shards again."
                )
            yield batch
