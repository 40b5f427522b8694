#!/usr/bin/env bash
# A seeded Optuna search with HyperbandPruner gives another result each time, unless the study has a name.
#
# Versions: optuna 5.0.0.
# Expected: equal seeds, one process and a deterministic objective give equal trials.
# Seen: a trial's bracket is drawn from a hash of the study's name, and a study without one is given a random name. Which trials
# are cut, and with them all that the sampler proposes next, differs from run to run. With study_name set all runs are equal.
# So a search that its authors call seeded cannot be repeated.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile optuna==5.0.0
environment/bin/python - <<'PROGRAM'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    depth = trial.suggest_float("depth", 0, 1)
    for epoch in range(1, 28):
        trial.report((depth - 0.3) ** 2 + 1 / epoch, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return (depth - 0.3) ** 2


def lengths(name):
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3)
    study = optuna.create_study(study_name=name, sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)
    study.optimize(objective, n_trials=40)
    return tuple(len(trial.intermediate_values) for trial in study.trials)


seen = {"runs without a name agree": len({lengths(None) for _ in range(4)}) == 1,
        "runs with a name agree": len({lengths("search") for _ in range(4)}) == 1,
        "two names agree": lengths("search") == lengths("other")}
known = {"runs without a name agree": False, "runs with a name agree": True, "two names agree": False}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
