"""A comparison of ways of teaching one student at equal compute."""
