#!/usr/bin/env bash
# A journal that lacks its last line's end can be read; continuing it makes it unreadable.
#
# Versions: optuna 5.0.0.
# Expected: after a power cut or a full disk the cut record is dropped and the study goes on.
# Seen: load_study succeeds, and the trial of the cut record is RUNNING for ever, even if just the newline is missing. The next
# optimize() writes its record into the same line and dies with an AttributeError; from then on nothing reads the journal.
# So a search that lost one byte loses all when it goes on, unless the file is first cut after its last newline by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile optuna==5.0.0
environment/bin/python - <<'PROGRAM'
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study():
    return optuna.load_study(study_name="search", storage=JournalStorage(JournalFileBackend("journal.log")))


def objective(trial):
    return trial.suggest_float("x", 0, 1)


def go_on():
    try:
        study().optimize(objective, n_trials=1)
    except (AttributeError, ValueError) as error:
        return type(error).__name__
    return [trial.state.name for trial in study().trials]


new = optuna.create_study(study_name="search", storage=JournalStorage(JournalFileBackend("journal.log")))
new.optimize(objective, n_trials=2)
with open("journal.log", "rb") as file:
    journal = file.read()
whole_lines = journal[: journal.rstrip(b"\n").rindex(b"\n") + 1]
seen = {}
for name, content in (("no newline", journal[:-1]), ("half a line", journal[:-20]), ("line removed", whole_lines)):
    with open("journal.log", "wb") as file:
        file.write(content)
    seen[name] = ([trial.state.name for trial in study().trials], go_on(), go_on())
known = {
    "no newline": (["COMPLETE", "RUNNING"], "AttributeError", "JSONDecodeError"),
    "half a line": (["COMPLETE", "RUNNING"], "AttributeError", "JSONDecodeError"),
    "line removed": (["COMPLETE", "RUNNING"], ["COMPLETE", "RUNNING", "COMPLETE"],
                     ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]),
}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
