"""The teacher cache: outputs of a fixed teacher on training batches, computed once and read from disk afterwards."""
