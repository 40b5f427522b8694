"""Proxies that count: baselines which need no image. One file each."""
