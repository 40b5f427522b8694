"""What is damaged or lost in a results folder, and its repair."""
