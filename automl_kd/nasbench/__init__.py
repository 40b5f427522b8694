"""NAS-Bench-201: its table, searches of it, and the proxy benchmark. The core does not know this package."""
