"""The evaluation: every view of each validation image, and how many batches the statistics need."""
