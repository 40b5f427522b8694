"""One door to a fixed teacher's outputs: asked for each batch, or read from disk where a trial asked before."""
