"""Comparison of distillation methods at equal compute: entries, tests, tables, sentences and plots."""
