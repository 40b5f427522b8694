"""Folders of images: their layout, their files, their pixels."""
