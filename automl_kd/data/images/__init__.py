"""Folders of images: layout, listing and decoding."""
