"""The report: one page about a run and its results, and its figures."""
