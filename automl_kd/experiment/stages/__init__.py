"""The stages of an experiment, one file each. Imports the rest of `experiment`, and no command."""
