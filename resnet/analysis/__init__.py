"""From predictions to what they mean: errors per class, calibration, label errors, near-duplicates, comparisons."""
