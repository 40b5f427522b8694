from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.separate import (
    by_fresh_statistics,
    by_own_statistics,
    output_gradients,
    separate,
    weight_gradients,
)


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, 1),
        nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 4, (3, 5), padding=(1, 2), groups=4),
    ],
    ids=str,
)
def test_weight_gradients_are_those_of_single_images(layer: nn.Conv2d):
    layer, x = layer.double(), images(3, 4, 8, 7)
    out, (run,) = separate(layer, x, by_own_statistics)
    (gradient,) = output_gradients(out, 2 * out, [run])
    assert gradient is not None
    found = weight_gradients(run, gradient).flatten(1)
    for one, mine in zip(x, found, strict=True):
        (alone,) = torch.autograd.grad(layer(one[None]).square().sum(), layer.weight)
        torch.testing.assert_close(mine, alone.flatten())


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (3, 2, 5, 4)])
def test_so_are_those_of_a_linear_layer_on_the_last_axis(shape: tuple[int, ...]):
    layer, x = nn.Linear(4, 6).double(), images(*shape)
    out, (run,) = separate(layer, x, by_own_statistics)
    (gradient,) = output_gradients(out, 2 * out, [run])
    assert gradient is not None
    found = weight_gradients(run, gradient).flatten(1)
    for one, mine in zip(x, found, strict=True):
        (alone,) = torch.autograd.grad(layer(one[None]).square().sum(), layer.weight)
        torch.testing.assert_close(mine, alone.flatten())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3))
    for parameter in body[1].parameters():
        nn.init.normal_(parameter)
    return body.double()


def test_own_statistics_are_those_of_an_image_that_comes_alone():
    student, x = network(), images(4, 2, 8, 8)
    together, _ = separate(student, x, by_own_statistics)
    alone = torch.cat([student.train()(one[None]) for one in x])
    torch.testing.assert_close(together, alone)


def test_fresh_statistics_are_those_of_evaluation_before_training():
    student, x = network(), images(4, 2, 8, 8)
    torch.testing.assert_close(separate(student, x, by_fresh_statistics)[0], student.eval()(x))


def test_an_activation_that_writes_over_a_map_does_not_change_whose_gradient_is_found():
    student, x = network(), images(4, 2, 8, 8)
    out, (_, norm, _) = separate(student, x, by_own_statistics)
    (gradient,) = output_gradients(out, torch.ones_like(out), [norm])
    assert gradient is not None
    # A layer's bias is added at every position, so its gradient is the sum of those of the outputs.
    (bias,) = torch.autograd.grad(out.sum(), student.get_parameter("1.bias"))
    torch.testing.assert_close(gradient.sum((0, 2, 3)), bias)


def test_the_student_is_as_before():
    student, x = network(), images(4, 2, 8, 8)
    before = {name: one.clone() for name, one in student.state_dict().items()}
    with pytest.raises(RuntimeError):
        separate(student, x[:, :1], by_own_statistics)
    separate(student, x, by_own_statistics)
    assert all(torch.equal(one, before[name]) for name, one in student.state_dict().items())
    assert "forward" not in vars(student[1])
    assert not any(module._forward_hooks for module in student.modules())


def test_a_single_position_has_no_statistics():
    student = nn.Sequential(nn.Conv2d(2, 3, 8), nn.BatchNorm2d(3)).double()
    with pytest.raises(ConfigError, match=r"\(4, 3, 1, 1\); take larger images"):
        separate(student, images(4, 2, 8, 8), by_own_statistics)
