"""What LKD and ProKT add to a step of plain KD: WRN-16-2 student, WRN-40-2 teacher.

- LKD (Ran et al. 2025, PLoS ONE 20(6): e0325599) at an interval of ten: in each ten steps one past student is recorded
  and the learned loss is moved once, from a repeated step and held-out images twice the batch.
- ProKT (Shi et al. 2021, arXiv:2107.09305) with the shared probe: the teacher's own step reads the student's training
  pass. "stale" follows the outputs of the teacher's training pass, "updated" asks the teacher again after its step.

Beside the measured ratio stands that of the multiply-adds which the methods report. Run it from the project's root:
`python -m benchmarks.perf.lkd_prokt`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial

import torch

from automl_kd.methods.base import Method
from automl_kd.methods.kd import PlainKD
from automl_kd.methods.lkd.method import LKD
from automl_kd.methods.prokt.method import ProKT
from automl_kd.spec import Recipe
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from benchmarks.perf.standing import Scene, Standing, together

INTERVAL = 10
EPOCHS = 10
KD, STALE, UPDATED = "plain KD", "ProKT, shared probe, stale logits", "ProKT, shared probe, updated logits"
LEARNED = f"LKD, interval {INTERVAL}"


def methods(images: int, batch: int) -> Mapping[str, Method]:
    """LKD's run has so many steps that it records a student in each interval, and no warm-up."""
    steps = EPOCHS * (images // batch)
    lkd = LKD(interval=INTERVAL, warmup=0.0, snapshots=steps // INTERVAL)
    return {KD: PlainKD(), LEARNED: lkd, STALE: ProKT(interval=1, target="stale"), UPDATED: ProKT(interval=1)}


def measure(rounds: int, standing: dict[str, Standing]) -> None:
    # Rounds as long as LKD's interval for it and KD; ProKT does the same in each step, so short rounds serve.
    blocks = {name: standing[name].step for name in (KD, LEARNED)}
    spent = alternate(blocks, rounds=rounds, block=INTERVAL)
    print(markdown(spent, [Comparison(LEARNED, KD, 1.25)]))
    print(milliseconds(spent, block=INTERVAL))
    begun = (rounds + 1) * INTERVAL  # KD's run goes on

    def go_on(one: Standing, number: int) -> object:
        return one.step(begun + number)

    turns = {name: partial(go_on, standing[name]) for name in (KD, STALE, UPDATED)}
    spent = alternate(turns, rounds=3 * rounds, warm=2)
    print(markdown(spent, [Comparison(STALE, KD, 2.10), Comparison(UPDATED, KD)]))
    print(milliseconds(spent))
    spread = (f"{name} {one.macs / standing[KD].macs:.2f}" for name, one in standing.items() if name != KD)
    print(f"multiply-adds for each image of training over those of plain KD: {', '.join(spread)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=32, help="images in a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=9, help=f"rounds of {INTERVAL} steps (default: 9)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(epochs=EPOCHS, batch_size=arguments.batch)
    scene = Scene(student="wrn-16-2", teacher="wrn-40-2", recipe=recipe)
    print(f"LKD and ProKT: batch {arguments.batch}, process time, one thread")
    together(scene, methods(scene.images, arguments.batch), partial(measure, arguments.rounds))


if __name__ == "__main__":
    main()
