"""NAS-Bench-201: its table, tabular search, proxy search and the proxy benchmark. No room below imports it."""
