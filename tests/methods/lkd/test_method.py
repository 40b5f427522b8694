"""Learned distillation as a method: exact slopes, nothing touched, exact resuming, every option, modes and transfer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from automl_kd.bilevel.inner_step import SGD
from automl_kd.bilevel.unroll import Unroll
from automl_kd.data import Batch, epoch_order
from automl_kd.errors import CheckpointError, ConfigError, DataError, StopTrial, TrialError
from automl_kd.losses.learned import start
from automl_kd.losses.learned.start import initial_phi
from automl_kd.methods import base, estimate_cost, make_method, run_trial
from automl_kd.methods.lkd import meta_trainer as lkd_tutor
from automl_kd.methods.lkd import method as lkd_method
from automl_kd.methods.lkd.meta_data import MetaData, hold_out_images
from automl_kd.methods.lkd.meta_trainer import MetaTrainer
from automl_kd.methods.lkd.method import LKD, LOSS_FILE, PICTURE
from automl_kd.methods.lkd.past_students import Past, Pool
from automl_kd.methods.weighted_losses import first_look
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.space import Scalar
from automl_kd.spec import REMARK_FILE, Recipe
from automl_kd.teacher_cache.cached_teacher import LiveTeacher
from automl_kd.training import loop, trial
from tests import tiny
from tests.methods.test_weighted_losses import Recorder, load, place, same, spec

OFTEN: Mapping[str, Scalar] = {
    "interval": 2,
    "warmup": 0.0,
    "snapshots": 6,
    "pool": 3,
    "held_out": 0.2,
    "give_back": 0.0,
    "rescale": False,
}


@pytest.fixture(autouse=True)
def stripes(monkeypatch):
    """The tiny data set under every name, a checkpoint after each epoch, and no time spent on latency."""
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    monkeypatch.setattr(base, "measure_latency", partial(measure_latency, budget_seconds=0.01))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


def trained(root: Path, trial: str, options: Mapping[str, Scalar], *, stop: int = 0) -> Recorder:
    recorder = Recorder(stop)
    run_trial(spec("lkd", {**OFTEN, **options}), recorder, place(root, trial))
    return recorder


def extra(root: Path, trial: str) -> dict[str, object]:
    state = load(root, trial, "checkpoint.pt")["adapters"]
    assert isinstance(state, dict)
    found: dict[str, object] = state["_extra_state"]
    return found


def tutor(root: Path, dtype: torch.dtype = torch.float64, **options: object) -> MetaTrainer:
    """One that has recorded a few students of a network in `dtype`, as a run would."""
    method = LKD(**{**OFTEN, **options})  # type: ignore[arg-type]
    context = trial.prepare_trial(spec("lkd", {}), place(root))
    teacher = trial.load_teacher(context).to(dtype)
    context.student.to(dtype)
    dataset, held = hold_out_images(context.dataset, 0.2, seed=0)
    student, guide = method.feature_extractor(context.student, "student"), method.feature_extractor(teacher, "teacher")
    double(student)
    double(guide)
    example, _ = first_look(context, student, guide)
    meta_data = MetaData(
        student, LiveTeacher(guide), dataset, held, Recipe(epochs=3, batch_size=20, augment="none"), seed=1
    )
    made = MetaTrainer(meta_data, method.made(context, example), method.start(context), method.schedule)
    context.student.train()
    return made


def double(tapped: FeatureExtractor) -> None:
    """Views are float32; a network in float64 is to see them in float64."""
    tapped.model.register_forward_pre_hook(lambda module, given: (given[0].to(next(module.parameters()).dtype),))


def step(one: MetaTrainer, count: int = 1) -> None:
    for _ in range(count):
        rows = epoch_order(len(one.meta_data.dataset.train), seed=0, epoch=one.step)[:20]
        one(one.meta_data.view(one.meta_data.dataset.train.index[rows], epoch=1))


def slope(one: MetaTrainer) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The method's own hypergradient and that of unrolling, from the last recorded student."""
    past = one.pool.past[-1]
    problem = one.problem(past, past.batch, past.teacher_out, one.meta_data.held_batch(40, np.random.default_rng(0)))
    return one.slope(problem, past.weights)[0], Unroll(1)(problem, past.weights, one.phi)


