"""The live screen, plain and JSON lines of a run, and its report on the terminal. Imports `experiment` and below."""
