"""Proxy search: searches formulas of training-free statistics."""
