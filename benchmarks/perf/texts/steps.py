"""Steps on texts: KD that reads the teacher's outputs over training without one, and ProKT over KD that asks.

Students are one, two and three layers of an encoder of MiniLM-L6's size. A fixed teacher says the same of a text in
every epoch, so KD asks it about all texts before the first step; what KD would take that asks in each step is a step of
KD and a pass of the teacher on its batch. ProKT's teacher moves: it is trained beside the student.
Run it from the project's root: `python -m benchmarks.perf.texts.steps`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from automl_kd.methods.base import Method
from automl_kd.methods.kd import PlainKD
from automl_kd.methods.prokt.method import ProKT
from automl_kd.methods.scratch import Scratch
from automl_kd.spec import TeacherCacheOptions
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from benchmarks.perf.standing import Standing, stand
from benchmarks.perf.texts.scene import TextScene, build_minilm, parse

SCRATCH, CACHED, ASKED, PROKT = "without a teacher", "KD, cache", "KD, teacher in each step", "ProKT, stale logits"
LIMITS = {3: 2.10}
"""Of ProKT over KD, by the student's layers."""


def step_drawn_anew(one: Standing, number: int) -> object:
    """A step whose dropout is the same for all who take it."""
    torch.manual_seed(number)
    return one.step(number)


def step_with_teacher(one: Standing, teacher: nn.Module, number: int) -> None:
    with torch.inference_mode():
        teacher(one.batch(number).inputs)
    step_drawn_anew(one, number)


def measure(layers: int, rounds: int, standing: dict[str, Standing]) -> None:
    turns: dict[str, Callable[[int], object]] = {name: partial(step_drawn_anew, one) for name, one in standing.items()}
    turns[ASKED] = partial(step_with_teacher, standing[ASKED], build_minilm(standing[ASKED].run.dataset.shape).eval())
    for number in range(standing[CACHED].run.steps):
        with torch.no_grad():
            standing[CACHED].objective(standing[CACHED].batch(number))  # type: ignore[operator]  # plain KD's is one
    spent = alternate(turns, rounds=rounds, warm=2)
    asked, cached = (standing[name].run.student.state_dict().values() for name in (ASKED, CACHED))
    assert all(map(torch.equal, asked, cached)), "the cache changed what the student learns"
    print(f"student of {layers} layers")
    limits = [
        Comparison(CACHED, SCRATCH, 1.03),
        Comparison(PROKT, ASKED, LIMITS.get(layers)),
        Comparison(ASKED, SCRATCH),
    ]
    print(markdown(spent, limits))
    print(milliseconds(spent))


def stand_on_texts(scene: TextScene, layers: int, rounds: int) -> None:
    methods: dict[str, Method] = {
        SCRATCH: Scratch(),
        CACHED: PlainKD(),
        ASKED: PlainKD(),
        PROKT: ProKT(interval=1, target="stale"),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = scene.prepare(Path(folder))
        places = dict.fromkeys(methods, paths)
        places[CACHED] = replace(paths, teacher_cache=TeacherCacheOptions(keep="logits"))
        spec = scene.spec(Path(folder), layers=layers)
        stand(spec, places, list(methods.items()), {}, partial(measure, layers, rounds))


def main() -> None:
    found, scene = parse(__doc__ or "", rounds=40)
    print(f"steps on texts: batch {found.batch}, process time, one thread")
    for layers in (3, 2, 1):
        stand_on_texts(scene, layers, found.rounds)


if __name__ == "__main__":
    main()
