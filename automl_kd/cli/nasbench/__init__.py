"""Commands on NAS-Bench-201."""
