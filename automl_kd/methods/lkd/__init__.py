"""LKD: a loss network learned by bi-level optimization while a student trains."""
