from __future__ import annotations

import pytest
import torch

from automl_kd.bilevel.pure import LOGITS_KEY, outputs_of
from automl_kd.bilevel.tangents import CentralDifference, OneSidedDifference, Tangents, forward_mode
from automl_kd.models.features import FeatureExtractor
from tests.bilevel.problems import TAPS, batch, noise, resnet

ALL = [forward_mode, CentralDifference(1e-5), OneSidedDifference(1e-7)]


def cubic(weights):
    return {"cube": weights["x"] ** 3, "other": weights["y"] * 2}


@pytest.mark.parametrize("tangents", ALL)
def test_three_numbers_by_hand(tangents: Tangents):
    # d x^3 along d = 3 x^2 d: 3 1 2 = 6, 3 4 1 = 12, 0.
    weights = {"x": torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64), "y": torch.ones(1, dtype=torch.float64)}
    direction = {"x": torch.tensor([2.0, 1.0, 5.0], dtype=torch.float64)}
    values, slopes = tangents(cubic, weights, direction)
    assert values["cube"].tolist() == [1.0, 8.0, 0.0]
    torch.testing.assert_close(
        slopes["cube"], torch.tensor([6.0, 12.0, 0.0], dtype=torch.float64), rtol=1e-6, atol=1e-6
    )
    assert slopes.get("other", torch.zeros(1)) == 0


def test_forward_mode_is_the_transpose_of_backward():
    # < J u, r > = < u, J' r > for every output of a residual network with batch normalisation.
    network = resnet()
    outputs = outputs_of(FeatureExtractor(network, TAPS), batch(4, 0)[0])
    weights = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    u = {name: noise(value, 1) for name, value in weights.items()}
    _, moved = forward_mode(outputs, weights, u)
    for seed, (name, value) in enumerate(outputs(weights).items()):
        r = noise(value, 10 + seed)
        back = torch.autograd.grad(value, list(weights.values()), r, retain_graph=True, materialize_grads=True)
        wanted = sum((slope * u[key]).sum() for key, slope in zip(weights, back, strict=True))
        torch.testing.assert_close((moved[name] * r).sum(), wanted, rtol=1e-10, atol=1e-12)
    assert all(not value.requires_grad for value in moved.values())


class Cube(torch.autograd.Function):
    """A function of somebody's own, that says nothing of forward derivatives."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


def test_a_difference_serves_where_an_operation_has_no_forward_rule():
    # d x^3 along 2 at 1 is 6; a central difference at distance 1e-3 is off by d^3 R^2 = 8 (1e-3 / 2)^2.
    weights, direction = ({"x": torch.tensor([value], dtype=torch.float64)} for value in (1.0, 2.0))
    values, slopes = forward_mode(lambda at: {"y": Cube.apply(at["x"])}, weights, direction)
    assert values["y"].item() == 1.0
    assert slopes["y"].item() == pytest.approx(6 + 2e-6, abs=1e-9)


def test_other_errors_of_a_network_are_its_own():
    def failing(weights):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        forward_mode(failing, {"x": torch.ones(1)}, {"x": torch.ones(1)})


@pytest.mark.parametrize(("kind", "order"), [(CentralDifference, 2), (OneSidedDifference, 1)])
def test_differences_have_their_order(kind, order: int):
    # exp has all its derivatives; a tenth of the radius divides the error by 10^order.
    weights, direction = ({"x": torch.tensor([value], dtype=torch.float64)} for value in (0.3, 1.0))
    errors = []
    for radius in (1e-2, 1e-3):
        _, slopes = kind(radius)(lambda at: {"y": at["x"].exp()}, weights, direction)
        errors.append(float((slopes["y"] - weights["x"].exp()).abs()))
    assert errors[0] / errors[1] == pytest.approx(10**order, rel=0.02)


@pytest.mark.parametrize("tangents", ALL)
def test_no_direction_no_movement(tangents: Tangents):
    weights = {"x": torch.ones(2, dtype=torch.float64), "y": torch.ones(1, dtype=torch.float64)}
    _, slopes = tangents(cubic, weights, {"x": torch.zeros(2, dtype=torch.float64)})
    assert slopes["cube"].tolist() == [0.0, 0.0]


def test_forward_mode_runs_under_autocast_of_its_own():
    # The tangents of a pass in bfloat16 are those of float32 but for its noise; here of one linear layer, 8 bits each.
    generator = torch.Generator().manual_seed(0)
    images, weight, direction = (torch.randn(8, 8, generator=generator) for _ in range(3))

    def outputs(weights):
        with torch.autocast("cpu", torch.bfloat16):
            return {LOGITS_KEY: images @ weights["w"]}

    values, slopes = forward_mode(outputs, {"w": weight}, {"w": direction})
    assert values[LOGITS_KEY].dtype == torch.bfloat16
    wanted = images @ direction
    assert (slopes[LOGITS_KEY].float() - wanted).norm() / wanted.norm() < 0.02


@pytest.mark.parametrize("kind", [CentralDifference, OneSidedDifference])
def test_a_radius_must_be_positive(kind):
    with pytest.raises(ValueError, match="radius must be above 0, got 0"):
        kind(0.0)
