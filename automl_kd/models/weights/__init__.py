"""Weights on disk: as we save them, and as the trade does."""
