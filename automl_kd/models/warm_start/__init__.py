"""Warm starts: a student begins with what fits it of a trained network's weights, instead of weights that are drawn."""
