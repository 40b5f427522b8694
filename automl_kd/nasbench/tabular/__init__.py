"""Searches of the table: preparation, run, record and report."""
