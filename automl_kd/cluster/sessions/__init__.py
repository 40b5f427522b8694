"""Starts a private Ray, or joins a cluster, which may grow."""
