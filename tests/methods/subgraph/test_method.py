"""Searching inside the teacher: planted sparsity is found, resuming is exact, students cost what they may."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_kd.config import Budget, parse_record
from automl_kd.data import Batch
from automl_kd.errors import ConfigError, StopTrial, TrialError
from automl_kd.methods import base
from automl_kd.methods.model_card import load_trained_student
from automl_kd.methods.subgraph import drawing
from automl_kd.methods.subgraph import method as subgraph
from automl_kd.methods.subgraph import search as subgraph_search
from automl_kd.methods.subgraph.budget import choose_subgraph, least_widths
from automl_kd.methods.subgraph.drawing import draw_subgraph
from automl_kd.methods.subgraph.method import Subgraph
from automl_kd.methods.subgraph.options import SearchOptions
from automl_kd.methods.subgraph.search import SubgraphSearchRun
from automl_kd.models import build_from
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.models.pruning.description import Description
from automl_kd.models.pruning.surgery import fold_gates, mask, thin_network
from automl_kd.models.pruning.tracing import trace
from automl_kd.models.resnet import ResNet
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.seeds import derive
from automl_kd.space import Architecture, InputShape, Scalar
from automl_kd.spec import REMARK_FILE, DataSpec, Recipe, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from automl_kd.teacher_cache.cached_teacher import LiveTeacher
from automl_kd.training import loop, trial
from automl_kd.training.optimizers import learning_rate
from tests import tiny

TEACHER = TeacherSpec(model="tests.methods.subgraph.test_method:residual")
DATA = DataSpec(name="stripes")


def residual(shape: InputShape) -> nn.Module:
    return ResNet(shape, [2, 1], [8, 8, 16])


def plain(shape: InputShape) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(shape.channels, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, shape.classes)),
    )


@pytest.fixture(autouse=True)
def stripes(monkeypatch):
    """The tiny data set under every name, a checkpoint after each epoch, and no time spent on latency or drawings."""
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    quick = partial(measure_latency, budget_seconds=0.01)
    monkeypatch.setattr(base, "measure_latency", quick)
    monkeypatch.setattr(subgraph, "measure_latency", quick)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(drawing, "draw_subgraph", lambda _layers, title: f"<svg>{title}</svg>")


def settled(model: nn.Module, sharpness: float) -> nn.Module:
    """Statistics that fit the activations, and logits far enough apart that losing a channel is noticed."""
    model.train()
    with torch.no_grad():
        for _ in range(30):
            model(torch.randn(128, 1, 8, 8))
        next(m for m in model.modules() if isinstance(m, nn.Linear)).weight.mul_(sharpness)
    return model.requires_grad_(False).eval()


def planted(teacher: nn.Module, blocks: frozenset[str]) -> tuple[Coupling, Selection]:
    """Multiply half of the channels of every layer, at random, and `blocks` by zero, in place; what is left."""
    coupling, rng = trace(teacher, tiny.SHAPE), np.random.default_rng(0)
    halves = {group.name: rng.permutation(group.size)[: group.size // 2].tolist() for group in coupling.free}
    left = Selection({name: tuple(sorted(half)) for name, half in halves.items()}, blocks)
    fold_gates(teacher, coupling, mask(coupling, left))
    return coupling, left


def search(
    teacher: nn.Module, coupling: Coupling, epochs: int, budget: Budget, *, batch: int = 48, **options: Scalar
) -> SubgraphSearchRun:
    read = parse_record(SearchOptions, {"share": 1.0, "growth": 1.0, **options}, "options")
    return SubgraphSearchRun(
        copy.deepcopy(teacher),
        LiveTeacher(FeatureExtractor(teacher)),
        tiny.dataset(),
        read.recipe(Recipe(epochs=epochs, batch_size=batch)),
        derive(3, "subgraph"),
        coupling=coupling,
        options=read,
        budget=budget,
        least=least_widths(coupling, 0.01, 1),
    )


def test_planted_sparsity_is_recovered_in_a_plain_network(tmp_path):
    torch.manual_seed(0)
    teacher = settled(plain(tiny.SHAPE), 30)
    coupling, left = planted(teacher, frozenset())
    budget = Budget(macs=coupling.cost(left).macs)
    found = search(teacher, coupling, 150, budget, weights="frozen", proximal="apg", strength=0.03, rate=0.05)
    scores = found.finish(tmp_path)
    assert found.factors.alive() == left
    assert choose_subgraph(coupling, scores, budget, least_widths(coupling, 0.01, 1), 1, lambda _: 0.0) == left
    # exactly zero where nothing depended on it
    for name, gate in found.factors.gates().items():
        gone = sorted(set(range(len(gate))) - set(left.channels[name]))
        assert not gate[gone].any()


@pytest.mark.slow
def test_planted_sparsity_is_recovered_in_a_residual_network(tmp_path):
    torch.manual_seed(0)
    teacher = settled(ResNet(tiny.SHAPE, [2, 2], [8, 8, 16]), 100)
    coupling, left = planted(teacher, frozenset({"stage2.1"}))
    budget = Budget(macs=coupling.cost(left).macs)
    found = search(teacher, coupling, 800, budget, weights="frozen", proximal="apg", strength=0.01, rate=0.05, ramp=0.1)
    scores = found.finish(tmp_path)
    selection = choose_subgraph(coupling, scores, budget, least_widths(coupling, 0.01, 1), 1, lambda _: 0.0)
    assert selection.removed == left.removed
    present = [group.name for group in coupling.free if group.block not in left.removed]
    assert {name: selection.channels[name] for name in present} == {name: left.channels[name] for name in present}


@pytest.mark.parametrize("proximal", ["ista", "apg"])
def test_without_penalty_everything_stays(tmp_path, proximal):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    coupling = trace(teacher, tiny.SHAPE)
    found = search(teacher, coupling, 4, Budget(macs=1), strength=1e-12, proximal=proximal)
    found.finish(tmp_path)
    assert found.factors.alive() == coupling.whole


def test_the_penalty_grows_until_the_budget_is_met_and_then_rests(tmp_path):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    coupling = trace(teacher, tiny.SHAPE)
    whole = coupling.cost(coupling.whole).macs
    found = search(teacher, coupling, 20, Budget(macs=whole // 2), strength=0.1, growth=2.0, ramp=0.0, rate=0.05)
    found.finish(tmp_path)
    strengths = [entry["strength"] for entry in found.run.history]
    cost = [entry["macs"] for entry in found.run.history]
    met = next(place for place, macs in enumerate(cost) if macs <= whole // 2)
    assert strengths[: met + 1] == [0.1 * 2**place for place in range(met + 1)]
    assert strengths[met + 1] == strengths[met]
    assert found.weights().any() == (cost[-1] > whole // 2)


def test_the_penalty_alone_moves_a_factor_of_average_cost_to_zero_and_as_far_again(tmp_path):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    found = search(teacher, trace(teacher, tiny.SHAPE), 6, Budget(macs=1))
    steps = found.run.recipe.total_steps(found.run.steps)
    assert steps == 12
    sizes = [
        found.options.rate * learning_rate(found.run.recipe, step, found.run.steps) / 1e-3 for step in range(steps)
    ]
    assert found.strength * sum(sizes) == pytest.approx(2.0)
    assert search(teacher, trace(teacher, tiny.SHAPE), 6, Budget(macs=1), strength=0.3).strength == 0.3


def test_the_budget_is_looked_at_within_an_epoch(tmp_path, monkeypatch):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    coupling = trace(teacher, tiny.SHAPE)
    whole, ends = coupling.cost(coupling.whole).macs, {}
    for steps in (1, 1000):
        monkeypatch.setattr(subgraph_search, "BUDGET_STEPS", steps)
        found = search(teacher, coupling, 2, Budget(macs=int(0.8 * whole)), batch=8, strength=30.0, ramp=0.0, rate=0.02)
        with found.gated():
            found.epoch(1)
        ends[steps] = coupling.cost(found.factors.alive()).macs / whole
    assert ends[1000] < ends[1] <= 0.8


def test_a_search_that_removes_nothing_says_so_and_magnitude_chooses(tmp_path):
    where, other = place(tmp_path, "search"), place(tmp_path, "magnitude")
    carry_out(where, Recorder(), strength=1e-12, inherit=False)
    carry_out(other, Recorder(), choose="magnitude", inherit=False)
    one, two = (json.loads((folder.trial / "subgraph.json").read_text(encoding="utf-8")) for folder in (where, other))
    assert one["channels"] == two["channels"]
    said = (where.trial / REMARK_FILE).read_text(encoding="utf-8")
    assert said == "the search removed nothing in 6 steps; channels and blocks were chosen by magnitude"
    assert not (other.trial / REMARK_FILE).exists()


def test_a_latency_alone_neither_grows_the_penalty_nor_lets_it_rest(tmp_path):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    coupling = trace(teacher, tiny.SHAPE)
    found = search(teacher, coupling, 3, Budget(latency_ms=1.0), strength=0.1, growth=2.0)
    found.finish(tmp_path)
    assert {entry["strength"] for entry in found.run.history} == {0.1}
    assert found.weights().all()


@pytest.mark.parametrize("weights", ["frozen", "teacher"])
def test_what_is_trained_and_what_is_kept(tmp_path, weights):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    before = copy.deepcopy(teacher.state_dict())
    found = search(teacher, trace(teacher, tiny.SHAPE), 1, Budget(macs=1), weights=weights, strength=0.1)
    with found.gated():
        found.epoch(1)
    after = found.run.student.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    # statistics and weights of normalisation are the teacher's in any case, or they would undo the factors
    assert not any("running" in name for name in moved)
    assert moved == (
        set() if weights == "frozen" else {n for n, p in found.run.student.named_parameters() if p.requires_grad}
    )
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not torch.equal(found.factors.values, torch.ones_like(found.factors.values))


def test_a_search_cut_inside_an_epoch_goes_on_with_the_costs_of_its_begin(tmp_path, monkeypatch):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    coupling = trace(teacher, tiny.SHAPE)

    def searched(folder: str, last: int) -> tuple[SubgraphSearchRun, list[int]]:
        """Search, but for a kill in step `last`; the steps after which costs are no longer those of the epoch."""
        found = search(teacher, coupling, 12, Budget(macs=1), strength=1.0, rate=0.1, alpha="cost")
        changed: list[int] = []
        real = found.step

        def step(batch: Batch, number: int) -> Tensor:
            if number == last:
                raise KeyboardInterrupt
            loss = real(batch, number)
            assert found.relative_costs is not None
            changed.extend([] if torch.equal(found.weights(), found.relative_costs) else [number])
            return loss

        monkeypatch.setattr(found, "step", step)
        with suppress(KeyboardInterrupt):
            found.finish(tmp_path / folder, checkpoint_minutes=1e-9)
        return found, changed

    whole, changed = searched("whole", -1)
    cut = next(number for number in changed if number % 2 == 0)  # the first of two steps of an epoch
    searched("cut", cut + 1)
    found, _ = searched("cut", -1)
    assert torch.equal(found.factors.values, whole.factors.values)
    for one, two in zip(found.run.history, whole.run.history, strict=True):
        assert {**one, "seconds": 0.0} == {**two, "seconds": 0.0}


def test_a_loss_without_value_ends_the_trial(tmp_path):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    with pytest.raises(TrialError, match="loss became nan in epoch 1; lower search_lr or rate"):
        search(teacher, trace(teacher, tiny.SHAPE), 1, Budget(), search_lr=1e30).finish(tmp_path)


# Trials.


class Recorder:
    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: dict[int, Mapping[str, float]] = {}

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        self.seen[epoch] = dict(metrics)
        if epoch == self.stop:
            raise StopTrial


def place(root: Path, trial: str = "trial") -> TrialPaths:
    where = TrialPaths(trial=root / trial, teachers=root / "teachers", data=root)
    file = where.teachers / teacher_trial(TEACHER, DATA).key / "student.pt"
    if not file.exists():
        torch.manual_seed(11)
        save_weights(settled(residual(tiny.SHAPE), 5), file)
    return where


def carry_out(
    where: TrialPaths, report: Recorder, space: str = "tests.methods.subgraph.test_method", **options: Scalar
) -> Recorder:
    spec = TrialSpec(
        space=f"model:{space}:hand_made",
        architecture=Architecture(()),
        method="subgraph",
        options=options,
        data=DATA,
        teacher=TEACHER,
        recipe=Recipe(epochs=4, batch_size=48),
        seed=5,
    )
    parse_record(Subgraph, {"divisor": 1, "strength": 0.1, "share": 0.75, **options}, "options")(spec, report, where)
    return report


def hand_made(shape: InputShape) -> nn.Module:
    return ResNet(shape, [1, 1], [6, 6, 10])


def saved(where: TrialPaths) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(where.trial / "student.pt", weights_only=True)
    return found


def test_a_student_begins_with_weights_of_its_teacher_whatever_the_search_removed(tmp_path, monkeypatch):
    # Parts that the search takes to zero come back where the budget has room for them. With the search's weights, times
    # their factors, they were dead: 10 % on CIFAR-10 where the teacher's weights lead to 53 %.
    begun: list[nn.Module] = []
    monkeypatch.setattr(subgraph, "train", lambda context, *_, **__: begun.append(context.student))
    where = place(tmp_path)
    for _ in range(2):  # found, then read from the trial's folder
        carry_out(where, Recorder(), strength=300.0, ramp=0.0, rate=0.1)
    description = Description.from_json((where.trial / "subgraph.json").read_text(encoding="utf-8"))
    teacher = residual(tiny.SHAPE)
    file = where.teachers / teacher_trial(TEACHER, DATA).key / "student.pt"
    teacher.load_state_dict(torch.load(file, weights_only=True))
    expected = thin_network(teacher, trace(teacher, tiny.SHAPE), description.selection).state_dict()
    for student in begun:
        assert len(expected) == len(student.state_dict())
        assert all(map(torch.equal, student.state_dict().values(), expected.values()))


def test_parts_that_a_search_removes_keep_their_weights_in_its_network(tmp_path):
    torch.manual_seed(0)
    teacher = settled(residual(tiny.SHAPE), 5)
    coupling = trace(teacher, tiny.SHAPE)
    found = search(teacher, coupling, 3, Budget(macs=1), strength=300.0, ramp=0.0, rate=0.1, weights="frozen")
    found.finish(tmp_path)
    assert found.removed
    weights = [value for name, value in found.run.student.named_parameters() if value.ndim == 4]
    assert all(
        value.flatten(1).any(dim=1).all() and value.transpose(0, 1).flatten(1).any(dim=1).all() for value in weights
    )


@pytest.mark.parametrize("choice", ["search", "uniform", "shallow", "random", "magnitude"])
def test_a_trial_trains_a_student_of_the_hand_made_ones_cost(tmp_path, choice):
    where = place(tmp_path)
    last = carry_out(where, Recorder(), choose=choice).seen[4]
    description = Description.from_json((where.trial / "subgraph.json").read_text(encoding="utf-8"))
    handed = load_trained_student(where.trial).state_dict()
    assert all(torch.equal(value, handed[name]) for name, value in saved(where).items())
    limit = trace(hand_made(tiny.SHAPE), tiny.SHAPE)
    allowed = limit.cost(limit.whole)
    assert (last["params"], last["macs"]) == (description.cost.params, description.cost.macs)
    assert last["params"] <= allowed.params
    assert last["macs"] <= allowed.macs
    # both limits hold; the tighter one is filled
    assert max(last["params"] / allowed.params, last["macs"] / allowed.macs) > 0.9
    student = build_from(description, tiny.SHAPE)
    student.load_state_dict(saved(where))
    assert "latency_ms" in last
    # a search of three epochs at four passes of the teacher, then three passes of the student and one of the teacher
    guide = trace(residual(tiny.SHAPE), tiny.SHAPE)
    teacher = guide.cost(guide.whole).macs
    spent = (3 * 4 * teacher if choice == "search" else 0) + 4 * (3 * last["macs"] + teacher)
    assert last["train_macs"] == 96 * spent
    method = Subgraph(choose=choice, share=0.75)
    assert 4 * method.macs(int(last["macs"]), teacher) == spent
    assert (where.trial / "subgraph.svg").read_text(encoding="utf-8").startswith("<svg")


VARIANTS: list[dict[str, Scalar]] = [
    {"inherit": False},
    {"proximal": "apg", "score": "taylor", "search_ce": 0.5},
    {"inherit": False, "weights": "random", "remedy": "mean", "score": "norm", "granularity": "channel+block+stage"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=["ista", "apg", "random"])
@pytest.mark.parametrize("moment", ["search", "training"])
def test_a_broken_trial_continues_to_the_same_student_bit_for_bit(tmp_path, monkeypatch, options, moment):
    whole, broken = place(tmp_path, "whole"), place(tmp_path, "broken")
    unbroken = carry_out(whole, Recorder(), **options)
    if moment == "training":
        with pytest.raises(StopTrial):
            carry_out(broken, Recorder(stop=2), **options)
    else:
        real, calls = SubgraphSearchRun.step, []

        def dying(self: SubgraphSearchRun, *given: object) -> Tensor:
            calls.append(1)
            if len(calls) == 4:  # in the middle of the second epoch of two steps
                raise KeyboardInterrupt
            return real(self, *given)  # type: ignore[arg-type]

        monkeypatch.setattr(SubgraphSearchRun, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            carry_out(broken, Recorder(), **options)
        monkeypatch.setattr(SubgraphSearchRun, "step", real)
    continued = carry_out(broken, Recorder(), **options)
    one, two = ((where.trial / "subgraph.json").read_text(encoding="utf-8") for where in (whole, broken))
    assert one == two
    assert all(torch.equal(value, saved(broken)[name]) for name, value in saved(whole).items())
    untimed = {"seconds", "latency_ms", "latency_iqr_ms"}
    for epoch, metrics in unbroken.seen.items():
        assert {k: v for k, v in metrics.items() if k not in untimed} == {
            k: v for k, v in continued.seen[epoch].items() if k not in untimed
        }


def test_one_search_leaves_students_for_several_budgets(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "draw_subgraph", draw_subgraph)
    where = place(tmp_path)
    carry_out(where, Recorder(), multiples="1, 0.6,1.4", macs_limit=20_000)
    costs = []
    for name in ("students/0.6", "subgraph", "students/1.4"):
        record = json.loads((where.trial / f"{name}.json").read_text(encoding="utf-8"))
        costs.append(record["cost"]["macs"])
        drawn = (where.trial / f"{name}.svg").read_text(encoding="utf-8")
        assert f"{record['cost']['macs']:,} multiply-adds" in drawn
    assert costs == sorted(set(costs))
    assert costs[0] <= 12_000 < costs[1] <= 20_000 < costs[2] <= 28_000


def test_inherited_weights_are_those_of_the_super_graph(tmp_path, monkeypatch):
    # no search, so the super-graph is the teacher; without training, the student is cut from it
    where = place(tmp_path)
    seen: list[nn.Module] = []
    monkeypatch.setattr(subgraph, "train", lambda setting, *_rest, **_named: seen.append(setting.student))
    carry_out(where, Recorder(), choose="uniform", macs_limit=10**9)
    teacher = residual(tiny.SHAPE)
    teacher.load_state_dict(torch.load(where.teachers / teacher_trial(TEACHER, DATA).key / "student.pt"))
    assert all(torch.equal(value, seen[0].state_dict()[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in seen[0].parameters())


def test_a_budget_below_the_minimum_width_is_refused_before_the_search(tmp_path):
    where = place(tmp_path)
    with pytest.raises(ConfigError, match=r"^a budget of 50 params lies below the \d+ of the smallest subgraph of "):
        carry_out(where, Recorder(), params_limit=50)
    assert not (where.trial / "search.pt").exists()


def test_a_measured_latency_is_a_budget(tmp_path, monkeypatch):
    where = place(tmp_path)

    def pretended(model: nn.Module, *_rest: object, **_named: object) -> object:
        return type("Latency", (), {"ms": sum(p.numel() for p in model.parameters()) / 1000})

    monkeypatch.setattr(subgraph, "measure_latency", pretended)
    last = carry_out(where, Recorder(), choose="uniform", latency_limit_ms=2.0).seen[4]
    assert 1500 < last["params"] <= 2000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 0.0}, "share must be above 0"),
        ({"granularity": "channels"}, "granularity joins some of channel, block, stage by '\\+', got 'channels'"),
        ({"growth": 0.5}, "growth must be 1"),
        ({"weights": "random"}, 'set remedy = "mean" or "max"'),
        ({"floor": 0.0}, "floor must lie in"),
        ({"divisor": 0}, "divisor must be 1 or more, got 0"),
        ({"multiples": "half"}, "multiples are numbers such as '1, 0.5', got 'half'"),
        ({"multiples": "1, 0"}, "multiples are numbers"),
        ({"multiples": "1, inf"}, "got '1, inf'; give each above 0 and at most 1000"),
        ({"multiples": "nan"}, "got 'nan'; give each above 0 and at most 1000"),
        ({"multiples": "1e308"}, "got '1e308'; give each above 0 and at most 1000"),
        ({"params_limit": 2**63}, "params_limit does not fit into 64 bits; give a number nearer to 0"),
        ({"params_limit": -1}, "limits must be 0"),
        ({"choose": "best"}, "it should be 'search', 'uniform'"),
    ],
)
def test_options_out_of_range_are_refused_in_a_sentence(options, words):
    with pytest.raises(ConfigError, match=words):
        parse_record(Subgraph, options, "options of method 'subgraph'")


def test_the_search_is_part_of_the_training_s_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "loading", tiny.Delivering())
    seen = carry_out(place(tmp_path), Recorder()).seen
    searched, own = (
        torch.load(tmp_path / "trial" / file, weights_only=True) for file in ("search.pt", "checkpoint.pt")
    )
    before = searched["run"]["history"]
    assert before[-1]["seconds"] > 0
    for epoch, metrics in seen.items():
        assert metrics["seconds"] == pytest.approx(before[-1]["seconds"] + own["history"][epoch - 1]["seconds"])
        assert metrics["images_delivered"] == 10 * len(before) + 10 * epoch
