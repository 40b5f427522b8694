"""LKD: bi-level learned losses."""
