#!/usr/bin/env bash
# Ray's workers run at niceness 15: whatever else runs on the machine takes the processors first.
#
# Versions: ray 2.60.0.
# Expected: a task runs with the priority of the program that started Ray.
# Seen: the program has niceness 0, its task 15. RAY_worker_niceness=0 before ray.init gives tasks niceness 0.
# So beside a test suite or a notebook, trainings in Ray get what these leave, although each task was promised a whole
# processor; measured seconds of trials are then those of the leftovers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export RAY_USAGE_STATS_ENABLED=0
unset RAY_worker_niceness
python3 -m venv environment
environment/bin/pip install --quiet --no-compile 'ray[default]==2.60.0'
cat > program.py <<'PROGRAM'
import os

import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)


@ray.remote(num_cpus=1)
def niceness():
    return os.nice(0)


print(os.nice(0), ray.get(niceness.remote()))
PROGRAM
seen=$(environment/bin/python program.py 2> log | tail -n 1)
asked=$(RAY_worker_niceness=0 environment/bin/python program.py 2> log | tail -n 1)
echo "seen: program and task $seen; with RAY_worker_niceness=0 $asked"
test "$seen" = "0 15" && test "$asked" = "0 0" || { echo "changed: 0 15 and 0 0 were known"; exit 1; }
