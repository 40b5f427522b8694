"""What a person sees while an experiment runs, and its report on the terminal."""