@pytest.mark.parametrize(
    "options",
    [
        {},
        # Fitting the free form takes seconds.
        pytest.param({"form": "free", "rescale": True}, marks=pytest.mark.slow),
        {"stages": "pre_pool", "anchor": 0.1},
        {"rescale": True, "label": False},
    ],
)
def test_the_slope_is_that_of_unrolling(tmp_path, options):
    one = tutor(tmp_path, **options)
    generator = torch.Generator().manual_seed(0)
    one.phi = {name: v + 0.3 * torch.randn(v.shape, generator=generator).to(v) for name, v in one.phi.items()}
    step(one, 3)
    found, oracle = slope(one)
    assert max(value.abs().max().item() for value in oracle.values()) > 1e-6
    for name, value in oracle.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-12)


def test_an_update_moves_phi_and_nothing_else(tmp_path):
    one = tutor(tmp_path, dtype=torch.float32)
    step(one, 2)
    assert isinstance(one.meta_data.ask_teacher, LiveTeacher)
    model, teacher = one.meta_data.student.model, one.meta_data.ask_teacher.teacher.model
    before = [{name: v.clone() for name, v in net.state_dict().items()} for net in (model, teacher)]
    phi, state = dict(one.phi), torch.get_rng_state()
    one.update(1)
    assert same(before, [dict(net.state_dict()) for net in (model, teacher)])
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not torch.equal(phi["logits.last.weight"], one.phi["logits.last.weight"])


def test_a_slope_without_value_is_skipped_and_too_many_end_the_trial(tmp_path):
    one = tutor(tmp_path)
    step(one)
    phi, bad = dict(one.phi), {name: torch.full_like(value, torch.nan) for name, value in one.phi.items()}
    one.move(bad, torch.tensor(-1.0))
    assert same(phi, one.phi)
    assert all(memory["step"] == 0 for memory in one.memories.values())
    with pytest.raises(TrialError, match="1 of 1 updates of the learned loss were not finite"):
        one.refuse_skipped()


def test_a_look_ahead_goes_as_far_as_the_next_step_or_all_that_follow(tmp_path):
    for reach, factor in (("step", 1.9), ("run", 10.0)):
        one = tutor(tmp_path, reach=reach)
        step(one)
        past = one.pool.past[-1]
        problem = one.problem(
            past, past.batch, past.teacher_out, one.meta_data.held_batch(40, np.random.default_rng(0))
        )
        (rule,) = {id(rule): rule for rule in problem.step.rules.values()}.values()
        assert isinstance(rule, SGD)
        assert rule.lr == pytest.approx(factor * past.rate)  # momentum 0.9, Nesterov's


def test_a_step_that_raises_the_held_out_loss_moves_nothing_and_is_told(tmp_path):
    one = tutor(tmp_path)
    step(one)
    phi, slope_of_one = dict(one.phi), {name: torch.ones_like(value) for name, value in one.phi.items()}
    one.move(slope_of_one, torch.tensor(1e-9))
    assert same(phi, one.phi)
    assert "1 of 1 updates were refused" in one.remark()
    one.move(slope_of_one, torch.tensor(0.0))
    one.move(slope_of_one, torch.tensor(-1.0))
    assert not same(phi, one.phi)
    assert one.remark() == ""  # a third is not half
    assert "no update" in tutor(tmp_path).remark()


def test_the_rise_is_that_of_the_held_out_loss_along_the_step(tmp_path):
    one = tutor(tmp_path)
    step(one, 3)
    past = one.pool.past[-1]
    problem = one.problem(past, past.batch, past.teacher_out, one.meta_data.held_batch(40, np.random.default_rng(0)))
    found = one.slope(problem, past.weights)[1]
    inputs = {name: value.clone().requires_grad_() for name, value in past.weights.items()}
    slopes = torch.autograd.grad(problem.inner(inputs, one.phi), list(inputs.values()))
    after, _ = problem.step.take(past.weights, dict(zip(inputs, slopes, strict=True)))
    with torch.no_grad():
        wanted = problem.outer(after, one.phi) - problem.outer(past.weights, one.phi)
    torch.testing.assert_close(found, wanted)


