"""Proxies that read feature maps of an untrained student. One file each."""
