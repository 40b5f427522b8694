"""Measured ratios of images that are decoded as they are needed, and of what trains on them."""
