"""Students inside a network: what can be removed together, the removal, and the record of it."""
