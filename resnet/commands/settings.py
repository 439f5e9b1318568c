"""Print docs/settings.md: every setting with its default and meaning."""

from __future__ import annotations

import argparse

from resnet.settings import settings_page


def main(options: argparse.Namespace) -> None:
    """Print the page."""
    print(settings_page(), end="")