def test_held_out_images_are_given_back_at_the_end_and_nothing_is_learned_then(tmp_path):
    one = tutor(tmp_path, give_back=0.5)
    held = set(one.meta_data.held.index.tolist())
    seen: list[set[int]] = []
    ask = one.meta_data.ask_teacher
    given: list[Batch] = []

    def watched(batch: Batch) -> Outputs:
        given.append(batch)
        return ask(batch)

    object.__setattr__(one.meta_data, "ask_teacher", watched)
    updates = []
    for _ in range(one.steps):
        step(one)
        updates.append(one.updates)
        seen.append(set(given[-1].index.tolist()) & held)
    half = one.steps // 2
    assert not any(seen[:half])
    assert set().union(*seen[half:])
    assert updates[half - 1] == updates[-1] > 0
    for batch in given[half:]:
        labels = dict(zip(one.meta_data.held.index.tolist(), one.meta_data.held.labels.tolist(), strict=True))
        assert len(batch) == 20
        assert all(
            labels.get(at, label) == label
            for at, label in zip(batch.index.tolist(), batch.labels.tolist(), strict=True)
        )


def test_the_share_of_held_out_images_that_are_given_back_is_theirs_of_all(tmp_path):
    one, rng = tutor(tmp_path), np.random.default_rng(0)
    held = set(one.meta_data.held.index.tolist())
    batch = one.meta_data.view(one.meta_data.dataset.train.index[:20], epoch=1)
    counts = [len(set(one.meta_data.with_held(batch, rng).index.tolist()) & held) for _ in range(300)]
    assert abs(float(np.mean(counts)) - 20 * 19 / 96) < 0.4


def test_a_trial_leaves_what_is_to_be_said_of_it(tmp_path):
    trained(tmp_path, "one", {"warmup": 0.9, "give_back": 0.1})
    said = (tmp_path / "one" / REMARK_FILE).read_text(encoding="utf-8")
    assert said == "the loss was not learned: 12 steps leave no update; lower method.interval or method.warmup"
    trained(tmp_path, "two", {"mode": "retrain", "warmup": 0.99})
    assert (tmp_path / "two" / REMARK_FILE).exists()  # of the search before it


def test_a_loss_that_counts_for_nothing_is_not_moved_by_its_slope(tmp_path):
    one = tutor(tmp_path, stages="pre_pool", weight=1e-30)
    step(one)
    found, _ = slope(one)
    assert max(v.abs().max().item() for name, v in found.items() if name.startswith("logits")) < 1e-25
    assert "logits.last.bias" not in LKD(weight=0.0, stages="pre_pool").start(
        trial.prepare_trial(spec("lkd", {}), place(tmp_path))
    )


@pytest.mark.parametrize("stop", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "options",
    [
        {"stages": "pre_pool", "spread": "gaussian", "keep": "reservoir", "sampling": "by_loss"},
        # Fitting the free form takes seconds.
        pytest.param({"batch": "fresh", "sampling": "recent", "form": "free", "rescale": True}, marks=pytest.mark.slow),
        pytest.param({"batch": "fresh", "sampling": "recent", "rescale": True}, marks=pytest.mark.slow),
        {"mode": "two_stage_dynamic"},
        {"give_back": 0.4, "rescale": True},
    ],
)
def test_it_continues_bit_for_bit(tmp_path, options, stop):
    whole = trained(tmp_path, "unbroken", options)
    with pytest.raises(StopTrial):
        trained(tmp_path, "broken", options, stop=stop)
    rest = trained(tmp_path, "broken", options)
    assert same(whole.seen, rest.seen)
    for file in ("student.pt", "student_best.pt", "checkpoint.pt", LOSS_FILE):
        assert same(load(tmp_path, "unbroken", file), load(tmp_path, "broken", file)), file


