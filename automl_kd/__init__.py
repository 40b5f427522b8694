"""For a teacher and a budget, find the student and the way of teaching it, and prove that it was worth it."""
