"""Learned losses: equal to KD at first, blind to the number of classes, and kept in a file that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.errors import CheckpointError, ConfigError
from automl_kd.losses.base import Example
from automl_kd.losses.learned.file import LearnedLoss, load_learned, save_learned
from automl_kd.losses.learned.loss import Learned, LossLayout, Weighing, class_inputs, gate, map_loss, weighted_kd
from automl_kd.losses.learned.start import initial_phi, share_of_kd
from automl_kd.losses.learned.surface import probabilities, surface
from automl_kd.models.features import Outputs
from automl_kd.tasks.soft_targets import kd_loss

T = 3.0


def logits(batch: int, classes: int, *, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, two = (3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return one, two, torch.randint(classes, (batch,), generator=generator)


def moved(phi: dict[str, Tensor], *, seed: int = 0, by: float = 0.5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: (v + by * torch.randn(v.shape, generator=generator)).double() for name, v in phi.items()}


def example(student: Outputs, teacher: Outputs, labels: Tensor) -> Example:
    return Example(student, teacher, labels, torch.arange(len(labels)), student.logits.shape[1], len(labels), epochs=1)


def learned(layout: LossLayout, student: Outputs, teacher: Outputs, labels: Tensor, **options: object) -> Learned:
    how = {"temperature": T, "ce": 0.0, "logits": 1.0, "maps": 1.0, **options}
    torch.manual_seed(0)
    return Learned(Weighing(layout, **how), example(student, teacher, labels))  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
def test_it_is_exactly_kd_at_the_start(label, rescale):
    one, two, labels = logits(7, 10, seed=1)
    one.requires_grad_()
    layout = LossLayout(label=label)
    phi = {name: value.double() for name, value in initial_phi(layout, T, seed=4).items()}
    outputs = Outputs(one, {}), Outputs(two, {})
    term = learned(layout, *outputs, labels, rescale=rescale)(*outputs, labels, phi)["lkd"]
    expected = kd_loss(one, two, T)
    torch.testing.assert_close(term, expected, rtol=0, atol=1e-12)
    (slope,), (wanted,) = torch.autograd.grad(term, one), torch.autograd.grad(expected, one)
    torch.testing.assert_close(slope, wanted, rtol=0, atol=1e-12)


def test_two_classes_weighted_by_hand():
    # teacher (3/4, 1/4), student (1/2, 1/2), weights 2 and 0: 2 * 3/4 ln(3/2), at temperature 1
    teacher, student = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2)
    found = weighted_kd(student, teacher, torch.tensor([[2.0, 0.0]]), 1.0)
    torch.testing.assert_close(found, 1.5 * torch.tensor(1.5).log())


def test_inputs_of_a_class_by_hand():
    # student logits (1, -1): standardised (1, -1); p = (e, 1/e) / (e + 1/e). Teacher equal logits: p = 1/2, z = 0.
    found = class_inputs(torch.tensor([[1.0, -1.0]]), torch.zeros(1, 2), torch.tensor([1]), 1.0)
    p = torch.tensor([1.0, -1.0]).softmax(0)
    expected = torch.tensor([[[p[0], 0.5, 1.0, 0.0, 0.0], [p[1], 0.5, -1.0, 0.0, 1.0]]])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_gate_is_one_where_its_last_layer_is_zero_and_stays_below_two():
    phi = initial_phi(LossLayout(), T, seed=0)
    weights = {name.removeprefix("logits."): value for name, value in phi.items()}
    x = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
    assert gate(x, weights).equal(torch.ones(6, 3))
    weights["last.bias"] = torch.tensor([9.0])
    assert 1.9 < gate(x, weights).min() <= gate(x, weights).max() < 2
    assert sum(value.numel() for value in phi.values()) == 385


def test_the_order_and_number_of_classes_do_not_matter():
    phi = moved(initial_phi(LossLayout(), T, seed=0))
    for classes in (3, 10):
        one, two, labels = logits(5, classes, seed=classes)
        order = torch.randperm(classes, generator=torch.Generator().manual_seed(1))
        values = []
        for a, b, c in ((one, two, labels), (one[:, order], two[:, order], order.argsort()[labels])):
            outputs = Outputs(a, {}), Outputs(b, {})
            values.append(learned(LossLayout(), *outputs, c)(*outputs, c, phi)["lkd"])
        torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize("form", ["weighted", pytest.param("free", marks=pytest.mark.slow)])
def test_rescaled_it_pulls_as_hard_as_kd_whatever_phi_says(form):
    one, two, labels = logits(6, 4, seed=2)
    one.requires_grad_()
    layout = LossLayout(form=form)
    phi = moved(initial_phi(layout, T, seed=0))
    outputs = Outputs(one, {}), Outputs(two, {})
    lengths = []
    for rescale in (True, False):
        (slope,) = torch.autograd.grad(
            learned(layout, *outputs, labels, rescale=rescale)(*outputs, labels, phi)["lkd"], one
        )
        lengths.append(slope.norm())
    (wanted,) = torch.autograd.grad(kd_loss(one, two, T), one)
    torch.testing.assert_close(lengths[0], wanted.norm())
    assert not torch.isclose(lengths[1], wanted.norm(), rtol=1e-3)


def test_shares_of_kd_are_never_negative_and_add_up_to_it():
    one, two, _ = logits(50, 6, seed=3)
    shares = share_of_kd(one, two, T)
    assert shares.min() >= 0
    torch.testing.assert_close(shares.sum(1).mean(), kd_loss(one, two, T))


@pytest.mark.slow
def test_the_free_form_begins_near_kd_and_above_zero():
    layout = LossLayout(form="free")
    phi = {name: value.double() for name, value in initial_phi(layout, T, seed=0).items()}
    generator = torch.Generator().manual_seed(9)
    teacher = T * torch.randn(200, 10, generator=generator, dtype=torch.float64)
    values, truths = [], []
    for apart in (0.0, 0.5, 1.0):
        student = (1 - apart) * teacher + apart * T * torch.randn(200, 10, generator=generator, dtype=torch.float64)
        outputs, labels = (Outputs(student, {}), Outputs(teacher, {})), teacher.argmax(1)
        values.append(learned(layout, *outputs, labels)(*outputs, labels, phi)["lkd"].item())
        truths.append(kd_loss(student, teacher, T).item())
    assert min(values) > 0
    assert values[0] < values[1] < values[2]
    np.testing.assert_allclose(values[1:], truths[1:], rtol=0.35)


def test_maps_begin_as_a_mean_squared_difference_of_standardised_maps():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(4, 3, 4, 4, generator=generator), torch.randn(4, 3, 2, 2, generator=generator)
    phi = initial_phi(LossLayout(logits=False, pairs=1), T, seed=0)
    found = map_loss(one, two, {name.removeprefix("pair0."): value for name, value in phi.items()})
    a, b = F.batch_norm(F.avg_pool2d(one, 2), None, None, training=True), F.batch_norm(two, None, None, training=True)
    torch.testing.assert_close(found, (a - b).square().mean(), atol=1e-3, rtol=1e-3)


def test_maps_are_projected_by_layers_of_its_own():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 2, 0])
    student = Outputs(torch.randn(4, 3, generator=generator), {"a": torch.randn(4, 2, 4, 4, generator=generator)})
    teacher = Outputs(torch.randn(4, 3, generator=generator), {"b": torch.randn(4, 5, 4, 4, generator=generator)})
    layout = LossLayout(pairs=1)
    loss = learned(layout, student, teacher, labels, stages="a:b")
    terms = loss(student, teacher, labels, initial_phi(layout, T, seed=0))
    assert terms.keys() == {"ce", "lkd", "lkd_maps"}
    assert [tuple(value.shape) for value in loss.parameters()] == [(5, 2, 1, 1)]
    torch.testing.assert_close(loss.departure(student, teacher, labels, initial_phi(layout, T, seed=0)).item(), 0.0)
    flat = Outputs(student.logits, {"a": student.features["a"].flatten(1)})
    with pytest.raises(ConfigError, match="lkd compares maps"):
        learned(layout, flat, teacher, labels, stages="a:b")


def test_departure_by_hand():
    # Every weight is 2 sigmoid(ln 3) = 3/2, so the mean of (w - 1)^2 is 1/4.
    one, two, labels = logits(3, 4, seed=0)
    phi = {name: value.double() for name, value in initial_phi(LossLayout(), T, seed=0).items()}
    phi["logits.last.bias"] = torch.tensor([3.0], dtype=torch.float64).log()
    outputs = Outputs(one, {}), Outputs(two, {})
    found = learned(LossLayout(), *outputs, labels).departure(*outputs, labels, phi)
    torch.testing.assert_close(found.item(), 0.25)


def saved(path: Path, fits: LossLayout, **changes: object) -> LearnedLoss:
    first, last = (moved(initial_phi(fits, T, seed=0), seed=seed) for seed in (1, 2))
    loss = LearnedLoss(fits, T, last, [first, last])
    save_learned(loss, path)
    if changes:
        torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return loss


def test_a_file_gives_back_the_loss_and_its_course(tmp_path):
    layout = LossLayout(label=False, pairs=2)
    loss = saved(tmp_path / "loss.pt", layout)
    found = load_learned(tmp_path / "loss.pt", layout, torch.zeros((), dtype=torch.float64))
    assert found.temperature == T
    assert all(found.phi[name].equal(value) for name, value in loss.phi.items())
    assert all(found.at(0.49)[name].equal(value) for name, value in loss.history[0].items())
    assert all(found.at(0.5)[name].equal(value) for name, value in loss.history[1].items())
    assert found.phi["pair1.first.weight"].dtype == torch.float64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "is a learned loss of version 2, wanted is version 1"),
        ({"layout": {"form": "free"}}, "is a learned loss with form = free, and the options ask for form = weighted"),
        ({"phi": {}}, "lacks weights of its own loss networks"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(tmp_path, changes, message):
    saved(tmp_path / "loss.pt", LossLayout(), **changes)
    with pytest.raises(CheckpointError, match=message):
        load_learned(tmp_path / "loss.pt", LossLayout(), torch.zeros(()))


def test_what_is_no_learned_loss_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no learned loss"):
        load_learned(tmp_path / "missing.pt", LossLayout(), torch.zeros(()))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="is not a learned loss"):
        load_learned(tmp_path / "other.pt", LossLayout(), torch.zeros(()))
    (tmp_path / "broken.pt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_learned(tmp_path / "broken.pt", LossLayout(), torch.zeros(()))


def test_a_surface_shows_what_the_networks_answer():
    phi = {name: value.clone() for name, value in initial_phi(LossLayout(), T, seed=0).items()}
    phi["logits.last.bias"] = torch.tensor([3.0]).log()
    found = surface(phi, LossLayout(), T, classes=10)
    assert found.keys() == {"true class", "other class"}
    np.testing.assert_allclose(found["true class"], np.full((41, 41), 1.5), rtol=1e-6)
    # A network that looks at the teacher's probability alone: equal along each row, rising from row to row.
    phi = {name: torch.zeros_like(value) for name, value in phi.items()}
    phi["logits.first.weight"][0, 1] = phi["logits.second.weight"][0, 0] = phi["logits.last.weight"][0, 0] = 1.0
    found = surface(phi, LossLayout(), T, classes=10)
    p = torch.from_numpy(probabilities())
    by_hand = 2 * torch.sigmoid(torch.tanh(torch.tanh(p)))
    np.testing.assert_allclose(found["other class"], by_hand[:, None].expand(-1, 41).numpy(), rtol=1e-6)
    assert surface({}, LossLayout(logits=False, pairs=1), T, classes=10) == {}
