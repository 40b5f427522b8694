#!/usr/bin/env bash
# After a run of Ray Tune has ended, the program's next Ctrl-C does nothing.
#
# Versions: ray 2.60.0.
# Expected: Tune handles SIGINT while it runs and puts the program's handler back when the run has ended.
# Seen: Tune's handler stays after fit() has returned. The first SIGINT then sets a flag that nobody reads and puts the old
# handler back, so only the second one interrupts. One that comes while the last result of a run is handled ends nothing
# either: the run has ended as if it had not come.
# So a program of several runs in a row cannot be stopped by one Ctrl-C between them, and goes on with the next.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export RAY_USAGE_STATS_ENABLED=0 RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS=0 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile "ray[tune]==2.60.0"
environment/bin/python - <<'PROGRAM' 2>/dev/null
import os
import signal

import ray
from ray import tune

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell left
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
run = tune.RunConfig(storage_path=os.getcwd(), verbose=0)
tune.Tuner(lambda config: {"loss": 1.0}, run_config=run).fit()
seen = []
for _ in range(2):
    try:
        signal.raise_signal(signal.SIGINT)
        seen.append("nothing")
    except KeyboardInterrupt:
        seen.append("KeyboardInterrupt")
ray.shutdown()
known = ["nothing", "KeyboardInterrupt"]
print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
