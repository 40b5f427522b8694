"""How much faster DisWOT is scored than by its definition, and that the scores are the same.

The naive procedure builds teacher and student for every candidate, runs both forward and backward, and forms the
matrices of both metrics; a `Scorer` runs the student forward. Both do so for the same architectures with the same
weights, in turn, on one thread. Run it from the project's root: `python -m benchmarks.perf.proxies.diswot`.

Both compute in float32 and sum in different orders: the naive procedure keeps torch's usual layout of images in memory,
ours puts channels last. That the scores agree is asserted outside the clock.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models import build, build_model
from automl_kd.models.features import FeatureExtractor
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.proxies.probe import Probe, make_probe
from automl_kd.proxies.scorer import Scorer
from automl_kd.seeds import derive
from automl_kd.space import Architecture, InputShape, SearchSpace, sample_architecture
from search_spaces import nasbench201

SHAPE = InputShape(channels=3, height=32, width=32, classes=100)
BATCH, TEACHER, SEED = 64, "resnet110", 0
PROXIES = ("diswot_relation", "diswot_semantic")
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Timed:
    """Both metrics of one architecture, and what they cost: wall time, and time of the processor."""

    values: tuple[float, float]
    wall_seconds: float
    process_seconds: float


def timed(compute: Callable[[], tuple[float, float]]) -> Timed:
    gc.collect()
    gc.disable()  # a collection would fall to one side of a pair by chance
    wall, process = time.perf_counter(), time.process_time()
    values = compute()
    wall, process = time.perf_counter() - wall, time.process_time() - process
    gc.enable()
    return Timed(values, wall, process)


def naive(space: SearchSpace, architecture: Architecture, probe: Probe) -> tuple[float, float]:
    """The definition, step by step."""
    images = probe.images.contiguous()
    teacher = build_model(TEACHER, SHAPE)
    normal_weights(teacher, "teacher", SEED)
    student = build(space, architecture, SHAPE, seed=derive("student", SEED, 0))
    normal_weights(student, "student", SEED, 0)
    maps, gradients = zip(*[backward(network, images, probe.labels) for network in (student, teacher)], strict=True)
    return relation(*maps), semantic(*gradients)


def backward(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The last feature map, and the gradient of the classifier's weight."""
    with FeatureExtractor(network, ("pre_pool",)) as tapped:
        outputs = tapped(images)
    torch.autograd.backward(F.cross_entropy(outputs.logits, labels))
    weight = network.get_parameter("fc.weight")
    assert weight.grad is not None
    return outputs.features["pre_pool"].detach(), weight.grad


def relation(student: Tensor, teacher: Tensor) -> float:
    grams = [F.normalize(one.flatten(1) @ one.flatten(1).T, dim=1) for one in (student, teacher)]
    return -float((grams[0] - grams[1]).norm() ** 2) / BATCH**2


def semantic(student: Tensor, teacher: Tensor) -> float:
    outer = [F.normalize(torch.einsum("ki,kj->kij", one, one), dim=2) for one in (student, teacher)]
    return -float((outer[0] - outer[1]).square().sum()) / student.numel()


def ours(scorer: Scorer, architecture: Architecture) -> tuple[float, float]:
    """As for any cell of a search but the first few: the parts of its network are in the bank."""
    scorer.known.clear()
    ((draw,),) = scorer([architecture])
    relation_reading, semantic_reading = (draw[name] for name in PROXIES)
    return relation_reading.value, semantic_reading.value


def connected(architecture: Architecture) -> bool:
    """Whether the cell's output depends on its input."""
    values, reached = architecture.as_dict(), {0}
    for edge in nasbench201.EDGES:  # ordered by target, so that sources come first
        target, source = map(int, edge.split("<-"))
        if source in reached and values[edge] != "none":
            reached.add(target)
    return 3 in reached


def draw(space: SearchSpace, number: int) -> list[Architecture]:
    """Distinct connected cells."""
    rng = np.random.default_rng(SEED)
    drawn: dict[Architecture, None] = {}
    while len(drawn) < number:
        architecture = sample_architecture(space, rng)
        if connected(architecture):
            drawn[architecture] = None
    return list(drawn)


def ratio_line(name: str, ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return (
        f"{name}: {middle:.1f} times faster (median of {len(ratios)} pairs; "
        f"quartiles {low:.1f} to {high:.1f}, range {min(ratios):.1f} to {max(ratios):.1f})"
    )


def largest_difference(pairs: Iterable[tuple[Sequence[float], Sequence[float]]]) -> float:
    return max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))


def report(pairs: list[tuple[Timed, Timed]]) -> None:
    for clock in ("process", "wall"):
        slow = [getattr(one, f"{clock}_seconds") for one, _ in pairs]
        fast = [getattr(one, f"{clock}_seconds") for _, one in pairs]
        print(f"{clock} time, median: naive {statistics.median(slow) * 1e3:.0f} ms, ", end="")
        print(f"ours {statistics.median(fast) * 1e3:.0f} ms")
        print(ratio_line(f"{clock} time", [a / b for a, b in zip(slow, fast, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--architectures", type=int, default=40, help="how many random cells (default: 40)")
    parser.add_argument("--cells", type=int, default=5, help="N, cells per stage (default: 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space = nasbench201.space(16, arguments.cells)
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(BATCH, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    labels = torch.randint(SHAPE.classes, (BATCH,), generator=generator)
    probe = make_probe(images, labels, SHAPE, build_model(TEACHER, SHAPE), seed=SEED)
    first, *others = draw(space, arguments.architectures + 1)
    scorer = Scorer(space, PROXIES, [probe], seed=SEED)
    naive(space, first, probe)  # warm-up, not counted
    scorer([first, *others])
    pairs = []
    print("naive ms  ours ms  ratio   relation    semantic  cell       (process time)")
    for architecture in others:
        slow = timed(partial(naive, space, architecture, probe))
        fast = timed(partial(ours, scorer, architecture))
        pairs.append((slow, fast))
        milliseconds = slow.process_seconds * 1e3, fast.process_seconds * 1e3
        print(f"{milliseconds[0]:8.0f} {milliseconds[1]:8.0f} {milliseconds[0] / milliseconds[1]:6.1f}", end="")
        print(f" {fast.values[0]:10.6f} {fast.values[1]:11.6f}  {space.label(architecture)}", flush=True)
    report(pairs)
    # In the form that stands for all cells of its function a cell has the weights that ours has, edge by edge.
    assert space.canonical is not None
    canonical = [Architecture.of(space.canonical(one.as_dict())) for one in others]
    defined = [naive(space, architecture, probe) for architecture in canonical]
    difference = largest_difference(zip(defined, [fast.values for _, fast in pairs], strict=True))
    print(f"largest difference from the definition: {difference:.1e}")
    assert difference <= TOLERANCE, f"scores differ from the definition by more than {TOLERANCE}"


if __name__ == "__main__":
    main()
