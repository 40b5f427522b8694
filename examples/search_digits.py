"""Search a student for a teacher on handwritten digits: about a minute on one core.

Run it in the repository's top folder: python examples/search_digits.py
"""

from __future__ import annotations

import sys

import automl_kd as akd


def main(out: str = "results/example-search") -> None:
    result = akd.search(
        space="search_spaces.resnet:SPACE",
        teacher=akd.Teacher("resnet20", recipe=akd.Recipe(epochs=4)),
        data="digits",
        budget=akd.Budget(params=80_000),
        trials=3,
        recipe=akd.Recipe(epochs=2),
        out=out,
        settings={
            "data.train_images": 500,
            "search.sampler": "random",
            "finalists.seeds": [0],
            "finalists.count": 1,
            "finalists.baseline": {
                "depth1": 1, "depth2": 1, "depth3": 1, "width1": 16, "width2": 32, "width3": 64, "block": "basic",
            },
            "trial.max_concurrent": 1,
        },
    )  # fmt: skip
    print(result.verdict)
    print(result.rows[["trial_kind", "student", "val_accuracy"]].to_string(index=False))
    print("written:", *result.report(f"{out}/report"))


if __name__ == "__main__":
    main(*sys.argv[1:])
