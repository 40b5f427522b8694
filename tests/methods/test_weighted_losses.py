"""Training with sums of losses: what is trained and saved, exact resuming, and the equality with plain distillation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch

from automl_kd.errors import ConfigError, StopTrial, UnknownNameError
from automl_kd.methods import METHODS, base, make_method, run_trial
from automl_kd.methods import weighted_losses as distil
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, Scalar
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from automl_kd.training import loop, trial
from tests import tiny

TEACHER = TeacherSpec(model="tests.tiny:teacher")
DATA = DataSpec(name="stripes")
MEMORIES = "crd, crd.width=8, crd.negatives=20, mgd=0.01, semckd=1, semckd.stages=pre_pool, vid, vid.stages=pre_pool"


@pytest.fixture(autouse=True)
def stripes(monkeypatch):
    """The tiny data set under every name, a checkpoint after each epoch, and no time spent on latency."""
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    monkeypatch.setattr(base, "measure_latency", partial(measure_latency, budget_seconds=0.01))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


def place(root: Path, trial: str = "trial") -> TrialPaths:
    where = TrialPaths(trial=root / trial, teachers=root / "teachers", data=root)
    file = where.teachers / teacher_trial(TEACHER, DATA).key / "student.pt"
    if not file.exists():
        torch.manual_seed(11)
        file.parent.mkdir(parents=True)
        save_weights(tiny.teacher(tiny.SHAPE), file)
    return where


def spec(method: str, options: Mapping[str, Scalar], **recipe: int) -> TrialSpec:
    return TrialSpec(
        space="tests.tiny:SPACE",
        architecture=Architecture.of({"width": 4}),
        method=method,
        options=options,
        data=DATA,
        teacher=TEACHER,
        recipe=Recipe(**{"epochs": 3, "batch_size": 20, **recipe}),  # type: ignore[arg-type]
        seed=5,
    )


class Recorder:
    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: dict[int, Mapping[str, float]] = {}

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        self.seen[epoch] = dict(metrics)
        if epoch == self.stop:
            raise StopTrial


def trained(root: Path, method: str, options: Mapping[str, Scalar], trial: str, *, stop: int = 0) -> Recorder:
    recorder = Recorder(stop)
    run_trial(spec(method, options), recorder, place(root, trial))
    return recorder


def load(root: Path, trial: str, file: str = "student.pt") -> dict[str, object]:
    loaded: dict[str, object] = torch.load(root / trial / file, weights_only=True)
    return loaded


def same(one: object, two: object) -> bool:
    """Bit for bit, through dictionaries and lists; how long training took aside."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one if not timing(key))
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two)
    return one == two


def timing(key: object) -> bool:
    return key == "seconds" or str(key).startswith("latency")


def test_soft_targets_through_the_sum_equal_the_plain_method_bit_for_bit(tmp_path):
    trained(tmp_path, "kd", {}, "plain")
    trained(tmp_path, "weighted_losses", {"losses": "kd"}, "sum")
    # 1 - 0.9 is not 0.1 in floating point: the plain method's own weights, written out.
    trained(tmp_path, "weighted_losses", {"losses": f"kd=0.9, ce={1 - 0.9!r}"}, "exact")
    assert same(load(tmp_path, "plain"), load(tmp_path, "exact"))
    for name, value in load(tmp_path, "plain").items():
        torch.testing.assert_close(value, load(tmp_path, "sum")[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("stop", [1, 2])
def test_memories_draws_and_layers_continue_bit_for_bit(tmp_path, stop):
    options = {"losses": MEMORIES}
    whole = trained(tmp_path, "weighted_losses", options, "unbroken")
    with pytest.raises(StopTrial):
        trained(tmp_path, "weighted_losses", options, "broken", stop=stop)
    rest = trained(tmp_path, "weighted_losses", options, "broken")
    assert same(whole.seen, rest.seen)
    for file in ("student.pt", "student_best.pt", "checkpoint.pt"):
        assert same(load(tmp_path, "unbroken", file), load(tmp_path, "broken", file)), file
    state = load(tmp_path, "broken", "checkpoint.pt")["adapters"]
    assert isinstance(state, dict)
    assert {"layers.crd.memory_s", "layers.crd.constants", "layers.crd.draws._extra_state"} <= state.keys()


def test_layers_are_trained_and_stay_out_of_the_student(tmp_path):
    trained(tmp_path, "weighted_losses", {"losses": "fitnet=1, fitnet.stages=pre_pool"}, "one")
    student = load(tmp_path, "one")
    assert student.keys() == tiny.build({"width": 4}, tiny.SHAPE).state_dict().keys()
    first = load(tmp_path, "one", "checkpoint.pt")["adapters"]
    torch.manual_seed(0)
    recorder = Recorder(stop=1)
    with pytest.raises(StopTrial):
        run_trial(
            spec("weighted_losses", {"losses": "fitnet=1, fitnet.stages=pre_pool"}), recorder, place(tmp_path, "two")
        )
    later = load(tmp_path, "two", "checkpoint.pt")["adapters"]
    assert isinstance(first, dict)
    assert isinstance(later, dict)
    weight = "layers.fitnet.regressors.0.0.weight"
    assert not torch.equal(first[weight], later[weight])


def test_the_teacher_is_left_as_it_was(tmp_path, monkeypatch):
    kept = []

    def remembered(setting):
        teacher = trial.load_teacher(setting)
        kept.append((teacher, {name: value.clone() for name, value in teacher.state_dict().items()}))
        return teacher

    monkeypatch.setattr(distil, "load_teacher", remembered)
    trained(tmp_path, "weighted_losses", {"losses": MEMORIES}, "one")
    ((teacher, before),) = kept
    assert same(before, dict(teacher.state_dict()))
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_work_is_counted_with_the_losses_layers(tmp_path):
    plain = trained(tmp_path, "weighted_losses", {"losses": "kd"}, "plain").seen[1]["train_macs"]
    hint = trained(tmp_path, "weighted_losses", {"losses": "fitnet, fitnet.stages=pre_pool"}, "hint").seen[1][
        "train_macs"
    ]
    # A 1x1 convolution from 4 to 16 channels on 8x8 positions, three times over for a step, for 96 images.
    assert hint - plain == 96 * 3 * (4 * 16 * 64)
    half = trained(
        tmp_path, "weighted_losses", {"losses": "fitnet, fitnet.stages=pre_pool, fitnet.until=0.3"}, "third"
    ).seen[1]
    assert half["train_macs"] - plain == 96 * 3 * round(4 * 16 * 64 / 3)


@pytest.mark.parametrize("losses", ["kdd", "kd=x", "kd, kd.temperature=0"])
def test_a_sum_that_cannot_be_read_is_refused_before_anything_is_trained(losses):
    with pytest.raises((ConfigError, UnknownNameError)):
        make_method("weighted_losses", {"losses": losses})


def test_a_tap_that_the_network_has_not_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="no feature layer or module is called 'stage9'"):
        trained(tmp_path, "weighted_losses", {"losses": "at, at.stages=stage9"}, "one")


def test_the_method_is_in_the_table_and_costs_what_plain_distillation_costs():
    assert METHODS["weighted_losses"]().macs(student=5, teacher=7) == METHODS["kd"]().macs(student=5, teacher=7) == 22
