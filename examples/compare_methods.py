"""Three ways of training one student, at equal compute and held against plain KD.

Run it in the repository's top folder: python examples/compare_methods.py
"""

from __future__ import annotations

import sys

import automl_kd as akd


def main(out: str = "results/example-compare") -> None:
    result = akd.compare(
        "resnet8",
        akd.Teacher("resnet20", recipe=akd.Recipe(epochs=4)),
        "digits",
        methods={
            "kd": akd.methods.KD(temperature=4.0),
            "dkd": akd.methods.WeightedLosses(losses="dkd"),
            "scratch": akd.methods.Scratch(),
        },
        epochs=2,
        seeds=2,
        out=out,
        settings={"data.train_images": 500, "teacher.recipe.epochs": 4, "trial.max_concurrent": 1},
    )
    print(result.verdict)
    for name, difference in result.verdict.numbers.items():
        print(f"{name}: {100 * difference.mean:+.1f} points against kd, {difference.n} seeds")


if __name__ == "__main__":
    main(*sys.argv[1:])
