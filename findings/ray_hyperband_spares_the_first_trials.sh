#!/usr/bin/env bash
# Ray Tune's HyperBand runs the first trials to the end, however bad they are.
#
# Versions: ray 2.60.0.
# Expected: as in the paper, brackets that cut early are filled first, and few trials run without any cut.
# Seen: the first bracket that is filled is the one that halves nothing. Of twelve trials the three worst, which came first, get
# all 9 epochs, while better ones are cut after 3.
# So in a small search a quarter of the trials cost the most and decide nothing; ASHA has no such bracket.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile 'ray[tune]==2.60.0' numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import os
import warnings

os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
warnings.simplefilter("ignore")
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import HyperBandScheduler  # noqa: E402


class Student(tune.Trainable):
    def setup(self, config):
        self.accuracy = config["rank"] / 100

    def step(self):
        return {"accuracy": self.accuracy}

    def save_checkpoint(self, checkpoint_dir):
        return {"accuracy": self.accuracy}

    def load_checkpoint(self, checkpoint):
        self.accuracy = checkpoint["accuracy"]


ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
tuner = tune.Tuner(
    Student,
    param_space={"rank": tune.grid_search(list(range(12)))},
    tune_config=tune.TuneConfig(scheduler=HyperBandScheduler(max_t=9, reduction_factor=3), metric="accuracy", mode="max"),
    run_config=tune.RunConfig(storage_path=os.getcwd(), verbose=0),
)
epochs = {result.config["rank"]: result.metrics["training_iteration"] for result in tuner.fit()}
ray.shutdown()
print("epochs by rank, 0 is the worst:", epochs)
seen = {"worst three": [epochs[rank] for rank in range(3)], "next two": [epochs[rank] for rank in (3, 4)]}
known = {"worst three": [9, 9, 9], "next two": [3, 3]}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
