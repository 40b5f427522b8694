"""The baseline comparison: the found student beside its baselines, and whether the search helped."""