def test_killed_in_the_middle_of_an_epoch_it_continues(tmp_path, monkeypatch):
    trained(tmp_path, "unbroken", {})
    update, calls = MetaTrainer.update, Counter[str]()

    def killed(self: MetaTrainer, epoch: int) -> None:
        calls["update"] += 1
        if calls["update"] == 4:
            raise KeyboardInterrupt
        update(self, epoch)

    monkeypatch.setattr(lkd_tutor.MetaTrainer, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "broken", {})
    trained(tmp_path, "broken", {})
    assert same(load(tmp_path, "unbroken", "checkpoint.pt"), load(tmp_path, "broken", "checkpoint.pt"))


def test_a_checkpoint_holds_the_pool_the_loss_and_its_optimiser(tmp_path):
    trained(tmp_path, "one", {})
    state = extra(tmp_path, "one")
    # 77 of 96 images in batches of 20 are 4 steps; in 3 epochs 12, and an update before every second but the first.
    assert (state["step"], state["updates"], state["recorded"]) == (12, 6, 6)
    assert isinstance(state["past"], list)
    assert [past["step"] for past in state["past"]] == [6, 8, 10]
    assert isinstance(state["memories"], dict)
    assert state["memories"]["logits.last.bias"]["step"] == 6


def test_held_out_images_are_never_trained_on_and_are_drawn_class_by_class():
    dataset = tiny.dataset()
    rest, held = hold_out_images(dataset, 0.25, seed=3)
    assert Counter(held.labels.tolist()) == {0: 8, 1: 8, 2: 8}
    assert sorted(rest.train.index.tolist() + held.index.tolist()) == list(range(96))
    with pytest.raises(DataError, match=r"96 training images, too few to hold out 0\.001"):
        hold_out_images(dataset, 0.001, seed=0)


@pytest.mark.parametrize("mode", ["joint", "retrain"])
def test_a_loss_learned_elsewhere_is_used_or_learned_on(tmp_path, mode):
    trained(tmp_path, "first", {})
    file = str(tmp_path / "first" / LOSS_FILE)
    trained(tmp_path, "second", {"mode": mode, "loss": file})
    assert not (tmp_path / "second" / "search").exists()
    kept = same(load(tmp_path, "first", LOSS_FILE)["phi"], load(tmp_path, "second", LOSS_FILE)["phi"])
    assert kept == (mode == "retrain")
    with pytest.raises(CheckpointError, match="make form, label, weight and stages agree"):
        trained(tmp_path, "third", {"loss": file, "label": False})


def test_a_retrained_student_sees_all_images_and_the_cost_of_the_search_is_told(tmp_path):
    method = LKD(interval=10, warmup=0.0, ratio=2, held_out=0.1)
    # Learning: 3 + 0.7 * 14 / 10 student passes and one of the teacher, on 0.9 of the images; then 3 and 1 on all.
    assert method.macs(1000, 100) == round(0.9 * (3000 + 0.7 * 1400 + 100))
    retrain = LKD(mode="retrain", interval=10, warmup=0.0, ratio=2, held_out=0.1)
    assert retrain.macs(1000, 100) == 3100 + round(0.9 * (3000 + 1400 + 100))  # a student that is thrown away
    assert LKD(mode="retrain", loss="file").macs(1000, 100) == 3100
    seen = trained(tmp_path, "one", {"mode": "retrain"}).seen
    assert sorted(seen) == [1, 2, 3]
    assert (tmp_path / "one" / "search" / "checkpoint.pt").exists()
    assert seen[3]["train_macs"] > 3 * 96 * LKD(**{**OFTEN, "mode": "retrain"}).macs(int(seen[3]["macs"]), 0)  # type: ignore[arg-type]


