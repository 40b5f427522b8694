"""ProKT: the teacher is trained beside its student."""
