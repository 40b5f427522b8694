"""Proxy search: searches formulas of training-free statistics. Imports the proxy benchmark and the table."""
