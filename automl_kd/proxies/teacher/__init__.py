"""Proxies that compare an untrained student with its teacher. One file each."""
