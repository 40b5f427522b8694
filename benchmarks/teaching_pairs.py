"""Is what a search over ways of teaching found worth as much for other pairs of teacher and student?

`python -m benchmarks.teaching_pairs FOUND TUNED OUT` reads the folders that teaching_search.toml and
teaching_search_kd.toml left and writes an experiment for each of three pairs into the folder OUT, that of the search
first: the found way of teaching and plain KD tuned by as many trials, both as they were found, beside training from
scratch, at the compute of 12 epochs of the tuned KD with eight seeds that the search has not seen.
`automl-kd search OUT/NAME.toml` runs one.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from automl_kd import files
from automl_kd.config import ComparisonSection, Experiment, Finalists, MethodEntry, load_experiment
from automl_kd.errors import ResultError
from automl_kd.experiment.stages.finals import proposal_of
from automl_kd.export.experiment_file import write_differing
from automl_kd.methods.schedule import INIT, RECIPE
from automl_kd.results import ResultTable
from automl_kd.results.store.folder import of_this_comparison

PAIRS = {
    "teaching_found": ("resnet8", "resnet20"),
    "teaching_deeper": ("resnet14", "resnet32"),
    "teaching_vgg": ("vgg8", "vgg13"),
}
"""Students and teachers, by the names of their experiments; the first is the one that was searched on."""

SEEDS = tuple(range(10, 18))


def entry_of(folder: Path, name: str, title: str) -> MethodEntry:
    """The way of teaching that the search in `folder` ended with; `ResultError` before its finals."""
    rows = of_this_comparison(folder, ResultTable(folder).read())
    final = rows[(rows["role"] == "found-method") & (rows["status"] == "complete")]
    if final.empty:
        raise ResultError(f"{folder} has no complete final of what its search found; run it to its end")
    last = final.iloc[-1]
    found = proposal_of(last["values_json"], last["method"], last["options_json"], last["schedule_json"])
    changes = dict(found.first_changes)
    init = str(changes.pop(INIT, ""))
    recipe = {field.removeprefix(RECIPE): value for field, value in changes.items() if field.startswith(RECIPE)}
    return MethodEntry(name=name, title=title, method=found.method, options=found.options, init=init, recipe=recipe)


def experiment_on(pair: str, base: Experiment, methods: tuple[MethodEntry, ...]) -> Experiment:
    """`base` without its search, on another pair."""
    student, teacher = PAIRS[pair]
    return Experiment(
        name=pair,
        space=f"model:{student}",
        data=base.data,
        teacher=dataclasses.replace(base.teacher, model=teacher),
        recipe=base.recipe,
        finalists=Finalists(seeds=SEEDS, readings=("compute",)),
        comparison=ComparisonSection(reference="kd", methods=methods),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("found", type=Path, help="the folder of teaching_search")
    parser.add_argument("tuned", type=Path, help="the folder of teaching_search_kd")
    parser.add_argument("out", type=Path, help="where the experiments go")
    given = parser.parse_args()
    methods = (
        MethodEntry(name="scratch", title="from scratch", method="scratch"),
        entry_of(given.tuned, "kd", "plain KD, tuned"),
        entry_of(given.found, "found", "the found way of teaching"),
    )
    base = load_experiment(Path(__file__).with_name("teaching_search.toml"))
    given.out.mkdir(parents=True, exist_ok=True)
    for pair, (student, teacher) in PAIRS.items():
        head = f"The found way of teaching and tuned plain KD, {student} from {teacher}: benchmarks/teaching_pairs.py."
        files.write(given.out / f"{pair}.toml", write_differing(experiment_on(pair, base, methods), head))


if __name__ == "__main__":
    main()
