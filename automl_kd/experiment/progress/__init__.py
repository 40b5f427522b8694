"""Progress of an experiment: its events, the progress reporter and the state of a stage."""
