"""Subgraph students: searched inside the teacher, then taught by it."""
