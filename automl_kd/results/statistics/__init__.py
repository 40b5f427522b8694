"""Means, intervals and tests of few repeated measurements."""
