"""Malformed and unusual inputs, made from a seed: each must end in a sentence, quickly, and leave nothing behind."""
