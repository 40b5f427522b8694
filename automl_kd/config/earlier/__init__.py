"""Experiments of earlier releases: refused by name, rewritten, and read from results folders."""
