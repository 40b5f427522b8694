"""Images as encoded bytes in files: where they lie, how they are found and read."""
