"""A Ray of one's own, or a cluster that is joined and may grow."""