def test_loss_networks_count_wherever_they_are_evaluated_by_hand(tmp_path):
    # Student (4 channels) and teacher (16): 9 weights at 64 places for each channel, and the classifier's 3.
    student, teacher = 9 * 4 * 64 + 12, 9 * 16 * 64 + 48
    # Layers of 16, 16 and 1: 5 inputs for 3 classes, 4 for 16 maps of 64 elements; weights are constants for the
    # student, so these go forward only. The projection from 4 to 16 channels goes forward and twice back.
    loss = 3 * (5 * 16 + 16 * 16 + 16) + 16 * 64 * (4 * 16 + 16 * 16 + 16) + 3 * 4 * 16 * 64
    # An update every second step: the inner gradient (3, and the loss), dual numbers (3), the loss's gradient
    # differentiated (3 of the loss), the outer loss on twice as many images (2 * 3), and before the step (2).
    learning = 3 * student + loss + teacher + (14 * student + 4 * loss) / 2
    # 19 of 96 images are held out. Retraining adds a plain step on all of them, and is told a fraction of 0.2.
    assert estimated(tmp_path, {}) == 77 * round(learning)
    retrain = 3 * student + loss + teacher
    assert estimated(tmp_path, {"mode": "retrain"}) == 96 * (retrain + round(0.8 * learning))
    # Unrolled, each of two steps is a gradient that is differentiated.
    unrolled = 3 * student + loss + teacher + (2 * 3 * (3 * student + loss) + 8 * student) / 2
    assert estimated(tmp_path, {"look_ahead": 2}) == 77 * round(unrolled)
    # The anchor looks at the past student once more, and differentiates the weights by phi.
    assert estimated(tmp_path, {"anchor": 0.1}) == 77 * round(learning + (student + 3 * loss) / 2)


@pytest.mark.slow
def test_a_free_loss_goes_back_to_the_student_too(tmp_path):
    student, teacher, network = 9 * 4 * 64 + 12, 9 * 16 * 64 + 48, 3 * (5 * 16 + 16 * 16 + 16)
    # Forward and back to the inputs; phi stands still. Four times that in an update, as above.
    learning = 3 * student + 2 * network + teacher + (14 * student + 4 * 2 * network) / 2
    # Fitted first in 1,500 steps on 64 times 10 values, the inputs without a gradient; spread over three epochs.
    fitting = 1500 * 64 * 10 * (2 * 5 * 16 + 3 * (16 * 16 + 16)) / (3 * 77)
    assert estimated(tmp_path, {"stages": "", "form": "free"}) == 77 * round(learning + fitting)


