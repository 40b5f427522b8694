#!/usr/bin/env bash
# TPESampler(seed=0) searches jointly and with a liar in Optuna 5, independently in Optuna 4.
#
# Versions: optuna 5.0.0 against 4.6.0.
# Expected: a sampler that is named and seeded proposes the same after an upgrade.
# Seen: multivariate and constant_liar are off by default in 4 and on in 5, so all trials after the ten random ones differ.
# So "TPE" in two papers, or in one search that was continued after an upgrade, is two methods; state both options.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile optuna==5.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import os
import subprocess
import sys

program = """
import optuna, warnings
warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
def trials(**options):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, **options))
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - trial.suggest_float("y", 0, 1)) ** 2, n_trials=20)
    return [trial.params["x"] for trial in study.trials]
default = trials()
print([joint for joint in (False, True) if trials(multivariate=joint) == default])
"""
older = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "older", "optuna==4.6.0"]
subprocess.run(older, check=True)
seen = {}
for name, path in (("4.6.0", "older"), ("5.0.0", "")):
    environment = {**os.environ, "PYTHONPATH": path}
    seen[name] = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True).stdout.strip()
known = {"4.6.0": "[False]", "5.0.0": "[True]"}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
