"""Tabular search: preparation, run, record and report. Imports the samplers and the table."""
