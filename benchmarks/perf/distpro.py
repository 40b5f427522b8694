"""What DistPro's search adds to a step, in time and in peak memory: ResNet-20 student, ResNet-56 teacher, ten pathways.

Ten pathways of maps as published (Deng et al. 2022, arXiv:2204.05547), and the logits. There are two steps to compare
with. Against the same distillation step without a hypergradient, pathways, connectors and all, the ratio is the price
of searching. Against a step of plain KD on logits, it also contains the price of the connectors. Beside the default,
whose connectors share their first layers and whose hypergradient is taken on half of a batch, is the published way.

Peak memory is the most that lies allocated at one moment of a step beyond what lay there before it, as torch's
allocator reports every allocation to its profiler; what stays from step to step (weights, momentum) would add the same
on both sides. Scratch space inside the convolution library is not seen. Run it from the project's root:
`python -m benchmarks.perf.distpro`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from automl_kd.methods.base import Method
from automl_kd.methods.distpro.search import DistProSearch
from automl_kd.methods.kd import PlainKD
from automl_kd.spec import Recipe
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from benchmarks.perf.standing import Scene, Standing, together

BLOCK = 4
NEVER = 10**9  # after the first step, which warms up
LOGITS, PATHWAYS = "plain KD on logits", "pathways, no hypergradient"
PUBLISHED = "as published, hypergradient at each step"
EACH, FOURTH = "hypergradient at each step", "hypergradient at every fourth step"
METHODS: Mapping[str, Method] = {
    LOGITS: PlainKD(),
    PATHWAYS: DistProSearch(interval=NEVER),
    EACH: DistProSearch(),
    FOURTH: DistProSearch(interval=BLOCK),
    PUBLISHED: DistProSearch(published=True, stages="stem+stage1.pre+stage2.pre+stage3.pre"),
}
COMPARISONS = (
    Comparison(EACH, PATHWAYS, 1.70),
    Comparison(FOURTH, PATHWAYS, 1.20),
    Comparison(PATHWAYS, LOGITS),
    Comparison(EACH, LOGITS, 2.20),
    Comparison(FOURTH, LOGITS, 1.60),
    Comparison(PUBLISHED, LOGITS),
)
MEMORY_LIMIT = 2.00


def peak_bytes(step: Callable[[], object]) -> int:
    """The most that lay allocated at once during `step`, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    assert recorded.profiler is not None
    assert recorded.profiler.kineto_results is not None
    events = [one for one in recorded.profiler.kineto_results.events() if one.name() == "[memory]"]
    now = most = 0
    for one in sorted(events, key=lambda event: event.start_ns()):
        now += one.nbytes()  # negative where memory is given back
        most = max(most, now)
    return most


def memory(standing: Mapping[str, Standing], first: int) -> str:
    """Step `first`, a multiple of the block, so that all take their hypergradient in it."""
    peaks = {name: peak_bytes(partial(one.step, first)) for name, one in standing.items()}
    lines = ["| peak memory of a step | over | limit | ratio | MiB |", "|---|---|---|---|---|"]
    for name, over, limit in ((PATHWAYS, LOGITS, ""), (EACH, LOGITS, f"{MEMORY_LIMIT:.2f}"), (PUBLISHED, LOGITS, "")):
        ratio = f"{peaks[name] / peaks[over]:.3f} | {peaks[name] / 2**20:.1f} / {peaks[over] / 2**20:.1f}"
        lines.append(f"| {name} | {over} | {limit} | {ratio} |")
    return "\n".join(lines)


def measure(rounds: int, standing: dict[str, Standing]) -> None:
    spent = alternate({name: one.step for name, one in standing.items()}, rounds=rounds, block=BLOCK)
    print(markdown(spent, COMPARISONS))
    print(milliseconds(spent, block=BLOCK))
    print(memory(standing, (rounds + 1) * BLOCK))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=32, help="images in a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=15, help=f"rounds of {BLOCK} steps of everyone (default: 15)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(epochs=100, batch_size=arguments.batch)
    print(f"DistPro: batch {arguments.batch}, process time, one thread")
    together(Scene(student="resnet20", teacher="resnet56", recipe=recipe), METHODS, partial(measure, arguments.rounds))


if __name__ == "__main__":
    main()
