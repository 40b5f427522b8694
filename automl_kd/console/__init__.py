"""The live screen, plain and JSON lines of a run, and its report. May import `experiment` and below."""
