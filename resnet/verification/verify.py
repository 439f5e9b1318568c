"""Read every file that there is to check."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from resnet.processes import cores
from resnet.progress import Progress
from resnet.verification.checks import Check, Finding


@dataclass(frozen=True)
class Verdict:
    """`checked`: how many files were read, of so many `size` bytes. `changed`: files that differ from what was written
    and that nothing depends on, such as a log that somebody has edited."""

    checked: int
    size: int
    corrupt: tuple[Finding, ...]
    stale: tuple[Finding, ...]
    changed: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether all is as it was written, and belongs together."""
        return not self.corrupt and not self.stale

    def as_json(self) -> dict[str, Any]:
        """For other programs."""
        lists = {name: [one._asdict() for one in getattr(self, name)] for name in ("corrupt", "stale", "changed")}
        return {"checked": self.checked, "bytes": self.size, **lists}


def verify(found: Iterable[Check | Finding], stale: Iterable[Finding]) -> Verdict:
    """Do all checks, several at a time: hashing is slower than a fast disk."""
    found = list(found)
    findings = [one for one in found if isinstance(one, Finding)]
    checks = {one.path: one for one in found if isinstance(one, Check)}
    changed: list[Finding] = []
    sizes = {path: one.size for path, one in checks.items()}
    with (
        Progress("verifying", max(sum(sizes.values()) >> 20, 1), "MB") as progress,
        ThreadPoolExecutor(cores()) as pool,
    ):
        asked = {pool.submit(one.finding): path for path, one in checks.items()}
        read = 0
        try:
            for done in as_completed(asked):
                one, before = checks[asked[done]], read >> 20
                read += sizes[asked[done]]
                progress.advance((read >> 20) - before)
                if finding := done.result():
                    (findings if one.is_needed else changed).append(finding)
        except BaseException:  # Ctrl-C: do not read the rest
            pool.shutdown(cancel_futures=True)
            raise
    return Verdict(len(checks), sum(sizes.values()), tuple(sorted(findings)), tuple(stale), tuple(sorted(changed)))
