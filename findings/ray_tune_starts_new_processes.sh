#!/usr/bin/env bash
# Ray Tune's trials never use the worker processes that Ray has ready: each first trial waits for a new one.
#
# Versions: ray 2.60.0 with its extra tune.
# Expected: ray.init starts one process for each processor in advance, idle; the first trials run in them, as actors do.
# Seen: an actor of its own begins in an idle process; a trial begins in a process that was started for it. Tune gives its
# actors a runtime environment of environment variables (PL_DISABLE_FORK and others), and Ray keeps processes apart by that,
# even where all of these variables are set already.
# So whatever is imported in advance (RAY_preload_python_modules, torch for seconds) is imported again by new processes while
# the prepared ones stay idle and are ended; with short trials and a new Tuner for each stage that is much of the time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export RAY_USAGE_STATS_ENABLED=0 PL_DISABLE_FORK=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile 'ray[tune]==2.60.0' psutil==7.2.2
cat > program.py <<'PROGRAM'
import os
import time

import psutil
import ray
from ray import tune

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
time.sleep(8)
ready = {one.pid for one in psutil.process_iter(["cmdline"]) if "ray::IDLE" in " ".join(one.info["cmdline"] or [])}


@ray.remote(num_cpus=1)
class Plain:
    def process(self):
        return os.getpid()


plain = Plain.remote()
own = ray.get(plain.process.remote())
ray.kill(plain)


def trial(config):
    tune.report({"process": os.getpid()})


begun = tune.Tuner(
    tune.with_resources(trial, {"cpu": 1}),
    run_config=tune.RunConfig(verbose=0, storage_path=os.path.abspath("results")),
).fit()
tuned = begun[0].metrics["process"]
seen = {"idle processes": len(ready) >= 2, "actor in one": own in ready, "trial in one": tuned in ready}
known = {"idle processes": True, "actor in one": True, "trial in one": False}
print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
environment/bin/python program.py
