"""Networks from elsewhere, made fit to be run beside others."""
