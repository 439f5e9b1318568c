"""The training loop and what it is made of: schedule, step, validation, checkpoints, log."""
