"""One training loop for every method: epochs, evaluation, schedules, checkpoints, seeds."""
