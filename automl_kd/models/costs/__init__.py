"""The cost of a network: parameters, multiply-adds, latency."""
