"""Small trials of every method, and what they leave behind, compared bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from automl_kd.data.streamed import LOADED
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.methods import base, run_trial
from automl_kd.methods.subgraph import method as subgraph
from automl_kd.models.costs.latency import measure_latency
from automl_kd.space import Scalar
from automl_kd.spec import Recipe, TrialSpec
from automl_kd.training import loop
from automl_kd.training.trial import PASSES
from tests import tiny
from tests.conformance.sampling import slow_but
from tests.conformance.sketches import sketch
from tests.data.text import subject

EPOCHS = 3
STATEFUL = {
    "crd": "",
    "vid": "norm+pre_pool",
    "reviewkd": "norm+pre_pool+pooled",
    "srrl": "",
    "semckd": "norm+pre_pool",
    "mgd": "pre_pool",
    "ft": "pre_pool",
    "ofd": "norm",
    "ab": "norm",
    "cc": "",
    "fitnet": "pre_pool",
    "ickd": "pre_pool",
    "ofa": "norm+pre_pool",
    "diswot_semantic": "",
}
"""Losses with layers, memories or draws of their own, and stages for them where the usual ones are not there."""

PATHWAYS: dict[str, Scalar] = {"stages": "norm+pre_pool+pooled+logits", "transforms": "plain"}
TEXT_PATHWAYS: dict[str, Scalar] = {"stages": "stage1+pooled+logits", "transforms": "plain+shared", "interval": 2}
TEXT_LOSSES = "kd=0.5, fitnet=1, at=10, at.stages=attention1, sp=1, pkt=10, rkd=0.1"
TEXT_LOSSES += "".join(f", {name}.stages=pre_pool" for name in ("fitnet", "sp", "pkt"))
LEARNING: dict[str, Scalar] = {"interval": 2, "pool": 2, "snapshots": 6}
CUTTING: dict[str, Scalar] = {"divisor": 1, "strength": 0.1, "share": 0.67}


@dataclass(frozen=True)
class Trial:
    """A method with options. `given`: an option that names a file, and the trial that leaves this file.

    `texts`: the space of students of texts, one of `tests.data.text.subject`; empty for images.
    """

    method: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
    given: tuple[str, str, str] | None = None
    texts: str = ""


def every_stateful_loss() -> str:
    """Each with a hundredth of its standard weight, on the maps that the tiny networks have."""
    parts = [f"{name}={DISTILLATION_LOSSES[name].standard.weight / 100:g}" for name in STATEFUL]
    parts += [f"{name}.stages={stages}" for name, stages in STATEFUL.items() if stages]
    return ", ".join([*parts, "crd.width=4", "crd.negatives=20", "ft.pretrain=0.4"])


TRIALS: Mapping[str, Trial] = {
    "scratch": Trial("scratch"),
    "kd": Trial("kd"),
    "weighted_losses": Trial("weighted_losses"),
    "distil stateful": Trial("weighted_losses", {"losses": every_stateful_loss()}),
    "distpro_search": Trial("distpro_search", {**PATHWAYS, "interval": 2}),
    "distpro_search sequential": Trial("distpro_search", {**PATHWAYS, "order": "sequential", "style": "softmax"}),
    "distpro process": Trial("distpro", {**PATHWAYS, "search": 0.7}),
    "distpro final": Trial("distpro", {**PATHWAYS, "search": 0.7, "replay": "final"}),
    "distpro equal": Trial("distpro", {**PATHWAYS, "replay": "equal"}),
    "distpro given": Trial("distpro", PATHWAYS, given=("process", "distpro_search", "process.json")),
    "lkd joint": Trial("lkd", {**LEARNING, "stages": "pre_pool", "spread": "gaussian"}),
    "lkd retrain": Trial("lkd", {**LEARNING, "mode": "retrain", "batch": "fresh", "keep": "reservoir"}),
    "lkd two stages": Trial("lkd", {**LEARNING, "mode": "two_stage_dynamic", "sampling": "by_loss"}),
    "lkd given": Trial("lkd", {"mode": "retrain"}, given=("loss", "lkd retrain", "learned_loss.pt")),
    "prokt": Trial("prokt"),
    "prokt dual": Trial("prokt", {"dual": True, "probe": "eval", "target": "stale", "start": "pretrained"}),
    "prokt stateful": Trial("prokt", {"losses": "kd=1, ce=0, crd=0.1, crd.width=4, crd.negatives=20", "freeze": 0.4}),
    "subgraph search": Trial("subgraph", {**CUTTING, "multiples": "1, 0.7"}),
    "subgraph inherit": Trial("subgraph", {**CUTTING, "inherit": True, "proximal": "apg", "score": "taylor"}),
    "subgraph uniform": Trial("subgraph", {**CUTTING, "choose": "uniform"}),
    "subgraph shallow": Trial("subgraph", {**CUTTING, "choose": "shallow"}),
    "subgraph random": Trial("subgraph", {**CUTTING, "choose": "random"}),
    "subgraph magnitude": Trial("subgraph", {**CUTTING, "choose": "magnitude"}),
    "texts scratch": Trial("scratch", texts="RECURRENT"),
    "texts kd": Trial("kd", texts="SPACE"),
    "texts distil maps": Trial("weighted_losses", {"losses": TEXT_LOSSES}, texts="SPACE"),
    "texts prokt": Trial("prokt", texts="RECURRENT"),
    "texts prokt dual": Trial("prokt", {"dual": True, "target": "stale", "interval": 1}, texts="SPACE"),
    "texts lkd": Trial("lkd", {**LEARNING, "stages": "pre_pool"}, texts="SPACE"),
    "texts distpro": Trial("distpro", {**TEXT_PATHWAYS, "search": 0.7}, texts="SPACE"),
}

FIRST_OF_EACH_METHOD = list({TRIALS[name].method: name for name in reversed([*TRIALS])}.values())
every_trial = pytest.mark.parametrize("name", slow_but(FIRST_OF_EACH_METHOD, TRIALS))
one_of_each_method = pytest.mark.parametrize("name", FIRST_OF_EACH_METHOD)


@pytest.fixture
def quick(monkeypatch):
    """A checkpoint after each epoch, and next to no time spent on latency and lettering."""
    brief = partial(measure_latency, budget_seconds=0.01)
    monkeypatch.setattr(base, "measure_latency", brief)
    monkeypatch.setattr(subgraph, "measure_latency", brief)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(Figure, "savefig", sketch)


def spec_of(name: str, root: Path, **changes: Any) -> TrialSpec:
    """The trial's spec; the teacher and the file that it needs lie under `root` afterwards."""
    trial = TRIALS[name]
    options = dict(trial.options)
    if trial.given is not None:
        option, source, file = trial.given
        options[option] = str(root / "given" / file)
        if not (root / "given" / file).exists():
            run(spec_of(source, root), root, "given")
    recipe = Recipe(epochs=EPOCHS, batch_size=16, lr=0.02)
    if trial.texts:
        return subject.taught(root, trial.method, trial.texts, options=options, recipe=recipe, **changes)
    return tiny.taught(root, trial.method, options=options, recipe=recipe, **changes)


