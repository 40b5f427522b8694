"""Losses that compare relations between images rather than single images. One file each."""
