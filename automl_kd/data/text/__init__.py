"""Texts: tables of them read from files, and the tokens that networks take."""
