"""The teacher cache: outputs of a fixed teacher on training batches, computed once, then read from disk.

May import `training` and below.
"""
