"""Intervals around shares."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def wilson(hits: np.ndarray, trials: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The interval of Wilson (1927) around hits / trials, for arrays of any equal shape: its ends, 0 to 1.

    NaN where there are no trials. SciPy's `binomtest` gives the same, for one share at a time.
    """
    z = norm.ppf((1 + confidence) / 2)
    trials = np.where(trials == 0, np.nan, trials)
    share = hits / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # Rounding would leave 1e-17 where the interval ends at 0 or 1.
    return np.where(hits == 0, middle * 0, middle - half), np.where(hits == trials, middle * 0 + 1, middle + half)
