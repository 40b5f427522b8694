"""Students inside a network: which channels are removed together, the removal, and its description."""
