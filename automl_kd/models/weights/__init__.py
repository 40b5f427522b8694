"""Weights on disk: our files, and checkpoints of other tools."""
