"""What an experiment tells whoever watches it."""
