"""ProKT: a teacher that is trained beside its student."""
