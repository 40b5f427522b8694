"""Networks of other libraries, adapted to run beside ours."""
