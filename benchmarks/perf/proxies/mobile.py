"""What scoring students of `mobile` costs at 96 pixels: DisWOT with a trained teacher, and all that only runs forward.

Students are random points of the space, the batch 64 noise images of ten classes, the teacher what `--teacher` names
(a timm folder, such as `data/lite0`, or a model with drawn weights), all on one thread. Run it from the project's root:
`python -m benchmarks.perf.proxies.mobile [--teacher timm:local-dir:data/lite0]`.

- *bare*: one forward pass of the student in training mode, without gradients, built outside the clock.
- *diswot*: what one more student costs in a search that scores by `diswot_relation`: building it, its weights, its pass
  and the comparison. The teacher's outputs are computed once for all.
- *forward*: all proxies that differentiate nothing (`FORWARD`), on students built outside the clock, of which some want
  other weights than others: two passes at least.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from automl_kd.models import build_model
from automl_kd.proxies import PROXIES
from automl_kd.proxies.probe import make_probe
from automl_kd.proxies.readings import measure_student, settle_readings
from automl_kd.proxies.scorer import Scorer
from automl_kd.space import Architecture, InputShape, sample_architecture
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from benchmarks.perf.proxies.part_cache import Initialisation
from search_spaces import mobile

SHAPE, BATCH, SEED = InputShape(3, 96, 96, 10), 64, 0
DISWOT_SECONDS = 0.25

FORWARD = (
    *("naswot", "swap", "swap_regularised", "meco", "meco_opt", "zen", "az_expressivity", "az_progressivity"),
    *("diswot_relation", "kd_kd", "kd_at", "kd_nst", "kd_sp", "kd_rkd", "kd_pkt", "kd_cka"),
)
"""Proxies that differentiate nothing and can score these students."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--teacher", default="torchvision:mobilenet_v2", help="(default: torchvision:mobilenet_v2)")
    parser.add_argument("--rounds", type=int, default=15, help="students that count (default: 15)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(BATCH, 3, 96, 96, generator=generator)
    labels = torch.randint(SHAPE.classes, (BATCH,), generator=generator)
    probe = make_probe(images, labels, SHAPE, build_model(options.teacher, SHAPE), views=images)
    rng = np.random.default_rng(SEED)
    students = [sample_architecture(mobile.SPACE, rng) for _ in range(options.rounds + 1)]
    names = list(FORWARD)
    diswot, every = (Scorer(mobile.SPACE, some, [probe], seed=SEED) for some in (["diswot_relation"], names))
    built: dict[tuple[int, Initialisation], nn.Module] = {}

    def student(number: int, initialisation: Initialisation) -> nn.Module:
        key = (number, initialisation)
        if key not in built:
            make: Callable[[Architecture], nn.Module] = every.makers[0, initialisation]
            built[key] = make(students[number])
        return built[key]

    def bare(number: int) -> None:
        with torch.no_grad():
            student(number, "default")(probe.images)

    def forward(number: int) -> None:
        for _, initialisation in every.makers:
            entries = {name: PROXIES[name] for name in names if PROXIES[name].initialisation == initialisation}
            settle_readings([measure_student(entries, student(number, initialisation), probe, SEED)])

    for number in range(len(students)):
        for _, initialisation in every.makers:
            student(number, initialisation)
    steps = {"bare": bare, "diswot": lambda number: diswot([students[number]]), "forward": forward}
    spent = alternate(steps, rounds=options.rounds)
    print(f"{len(names)} proxies that run forward: {', '.join(names)}\n")
    print(markdown(spent, [Comparison("forward", "bare", limit=3.0)]))
    print(milliseconds(spent))
    each = statistics.median(spent["diswot"])
    print(f"diswot_relation: {each:.3f} s of processor time a student (median, limit {DISWOT_SECONDS})")


if __name__ == "__main__":
    main()
