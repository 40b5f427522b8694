"""How many operators one training step starts on a GPU, by part: a measure for GPUs that wait for the processor.

What is counted, and how without a GPU, is told in `counting` and `scene`. Counts do not depend on the machine. Run it
from the project's root: `python -m benchmarks.perf.launches`.
"""

from __future__ import annotations

import argparse

from automl_kd.spec import Recipe
from benchmarks.perf.launches.scene import CACHED, LIVE, PARTS, SCRATCH, FakeScene, count_launches

LIMITS = {CACHED: 120}
STEP = 2
"""Of the epoch, counted from 1. The first also makes what all steps of the epoch find."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--student", default="resnet8", help="(default: resnet8)")
    parser.add_argument("--teacher", default="resnet20", help="(default: resnet20)")
    parser.add_argument("--batch", type=int, default=32, help="images in a step (default: 32)")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="sgd", help="(default: sgd)")
    parser.add_argument("--names", action="store_true", help="print each operator")
    options = parser.parse_known_args()[0]
    recipe = Recipe(batch_size=options.batch, optimizer=options.optimizer, amp=False)
    scene = FakeScene(student=options.student, teacher=options.teacher, recipe=recipe, images=4 * options.batch)
    print(f"operators of a step: {options.student} from {options.teacher}, batch {options.batch}, {options.optimizer}")
    print(f"| step | {' | '.join(PARTS)} | together | limit | once an epoch |")
    print("|---" * (len(PARTS) + 4) + "|")
    for method in (SCRATCH, LIVE, CACHED):
        steps = count_launches(method, scene)
        found = steps[STEP]
        by_part = [sum(count for (one, _), count in found.items() if one == part) for part in PARTS]
        once = steps[0].total() + steps[1].total() - found.total()
        limit = LIMITS.get(method, "")
        print(f"| {method} | {' | '.join(map(str, by_part))} | {found.total()} | {limit} | {once} |")
        if options.names:
            print("\n".join(f"{part} {name} {count}" for (part, name), count in sorted(found.items())))


if __name__ == "__main__":
    main()