@pytest.mark.parametrize("mode", ["joint", "retrain"])
def test_fitting_the_free_form_is_part_of_the_training_s_costs(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(start, "FIT_STEPS", 1)
    clock = count(0.0, 50.0)
    monkeypatch.setattr(lkd_method, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    options = {"mode": mode, "form": "free"}
    seen = trained(tmp_path, "one", options).seen
    folders = ["one"] if mode == "joint" else ["one/search", "one"]
    own = [load(tmp_path, folder, "checkpoint.pt")["history"][-1]["seconds"] for folder in folders]  # type: ignore[index]
    assert seen[3]["seconds"] - sum(own) == pytest.approx(50.0)
    images = 77 if mode == "joint" else 96
    method = LKD(**{**OFTEN, **options})
    plain = method.learning_macs if mode == "joint" else method.macs
    least = plain(int(seen[3]["macs"]), 9 * 16 * 64 + 48, 0) * images * 3  # without the loss networks
    assert seen[3]["train_macs"] == 3 * estimated(tmp_path, {**options, "stages": ""}) > least + 936_960_000


def estimated(root: Path, options: Mapping[str, Scalar]) -> float:
    """What an epoch is said to cost."""
    return estimate_cost(spec("lkd", {**OFTEN, "stages": "pre_pool", **options}), place(root)).epoch_macs


def test_what_it_learned_is_drawn(tmp_path):
    trained(tmp_path, "one", {"weight": 0.5})
    drawn = (tmp_path / "one" / PICTURE).read_text(encoding="utf-8")
    assert drawn.count("true class") == drawn.count("other class") == 1
    assert "<svg" in drawn


def pool_of(count: int, pool: Pool) -> list[int]:
    for number in range(count):
        one = Past(number, 0.1, None, {}, {}, None, None, torch.tensor(float(number)))  # type: ignore[arg-type]
        pool.add(one, np.random.default_rng(number))
    return [past.step for past in pool.past]


def test_a_window_keeps_the_last_and_a_reservoir_spans_the_run():
    assert pool_of(50, Pool(4, "window")) == [46, 47, 48, 49]
    kept = pool_of(400, Pool(40, "reservoir"))
    assert kept == sorted(kept)
    assert len(kept) == 40
    # Uniform over 0 to 399: a mean of 199.5, with a standard error of 18.
    assert abs(float(np.mean(kept)) - 199.5) < 54


def test_strategies_draw_what_they_say():
    pool, rng = Pool(8, "window"), np.random.default_rng(0)
    pool_of(8, pool)
    drawn = {name: Counter(pool.draw(name, rng).step for _ in range(400)) for name in ("latest", "recent", "uniform")}
    assert set(drawn["latest"]) == {7}
    assert set(drawn["recent"]) == {6, 7}
    assert set(drawn["uniform"]) == set(range(8))
    by_loss = Counter(pool.draw("by_loss", rng).step for _ in range(2800))
    # Losses 0 to 7: the last is drawn 7 times in 28, 700 of 2800.
    assert by_loss[0] == 0
    assert 600 < by_loss[7] < 800


def test_intervals_are_fixed_or_gaussian_around_the_same_mean(tmp_path):
    fixed, gaussian = tutor(tmp_path, interval=12), tutor(tmp_path, interval=12, spread="gaussian")
    waits = []
    for gaussian.step in range(300):
        waits.append(gaussian.wait())
    assert fixed.wait() == 12
    assert abs(float(np.mean(waits)) - 12) < 1
    assert 3 < float(np.std(waits)) < 5
    assert min(waits) >= 1


def test_it_starts_from_the_seed_alone(tmp_path):
    one, two = (initial_phi(LKD().layout, 4.0, seed=3) for _ in range(2))
    assert same(one, two)
    assert not same(one, initial_phi(LKD().layout, 4.0, seed=4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"interval": 0}, "interval must be 1 or more"),
        ({"look_ahead": 6}, "look_ahead must lie in 1 to 5"),
        ({"held_out": 1.0}, "held_out must lie between 0 and 1"),
        ({"warmup": 1.0}, "warmup must lie in"),
        ({"weight": 0.0}, "give the learned loss one of them"),
        ({"stages": "a", "map_weight": 0.0}, "drop the stages"),
        ({"form": "free", "anchor": 0.1}, "set anchor = 0"),
        ({"sampling": "newest"}, "'uniform', 'latest', 'recent' or 'by_loss'"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_method("lkd", options)


def test_longer_look_aheads_run(tmp_path):
    seen = trained(tmp_path, "one", {"look_ahead": 2, "interval": 4})
    assert len(seen.seen) == 3
    assert extra(tmp_path, "one")["updates"] == 3


@pytest.mark.parametrize("mode", ["retrain", "two_stage_dynamic"])
def test_the_phase_that_learns_the_loss_is_part_of_the_training_s_costs(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(base, "loading", tiny.Delivering())
    recorders = [trained(tmp_path, "one", {"mode": mode}), trained(tmp_path, "one", {"mode": mode})]  # and again
    before, own = (load(tmp_path, folder, "checkpoint.pt")["history"] for folder in ("one/search", "one"))
    assert isinstance(before, list)
    assert isinstance(own, list)
    assert before[-1]["seconds"] > 0
    for recorder in recorders:
        for epoch, metrics in recorder.seen.items():
            assert metrics["seconds"] == pytest.approx(before[-1]["seconds"] + own[epoch - 1]["seconds"])
            assert metrics["images_delivered"] == 10 * 3 + 10 * epoch  # the loss is learned in as many epochs
