"""Subgraph students: a student is searched inside the teacher, then trained by KD."""
