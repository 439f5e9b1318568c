"""artifacts/index.html: all runs on a page."""
