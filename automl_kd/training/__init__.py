"""The training loop of all methods: epochs, evaluation, schedules and checkpoints. May import `proxies` and below."""
