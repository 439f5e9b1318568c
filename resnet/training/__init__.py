"""The training loop and its parts: schedule, step, distribution, checkpoints, log."""