def run(spec: TrialSpec, root: Path, folder: str, *, stop: int = 0, **paths: Any) -> tiny.Recorder:
    """Carry out the trial in `root/folder`, or continue it there, from whatever state the generator is in."""
    recorder = tiny.Recorder(stop)
    run_trial(spec, recorder, dataclasses.replace(tiny.place(root, spec), trial=root / folder, **paths))
    return recorder


def left_by(folder: Path) -> dict[str, object]:
    """The content of every file that a trial left, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): content(path) for path in files}


def content(path: Path) -> object:
    return torch.load(path, weights_only=True) if path.suffix == ".pt" else path.read_bytes()


def difference(one: object, two: object, at: str = "") -> str:
    """Where two values first differ in any bit, through dictionaries and lists; "" if nowhere. Times may differ.

    So may a teacher's passes: of texts each life makes its table anew where it is not kept.
    """
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        if alone := [key for key in one.keys() ^ two.keys() if key not in LOADED]:
            return f"{at}: {sorted(map(str, alone))} in one alone"
        found = (difference(one[key], two[key], f"{at}/{key}") for key in one if not timing(key))
        return next(filter(None, found), "")
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        if len(one) != len(two):
            return f"{at}: {len(one)} and {len(two)} items"
        found = (difference(*both, f"{at}/{place}") for place, both in enumerate(zip(one, two, strict=True)))
        return next(filter(None, found), "")
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return "" if torch.equal(one, two) else f"{at}: tensors differ"
    return "" if type(one) is type(two) and one == two else f"{at}: {str(one)[:50]} and {str(two)[:50]}"


def timing(key: object) -> bool:
    return key == "seconds" or key in {*LOADED, *PASSES} or str(key).startswith("latency")
