"""adopt: records or a run of another artifacts folder become finished stages of this one, once they are verified."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from resnet.adopting import KINDS, adopt, kind_of_folder
from resnet.commands.options import artifacts_of
from resnet.errors import UserError
from resnet.run import NAME


def main(options: argparse.Namespace) -> None:
    """Adopt a folder, and say what it is now. Raises UserError."""
    folder = Path(options.folder).expanduser().absolute()
    name = options.name or folder.name
    if not re.fullmatch(NAME, name):
        raise UserError(f"--name {name!r}: use letters, digits, '.', '_' and '-' only")
    what = KINDS[kind_of_folder(folder)]
    target, verdict = adopt(folder, artifacts_of(options), name)
    verified = f"{verdict.checked:,} files, {verdict.size / 1e6:,.1f} MB"
    print(f"adopt: {folder}, {what}, is {target} now; verified: {verified}")
    print("adopt: on the same disk, its large files are hard links: to damage one damages both; copy them for a backup")
