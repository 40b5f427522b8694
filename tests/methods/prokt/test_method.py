"""Trials of ProKT: equality with the steps written out, limits of lambda, untouched buffers, exact resuming."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.data import Dataset, Split, epoch_order
from automl_kd.errors import ConfigError, StopTrial, TrialError, UnknownNameError
from automl_kd.methods import METHODS, base, make_method, run_trial
from automl_kd.methods.prokt import method as prokt
from automl_kd.methods.prokt.method import ProKT
from automl_kd.methods.prokt.moving_teacher import probe
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.space import Scalar
from automl_kd.spec import REMARK_FILE, Recipe
from automl_kd.training import loop, training_run, trial
from automl_kd.training.optimizers import learning_rate
from tests import tiny
from tests.methods.test_weighted_losses import MEMORIES, Recorder, load, place, same, spec

EPOCHS, STEPS = 3, 5  # of the trials here: 96 images in batches of 20


@pytest.fixture(autouse=True)
def stripes(monkeypatch):
    """The tiny data set under every name, a checkpoint after each epoch with all that it has in the end, and no time
    spent on latency.
    """
    monkeypatch.setattr(prokt.MovingTeacher, "ended", False)
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    monkeypatch.setattr(base, "measure_latency", partial(measure_latency, budget_seconds=0.01))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


@pytest.fixture
def undropped(monkeypatch):
    """No dropout, so that both networks' draws cannot mix."""
    monkeypatch.setattr(nn.Dropout, "forward", lambda _, x: x)


def trained(root: Path, options: Mapping[str, Scalar], trial: str, *, stop: int = 0, **recipe: Any) -> Recorder:
    recorder = Recorder(stop)
    run_trial(spec("prokt", {"interval": 1, **options}, **recipe), recorder, place(root, trial))
    return recorder


def teacher_of(root: Path, trial: str) -> dict[str, Any]:
    state: Any = load(root, trial, "checkpoint.pt")["adapters"]
    found: dict[str, Any] = state["_extra_state"]
    return found


def head_of(root: Path, trial: str) -> torch.Tensor:
    found: Any = load(root, trial)["classifier.weight"]
    weight: torch.Tensor = found
    return weight


