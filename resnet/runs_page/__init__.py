"""artifacts/index.html: all runs and data sets on a page, written anew by whoever runs a stage.

It is a byproduct: where it cannot be written there is a warning, and the work goes on.
"""

from resnet.runs_page.writing import INDEX, RunsPage, kept_current

__all__ = ["INDEX", "RunsPage", "kept_current"]
