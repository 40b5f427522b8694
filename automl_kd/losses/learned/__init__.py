"""Learned losses: small networks as the loss, their initialisation, file and surface."""
