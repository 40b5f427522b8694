"""Tabular search: preparation, run, record and report."""