def published(root: Path, options: ProKT) -> tuple[nn.Module, nn.Module]:
    """The method step by step, as the specification states it, for the trial that `trained` carries out."""
    context = trial.prepare_trial(spec("prokt", {}), place(root))
    student, teacher = context.student, trial.load_teacher(context).requires_grad_(True).train()
    recipe = context.spec.recipe
    run = training_run.TrainingRun(student, context.dataset, recipe, seed=5)
    settings: Any = {"lr": recipe.lr, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    first, second = torch.optim.SGD(teacher.parameters(), **settings), torch.optim.SGD(student.parameters(), **settings)
    student.train()
    for step in range(EPOCHS * STEPS):
        epoch = step // STEPS + 1
        rows = epoch_order(96, seed=run.order_seed, epoch=epoch)[step % STEPS * 20 :][:20]
        batch = run.batch(rows, epoch)
        x, y, rate = batch.inputs, batch.labels, learning_rate(recipe, step, STEPS)
        first.param_groups[0]["lr"], second.param_groups[0]["lr"] = options.teacher_lr * rate, rate
        said = student.eval()(x).softmax(1).detach() if options.probe == "eval" else None
        mine = student.train()(x)
        said = mine.softmax(1).detach() if said is None else said
        theirs = teacher(x)
        divergence = (said * (said.log() - theirs.log_softmax(1))).sum(1).mean()
        descend(first, (1 - options.weight) * F.cross_entropy(theirs, y) + options.weight * divergence)
        target = theirs.detach() if options.target == "stale" else teacher.eval()(x).detach()
        teacher.train()
        descend(second, F.kl_div(mine.log_softmax(1), target.softmax(1), reduction="batchmean"))
    return student, teacher


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("probe", ["shared", "eval"])
@pytest.mark.parametrize("target", ["updated", "stale"])
def test_a_trial_takes_the_steps_of_the_specification(tmp_path, undropped, probe, target):
    options = ProKT(weight=0.4, probe=probe, target=target, teacher_lr=0.5)
    trained(tmp_path, {"weight": 0.4, "probe": probe, "target": target, "teacher_lr": 0.5}, "one")
    student, teacher = published(tmp_path, options)
    for one, two in (
        (student.state_dict(), load(tmp_path, "one")),
        (teacher.state_dict(), teacher_of(tmp_path, "one")["network"]),
    ):
        for name, value in one.items():
            torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("probe", ["shared", "eval"])
@pytest.mark.parametrize("target", ["updated", "stale"])
def test_statistics_are_updated_once_a_step_in_both_networks(tmp_path, probe, target):
    trained(tmp_path, {"probe": probe, "target": target}, "one")
    assert load(tmp_path, "one")["norm.num_batches_tracked"] == EPOCHS * STEPS
    assert teacher_of(tmp_path, "one")["network"]["norm.num_batches_tracked"] == EPOCHS * STEPS


def test_a_probe_changes_no_buffer_draws_nothing_and_puts_modes_back():
    torch.manual_seed(0)
    model = tiny.Net(tiny.SHAPE, 4).train()
    model.norm.eval()
    before, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    with FeatureExtractor(model, ["pre_pool"]) as network:
        outputs = probe(network, torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert same(before, dict(model.state_dict()))
    assert torch.equal(random, torch.get_rng_state())
    assert model.training
    assert model.dropout.training
    assert not model.norm.training
    assert not outputs.logits.requires_grad
    assert outputs.features["pre_pool"].shape == (5, 4, 8, 8)


def test_the_divergence_falls_as_lambda_grows(tmp_path):
    options: dict[str, Scalar] = {"start": "scratch", "teacher_lr": 1.0}
    gaps = [
        trained(tmp_path, {**options, "weight": weight}, f"at {weight}", epochs=6).seen[6]["student_teacher_kl"]
        for weight in (0.0, 0.3, 0.6, 0.9)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.5 * gaps[0]


@pytest.mark.parametrize("target", ["updated", "stale"])
def test_with_lambda_0_the_teacher_learns_from_the_labels_as_if_alone(tmp_path, undropped, target):
    losses = ["kd=1, ce=0", "fitnet=9, fitnet.stages=pre_pool, kd=3"]  # no gradient of these reaches the teacher
    ends = []
    for loss in losses:
        trained(tmp_path, {"weight": 0.0, "losses": loss, "target": target, "teacher_lr": 1.0}, loss)
        ends.append(teacher_of(tmp_path, loss)["network"])
    assert same(*ends)
    context = trial.prepare_trial(spec("prokt", {}), place(tmp_path))
    alone = trial.load_teacher(context).requires_grad_(True)
    run = training_run.TrainingRun(alone, context.dataset, context.spec.recipe, seed=5)
    for epoch in range(1, EPOCHS + 1):
        run.train_epoch(lambda batch: {"ce": F.cross_entropy(alone(batch.inputs), batch.labels)}, epoch)
    assert same(dict(alone.state_dict()), dict(ends[0]))


def test_with_lambda_1_nobody_sees_a_label(tmp_path, monkeypatch):
    options: dict[str, Scalar] = {"weight": 1.0, "start": "scratch", "teacher_lr": 1.0}
    trained(tmp_path, options, "labels")
    data = tiny.dataset()
    split = Split(data.train.inputs, 2 - data.train.labels, data.train.index)
    other = Dataset(**{**vars(data), "train": split})
    monkeypatch.setattr(trial, "load_dataset", lambda *_: other)
    trained(tmp_path, options, "other labels")
    assert same(load(tmp_path, "labels"), load(tmp_path, "other labels"))
    trained(tmp_path, {**options, "weight": 0.9}, "some")
    assert not same(load(tmp_path, "labels"), load(tmp_path, "some"))


def test_zero_heads_meet_at_the_uniform_distribution_and_leave_by_the_teachers_step(tmp_path):
    ends = {}
    for target in ("stale", "updated"):
        options: dict[str, Scalar] = {"zero_heads": True, "start": "pretrained", "target": target, "teacher_lr": 1.0}
        seen = trained(tmp_path, options, target, batch_size=96, epochs=1, weight_decay=0).seen
        ends[target] = head_of(tmp_path, target).abs().max()
        assert seen[1]["student_teacher_kl"] == pytest.approx(0, abs=1e-7)
        assert seen[1]["teacher_ce"] == pytest.approx(torch.tensor(3.0).log().item())
    # One step. Towards the teacher as it was before its own there is nothing to learn but rounding.
    assert ends["stale"] < 1e-7
    assert ends["updated"] > 1e-5


OPTIONS: list[Mapping[str, Scalar]] = [
    {"dual": True, "beta_lr": 0.5, "epsilon": 0.01, "start": "scratch"},
    {"losses": MEMORIES, "target": "stale"},
    {"probe": "eval", "freeze": 0.4, "start": "pretrained", "zero_heads": True, "losses": "kd=0.9, kd.temperature=4"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_trial_continues_bit_for_bit_with_its_teacher(tmp_path, options, stop):
    whole = trained(tmp_path, options, "unbroken", clip_norm=1)
    with pytest.raises(StopTrial):
        trained(tmp_path, options, "broken", stop=stop, clip_norm=1)
    rest = trained(tmp_path, options, "broken", clip_norm=1)
    assert same(whole.seen, rest.seen)
    assert same(load(tmp_path, "unbroken", "checkpoint.pt"), load(tmp_path, "broken", "checkpoint.pt"))
    state = teacher_of(tmp_path, "broken")
    assert state["step"] == EPOCHS * STEPS
    assert all("momentum_buffer" in entry for entry in state["optimiser"]["state"].values())


@pytest.mark.parametrize("lesson", [1, 7, 14])
def test_a_trial_killed_in_mid_epoch_continues_bit_for_bit(tmp_path, monkeypatch, lesson):
    trained(tmp_path, {"start": "scratch"}, "unbroken")
    with monkeypatch.context() as killing:
        original, seen = prokt.MovingTeacher.advance, []

        def killed(self, *given):
            seen.append(1)
            if len(seen) == lesson:
                raise KeyboardInterrupt
            return original(self, *given)

        killing.setattr(prokt.MovingTeacher, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, {"start": "scratch"}, "broken")
    trained(tmp_path, {"start": "scratch"}, "broken")
    assert same(load(tmp_path, "unbroken", "checkpoint.pt"), load(tmp_path, "broken", "checkpoint.pt"))


@pytest.mark.parametrize("epsilon", [0.001, 50.0])
def test_the_multiplier_rises_where_the_constraint_is_broken_and_falls_where_it_holds(tmp_path, epsilon):
    seen = trained(tmp_path, {"dual": True, "epsilon": epsilon, "beta_lr": 0.01}, "one").seen
    rising = seen[3]["teacher_beta"] > seen[1]["teacher_beta"]
    assert rising == (seen[3]["student_teacher_kl"] > epsilon)
    assert rising == (epsilon == 0.001)
    assert "teacher_beta" not in trained(tmp_path, {}, "fixed").seen[1]


def test_a_frozen_teacher_stands_still_and_the_student_learns_on(tmp_path):
    with pytest.raises(StopTrial):
        trained(tmp_path, {"freeze": 1 / 3}, "one", stop=2)
    before, student = teacher_of(tmp_path, "one"), load(tmp_path, "one", "checkpoint.pt")["student"]
    seen = trained(tmp_path, {"freeze": 1 / 3}, "one").seen
    after = teacher_of(tmp_path, "one")
    assert same(before["network"], after["network"])
    assert same(before["optimiser"], after["optimiser"])
    assert not same(student, load(tmp_path, "one"))
    assert seen[3]["student_teacher_kl"] > 0


def test_the_teacher_steps_on_every_few_batches_and_costs_a_pass_on_the_others(tmp_path):
    trained(tmp_path, {"interval": 4}, "one")
    state = teacher_of(tmp_path, "one")
    assert state["step"] == EPOCHS * STEPS
    assert state["network"]["norm.num_batches_tracked"] == 4  # of 15 steps, at 0, 4, 8 and 12
    # a student's step; of the teacher a quarter of the times its step and a pass, else a pass
    assert ProKT(interval=4).macs(100, 1000) == 300 + round(0.25 * 4000 + 0.75 * 1000)
    assert ProKT(interval=1).macs(100, 1000) == 300 + 4000


def test_the_constraint_has_a_temperature_of_its_own(tmp_path):
    ends = {}
    arms: dict[str, dict[str, Scalar]] = {
        "own": {"temperature": 4.0, "losses": "kd=1, kd.temperature=2"},
        "same": {"temperature": 4.0, "losses": "kd=1, kd.temperature=2", "constraint_temperature": 0.0},
        "said": {"losses": "kd=1, kd.temperature=2", "constraint_temperature": 4.0},
    }
    for name, options in arms.items():
        trained(tmp_path, options, name)
        ends[name] = load(tmp_path, name)
    assert same(ends["same"], ends["said"])
    assert not same(ends["own"], ends["same"])


def test_a_teacher_that_becomes_worse_is_told(tmp_path, monkeypatch):
    trained(tmp_path, {"weight": 0.0}, "better")
    monkeypatch.setattr(prokt, "TEACHER_WORSE", 1e-3)  # so that any cross entropy has risen
    trained(tmp_path, {"weight": 0.0}, "worse")
    assert "the teacher became worse" in (tmp_path / "worse" / REMARK_FILE).read_text(encoding="utf-8")
    assert not (tmp_path / "better" / REMARK_FILE).exists()


def test_the_teachers_rate_follows_the_students_schedule(tmp_path):
    trained(tmp_path, {"teacher_lr": 0.2}, "one")
    (group,) = teacher_of(tmp_path, "one")["optimiser"]["param_groups"]
    assert group["lr"] == 0.2 * learning_rate(spec("prokt", {}).recipe, EPOCHS * STEPS - 1, STEPS)


@pytest.mark.slow
def test_it_trains_with_a_teacher_from_scratch_and_with_lambda_1_it_does_not(tmp_path):
    ends = {}
    for weight in (0.1, 1.0):
        options: dict[str, Scalar] = {"start": "scratch", "teacher_lr": 1.0, "weight": weight}
        ends[weight] = trained(tmp_path, options, f"at {weight}", epochs=30, lr=0.1).seen[30]
    # three classes: chance is 1/3, and a cross entropy of ln 3 = 1.10
    assert ends[0.1]["val_accuracy"] > 0.8
    assert ends[0.1]["teacher_ce"] < 0.4
    assert ends[1.0]["val_accuracy"] < 0.5
    assert ends[1.0]["teacher_ce"] > 1.0
    assert load(tmp_path, "at 0.1").keys() == tiny.Net(tiny.SHAPE, 4).state_dict().keys()


def test_under_autocast_the_teacher_is_asked_with_the_weights_of_after_its_step(tmp_path, monkeypatch):
    def checked(network: FeatureExtractor, images: torch.Tensor) -> Outputs:
        found, copy = probe(network, images), deepcopy(network.model).eval()
        with torch.no_grad():
            assert torch.equal(found.logits, copy(images))  # a copy's weights are in no cache
        asked.append(found.logits.dtype)
        return found

    asked: list[torch.dtype] = []
    monkeypatch.setattr(prokt, "probe", checked)
    monkeypatch.setattr(training_run, "autocast", lambda *_: torch.autocast("cpu", torch.bfloat16))
    trained(tmp_path, {"probe": "eval", "teacher_lr": 1.0}, "one")
    assert asked == 2 * EPOCHS * STEPS * [torch.bfloat16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 1.2}, r"weight must lie in \[0, 1\], got 1.2"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"teacher_lr": 0.0}, "teacher_lr must be above 0, got 0.0"),
        ({"freeze": 1.0}, r"freeze must lie in \[0, 1\), got 1.0"),
        ({"beta": -1.0}, "beta must be 0 or more, got -1.0"),
        ({"start": "cold"}, "start must be 'finetuned' or 'pretrained' or 'scratch', got 'cold'"),
        ({"probe": "train"}, "probe must be 'shared' or 'eval', got 'train'"),
        ({"target": "old"}, "target must be 'updated' or 'stale', got 'old'"),
        ({"zero_heads": True}, "zero_heads would undo a fine-tuned teacher; set start"),
        ({"losses": "kd=x"}, "kd=x is not a weight"),
        ({"lambda": 0.3}, "unknown key 'lambda'"),
    ],
)
def test_an_option_out_of_range_is_refused_in_one_sentence(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_method("prokt", options)
    assert "\n" not in str(caught.value)


def test_a_loss_that_does_not_exist_is_refused_before_anything_is_trained():
    with pytest.raises(UnknownNameError, match="no loss is called 'kdd'"):
        make_method("prokt", {"losses": "kdd=1"})


@pytest.mark.parametrize("start", ["finetuned", "scratch"])
def test_a_trial_without_a_teacher_is_refused(tmp_path, start):
    trial = spec("prokt", {"start": start})
    with pytest.raises(TrialError, match="needs a teacher and the trial names none"):
        run_trial(type(trial)(**{**vars(trial), "teacher": None}), Recorder(), place(tmp_path))


def test_the_temperature_is_shared_unless_the_losses_have_their_own():
    def temperature(options: ProKT) -> float:
        (part,) = [part for part in options.mix().parts if part.name == "kd"]
        return part.loss.temperature  # type: ignore[attr-defined, no-any-return]  # of KD alone

    assert temperature(ProKT(temperature=3.0)) == 3.0
    assert temperature(ProKT(losses="kd=0.9, ce=0.1", temperature=2.0)) == 2.0
    assert temperature(ProKT(losses="kd, kd.temperature=4")) == 4.0


def test_costs_by_hand():
    # wrn-40-2 teaches wrn-16-2: 3276 and 1011 in units of 0.1 million
    for options, expected in (
        (ProKT(interval=1, probe="eval"), 4 * 3276 + 4 * 1011),
        (ProKT(interval=1), 4 * 3276 + 3 * 1011),
        (ProKT(interval=1, target="stale"), 3 * 3276 + 3 * 1011),
        (ProKT(interval=1, target="stale", freeze=0.5), 2 * 3276 + 3 * 1011),
    ):
        assert options.macs(1011, 3276) == expected
    assert ProKT(interval=1, target="stale").macs(1011, 3276) < 2.1 * METHODS["kd"]().macs(1011, 3276)


def test_the_recipe_of_these_tests_is_as_the_written_out_steps_take_it():
    recipe = spec("prokt", {}).recipe
    assert (recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.9, True, 5e-4)
    assert recipe == Recipe(epochs=EPOCHS, batch_size=20)


def test_an_ended_trial_keeps_no_memory_of_its_teacher_s_optimizer(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    with pytest.raises(StopTrial):
        trained(tmp_path, {}, "stopped", stop=1)
    assert "optimiser" in teacher_of(tmp_path, "stopped")
    trained(tmp_path, {}, "ended")
    assert set(teacher_of(tmp_path, "ended")) == {"network", "beta", "sums", "step"}
    assert trained(tmp_path, {}, "ended").seen  # which reports again
