"""The NAS-Bench-201 table: its cells, columns and files."""
