"""Losses that compare the outputs of student and teacher: logits and probabilities. One file each."""
