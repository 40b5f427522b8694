#!/usr/bin/env bash
# Unseeded QMCSampler searches all try the same points, and the second trial is the lowest corner of the space.
#
# Versions: optuna 5.0.0, scipy 1.17.1.
# Expected: like Optuna's other samplers, one without a seed gives every study points of its own.
# Seen: after a first random trial every study tries (0, 0), then (1/2, 1/2), and so on, as nothing is scrambled by default.
# With scramble=True the studies differ.
# So four machines that search "independently" train the same students four times, beginning with the smallest of everything.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile optuna==5.0.0 scipy==1.17.1
environment/bin/python - <<'PROGRAM'
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")


def points(**options):
    study = optuna.create_study(sampler=optuna.samplers.QMCSampler(**options))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=6)
    return [tuple(trial.params.values()) for trial in study.trials]


one, two = points(), points()
seen = {
    "first trials agree": one[0] == two[0],
    "later trials agree": one[1:] == two[1:],
    "second and third": one[1:3],
    "scrambled agree": points(scramble=True)[1:] == points(scramble=True)[1:],
}
known = {"first trials agree": False, "later trials agree": True, "second and third": [(0.0, 0.0), (0.5, 0.5)],
         "scrambled agree": False}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
