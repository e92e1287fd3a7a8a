"""The one training loop, and what surrounds a run: checkpoints, logs, batches, commands."""
