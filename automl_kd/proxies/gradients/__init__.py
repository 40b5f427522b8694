"""Proxies that read gradients of an untrained student. One file each."""
