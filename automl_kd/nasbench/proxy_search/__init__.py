"""The search for a proxy: formulas of statistics that need no training."""
