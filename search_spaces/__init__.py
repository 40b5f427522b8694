"""Particular search spaces, one module each, named by reference: "search_spaces.resnet:SPACE"."""
