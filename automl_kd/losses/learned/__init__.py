"""Learned losses: small networks that are the loss, their start, their file and their surface."""
