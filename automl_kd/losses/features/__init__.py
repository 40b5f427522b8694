"""Losses that compare feature maps of student and teacher. One file each."""
