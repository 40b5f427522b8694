"""Small trials of every method in float64, and two processes that carry them out together over gloo."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from automl_kd.data import Batch
from automl_kd.errors import StopTrial
from automl_kd.methods import base, run_trial
from automl_kd.methods.subgraph import method as subgraph
from automl_kd.models.costs.latency import LatencyMeasurement
from automl_kd.space import Architecture, InputShape, Scalar, Values
from automl_kd.spec import DataSpec, Recipe, TeacherCacheOptions, TeacherSpec, TrialSpec
from automl_kd.training import loop, training_run
from tests import tiny
from tests.conformance.trials import LEARNING, PATHWAYS, every_stateful_loss
from tests.data.text import subject
from tests.data.text.subject import left_teacher, texts_below
from tests.process_group import process_group

WORKERS = 2

DATA = DataSpec(name="tests.tiny:source", validation=0.1)
"""99 images for training: with batches of 16 three are left, which two processes cannot divide."""

TEXTS = 149
"""Of which 99 are for training."""


class Exact(tiny.Net):
    """In float64, so that a difference is one of meaning and not of rounding, and without dropout."""

    def __init__(self, shape: InputShape, width: int) -> None:
        super().__init__(shape, width)
        self.dropout = nn.Dropout(0.0)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


def build(values: Values, shape: InputShape) -> nn.Module:
    return Exact(shape, int(values["width"]))


def teacher(shape: InputShape) -> nn.Module:
    return Exact(shape, 16)


def dropping(values: Values, shape: InputShape) -> nn.Module:
    network = Exact(shape, int(values["width"]))
    network.dropout = nn.Dropout(0.1)
    return network


SPACE = dataclasses.replace(tiny.SPACE, build=build)
DROPPING = dataclasses.replace(tiny.SPACE, build=dropping)
TEACHER = TeacherSpec(model="tests.training.distributed_trials:teacher")


@dataclass(frozen=True)
class Trial:
    """A method with options and changes of the recipe, and how near two processes come to one.

    `texts`: the space of students of texts, one of `tests.data.text.subject`; empty for images. `cached`: with the
    teacher cache.
    """

    method: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    within: float = 1e-9
    texts: str = ""
    cached: bool = False

    @property
    def paths(self) -> dict[str, Any]:
        return {"teacher_cache": TeacherCacheOptions(keep="features")} if self.cached else {}


RELATIONS = "kd=0.5, at=10, dist=0.1, mlkd=0.1, sp=1, rkd=0.1, cc=0.02, pkt=10, diswot_relation=1, mgd=7e-5"
RELATIONS += "".join(f", {name}.stages=pre_pool" for name in ("at", "sp", "diswot_relation", "mgd"))

ADAMW = {"optimizer": "adamw", "lr": 1e-3}
TEXT_LOSSES = "kd=0.5, fitnet=1, at=10, sp=1, pkt=10, rkd=0.1"
TEXT_LOSSES += "".join(f", {name}.stages=pre_pool" for name in ("fitnet", "at", "sp", "pkt"))
TEXT_PATHWAYS: Mapping[str, Scalar] = {"stages": "stage1+pooled+logits", "transforms": "plain"}

TRIALS: Mapping[str, Trial] = {
    "scratch": Trial("scratch", recipe={"clip_norm": 0.5}),
    "kd": Trial("kd"),
    "kd accumulated": Trial("kd", recipe={"grad_accumulation": 2}),
    "kd by shards": Trial("kd", recipe={"sync_bn_groups": 2}),
    "kd accumulated by shards": Trial(
        "kd", recipe={"sync_bn_groups": 2, "grad_accumulation": 2, "optimizer": "adamw", "lr": 1e-3}
    ),
    "scratch mixed": Trial(
        "scratch",
        recipe={"mixup": 0.8, "cutmix": 1.0, "ema": 0.9, "decay_norms": False, "augment": "random-resized-crop"},
    ),
    # Parts of nine: some pairs are in both processes.
    "kd mixed": Trial("kd", recipe={"batch_size": 18, "mixup": 0.8, "policy": "trivial", "loss": "bce"}),
    "kd repeated": Trial("kd", recipe={"batch_size": 24, "cutmix": 1.0, "repeats": 4, "grad_accumulation": 2}),
    "distil relations": Trial("weighted_losses", {"losses": RELATIONS}),
    "distil stateful": Trial("weighted_losses", {"losses": every_stateful_loss()}),
    "prokt": Trial("prokt"),
    "prokt dual": Trial("prokt", {"dual": True, "probe": "eval", "target": "stale"}, {"clip_norm": 0.5}),
    "lkd": Trial("lkd", {**LEARNING, "stages": "pre_pool", "rescale": True, "anchor": 0.1}),
    "lkd ahead": Trial("lkd", {**LEARNING, "look_ahead": 2, "batch": "fresh", "sampling": "by_loss"}),
    "lkd two stages": Trial("lkd", {**LEARNING, "mode": "two_stage_dynamic", "keep": "reservoir", "form": "free"}),
    "distpro_search": Trial("distpro_search", {**PATHWAYS, "interval": 2}, {"clip_norm": 0.5}),
    "distpro_search sequential": Trial("distpro_search", {**PATHWAYS, "order": "sequential", "style": "softmax"}),
    "distpro by shards": Trial("distpro", {**PATHWAYS, "search": 0.5}, {"sync_bn_groups": 2}),
    "lkd by shards": Trial("lkd", LEARNING, {"sync_bn_groups": 2}),
    # Its factors are in float32.
    "subgraph": Trial(
        "subgraph", {"divisor": 1, "strength": 0.1, "remedy": "mean"}, {"grad_accumulation": 2}, within=1e-5
    ),
    "subgraph inherited": Trial("subgraph", {"divisor": 1, "strength": 0.1, "inherit": True}, within=1e-5),
    "subgraph random": Trial("subgraph", {"divisor": 1, "choose": "random"}),
    "texts scratch": Trial("scratch", recipe={"clip_norm": 0.5}, texts="EXACT"),
    "texts scratch recurrent": Trial("scratch", recipe={"grad_accumulation": 2}, texts="EXACT_RECURRENT"),
    "texts kd": Trial("kd", recipe=ADAMW, texts="EXACT"),
    "texts kd cached": Trial("kd", texts="EXACT", cached=True),
    "texts distil maps": Trial("weighted_losses", {"losses": TEXT_LOSSES}, texts="EXACT", cached=True),
    "texts prokt": Trial("prokt", texts="EXACT"),
    "texts prokt dual": Trial(
        "prokt", {"dual": True, "probe": "eval", "target": "stale", "interval": 1}, texts="EXACT"
    ),
    "texts lkd": Trial("lkd", {**LEARNING, "stages": "pre_pool"}, texts="EXACT"),
    "texts distpro_search": Trial("distpro_search", {**TEXT_PATHWAYS, "interval": 2}, texts="EXACT"),
}


RESUMED = (
    "distil stateful",
    "prokt",
    "lkd",
    "distpro_search",
    "subgraph",
    "kd by shards",
    "texts kd cached",
    "texts prokt",
    "texts lkd",
)


class Killed(BaseException):
    """What nothing in the library catches."""


def spec_of(root: Path, trial: Trial, *, dropping: bool = False) -> TrialSpec:
    """Its spec, whose student has dropout if it is `dropping`; data and teacher lie under `root` afterwards."""
    own, instead = (
        ("tests.data.text.subject", trial.texts) if trial.texts else ("tests.training.distributed_trials", "SPACE")
    )
    data, known = (texts_below(root, TEXTS), subject.EXACT_TEACHER) if trial.texts else (DATA, TEACHER)
    recipe = Recipe(epochs=2, batch_size=16, lr=0.02)
    return tiny.spec(
        space=f"{own}:{'DROPPING' if dropping else instead}",
        architecture=Architecture.of({"width": 6}),
        method=trial.method,
        options=trial.options,
        data=data,
        teacher=None if trial.method == "scratch" else left_teacher(root, known, data),
        recipe=dataclasses.replace(recipe, **trial.recipe),
    )


def train(spec: TrialSpec, root: Path, folder: str, *, stop: int = 0, **paths: Any) -> tiny.Recorder:
    """Carry the trial out, or continue it, in `root/folder`, until it ends or is stopped."""
    recorder = tiny.Recorder(stop)
    try:
        run_trial(spec, recorder, dataclasses.replace(tiny.place(root, spec), trial=root / folder, **paths))
    except StopTrial:
        assert stop
    return recorder


def train_and_kill(spec: TrialSpec, root: Path, folder: str, *, after: int, **paths: Any) -> int:
    """Carry the trial out, or continue it, in `root/folder`, until `after` steps are taken; the steps of this life.

    There is a checkpoint after each of them.
    """
    real, taken = training_run.TrainingRun.batch, 0

    def batch(run: training_run.TrainingRun, rows: Tensor, epoch: int, *number: int) -> Batch:
        nonlocal taken
        if taken == after:
            raise Killed
        taken += 1
        return real(run, rows, epoch, *number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run.TrainingRun, "batch", batch)
        with suppress(Killed):
            train(spec, root, folder, checkpoint_minutes=1e-9, **paths)
    return taken


def at_once(*_: object, **__: object) -> LatencyMeasurement:
    """What no two processes measure differently."""
    return LatencyMeasurement(ms=1.0, iqr_ms=0.0, batch=1, threads=1, device="cpu", runs=1)


def quickly(patch: Callable[[object, str, object], None] = setattr) -> None:
    """A checkpoint after each epoch, and no time spent on latency."""
    for module in (base, subgraph):
        patch(module, "measure_latency", at_once)
    patch(loop, "SAVE_SECONDS", 0.0)


def worker(rank: int, root: Path) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    quickly()
    with process_group(root, rank, WORKERS):
        carry_out(rank, root)


def carry_out(rank: int, root: Path) -> None:
    """All trials, and then some with dropout, unbroken, in two sittings, and killed inside epochs."""
    for name, trial in TRIALS.items():
        keep(train(spec_of(root, trial), root, f"team/{name}", **trial.paths), root, f"{name} {rank}")
    for name in RESUMED:
        spec, paths = spec_of(root, TRIALS[name], dropping=True), TRIALS[name].paths
        keep(train(spec, root, f"whole/{name}", **paths), root, f"whole {name} {rank}")
        keep(train(spec, root, f"broken/{name}", stop=1, **paths), root, f"stopped {name} {rank}")
        torch.manual_seed(2)  # another process would not go on with the generator where this one stopped
        keep(train(spec, root, f"broken/{name}", **paths), root, f"broken {name} {rank}")
        for seed in range(2, 100):  # seven steps an epoch
            torch.manual_seed(seed)
            if train_and_kill(spec, root, f"killed/{name}", after=4, **paths) < 4:
                break
        keep(train(spec, root, f"killed/{name}", **paths), root, f"killed {name} {rank}")
    train(spec_of(root, TRIALS["lkd"]), root, "handed over", stop=1)
    train_and_kill(spec_of(root, TRIALS["lkd"]), root, "handed over inside", after=9)


def keep(recorder: tiny.Recorder, root: Path, name: str) -> None:
    (root / "seen").mkdir(exist_ok=True)
    torch.save(recorder.seen, root / "seen" / f"{name}.pt")


def together(root: Path) -> None:
    for name in ("kd", "texts kd"):
        spec_of(root, TRIALS[name])  # one process writes the teacher and the texts
    spawn(worker, args=(root,), nprocs=WORKERS)
