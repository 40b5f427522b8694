"""Leaderboards, plots and one HTML page that needs no network."""
