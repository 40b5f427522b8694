#!/usr/bin/env bash
# An enqueued number outside the search space is used as it is, and can win.
#
# Versions: optuna 5.0.0.
# Expected: suggest_float("x", 0, 1) never returns 7.5: the value is refused, clipped or drawn anew.
# Seen: it returns 7.5 with a warning, the trial counts, and best_params holds it. A value between two steps of a grid is used
# too. A category that is not among the choices raises an error, and an integer is cut: 3.7 becomes 3.
# So a search that starts from last year's best student can report a winner that its own space does not contain.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile optuna==5.0.0
environment/bin/python - <<'PROGRAM'
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.CRITICAL)
warnings.simplefilter("ignore")


def best(start, objective):
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(start)
    try:
        study.optimize(objective, n_trials=5)
    except ValueError:
        return "ValueError"
    return study.best_params


seen = {
    "outside": best({"x": 7.5}, lambda trial: trial.suggest_float("x", 0, 1)),
    "between steps": best({"x": 0.55}, lambda trial: -abs(trial.suggest_float("x", 0, 1, step=0.1) - 0.55)),
    "category": best({"x": "c"}, lambda trial: len(trial.suggest_categorical("x", ["a", "b"]))),
    "integer": best({"x": 3.7}, lambda trial: -abs(trial.suggest_int("x", 1, 9) - 3.7) if trial.number == 0 else -99),
}
known = {"outside": {"x": 7.5}, "between steps": {"x": 0.55}, "category": "ValueError", "integer": {"x": 3}}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
