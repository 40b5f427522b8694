"""Images that stay encoded: decoded batch by batch in a helper process, once for all trials of a node."""
