"""Whatever a network does in its forward pass, images stay as they are and logits come out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError, TrialError
from automl_kd.models import build_model
from automl_kd.models.foreign.adoption import adopt, find_door, unchecked
from automl_kd.models.foreign.copying import copy_network
from tests import strange
from tests.tiny import SHAPE


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Noting(strange.Body):
    """Notes where the images lay that it was given."""

    def __init__(self) -> None:
        super().__init__(SHAPE)
        self.places: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.places.append(x.data_ptr())
        return super().forward(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("guard", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("inside", [True, False])
def test_images_stay_as_they_are(training: bool, guard: Callable[[], torch.no_grad], inside: bool):
    torch.manual_seed(0)
    plain = strange.Copying(SHAPE)
    network = adopt(strange.Writing(SHAPE), SHAPE).train(training)
    network.load_state_dict(plain.state_dict())
    plain.train(training)
    x = images()
    with guard():
        given = images() if inside else x
        for _ in range(3):
            found, expected = network(given), plain(images())
            assert torch.equal(given, images())
            assert torch.equal(found, expected)


def test_images_that_need_a_gradient_may_be_written_over_too():
    network = adopt(strange.Writing(SHAPE), SHAPE).eval()
    x = images().requires_grad_()
    for _ in range(2):
        (slope,) = torch.autograd.grad(network(x).sum(), x)
        assert slope.abs().sum() > 0


def test_who_writes_nowhere_is_copied_for_once():
    network = adopt(Noting(), SHAPE)
    x, others = images(), images(3)
    for given in (x, x, x, others, others):
        network(given)
    with torch.inference_mode():
        network.eval()(x)
        network(x)
    assert isinstance(network, Noting)
    copies = [place not in {x.data_ptr(), others.data_ptr()} for place in network.places]
    assert copies == [True, False, False, True, False, True, False]


def test_who_writes_sometimes_is_refused():
    network = adopt(strange.Sometimes(SHAPE), SHAPE)
    network(images())
    with pytest.raises(TrialError, match=r"a Sometimes writes into the images .* not in every pass"):
        network(images())


@pytest.mark.parametrize(
    "dress",
    [
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: (logits, None),
        lambda logits: [logits, logits],
        lambda logits: logits[:, :, None, None],
        lambda logits: (logits[:, :, None, None], 1),
    ],
)
def test_logits_are_found(dress: Callable[[Tensor], object]):
    torch.manual_seed(0)
    network = strange.Returning(SHAPE, dress).eval()
    expected = network.classifier(network.maps(images()).mean((2, 3)))
    assert torch.equal(adopt(network, SHAPE)(images()), expected)


def test_logits_of_a_record_are_found():
    assert adopt(strange.record(SHAPE), SHAPE)(images()).shape == (4, 3)


@pytest.mark.parametrize(
    ("dress", "got"),
    [
        (lambda logits: {"out": logits}, "a dict, where"),
        (lambda _: None, "a NoneType, where"),
        (lambda logits: (None, logits), "a tuple, where"),
        (lambda logits: (logits[:, :2], logits), r"a tuple with float32 of shape \(4, 2\), where"),
        (lambda logits: logits.flatten(), r"a tensor of float32 of shape \(12,\), where"),
        (lambda logits: logits[:2], r"a tensor of float32 of shape \(2, 3\), where"),
        (lambda logits: logits.argmax(1, keepdim=True).expand(-1, 3), r"a tensor of int64 of shape \(4, 3\), where"),
    ],
)
def test_whatever_else_is_one_sentence(dress: Callable[[Tensor], object], got: str):
    network = adopt(strange.Returning(SHAPE, dress), SHAPE)
    with pytest.raises(
        TrialError, match=f"^a Returning returned {got} logits of shape .4, 3., .* were wanted: .*; let"
    ):
        network(images())
    with unchecked(network):
        network(images())


def test_lazy_layers_are_settled():
    network = build_model("tests.strange:settling", SHAPE)
    assert network.state_dict()["classifier.weight"].shape == (3, 4 * 6 * 6)
    assert network.training
    assert network(images()).shape == (4, 3)


def test_a_scripted_network_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="the network Linear is scripted"):
        adopt(scripted, SHAPE)


def test_what_is_no_network_is_refused():
    with pytest.raises(ConfigError, match=r"wanted and an int was built; build a torch\.nn\.Module"):
        adopt(3, SHAPE)  # type: ignore[arg-type]  # the mistake


def test_names_stay_and_nobody_is_adopted_twice():
    network = strange.Body(SHAPE)
    names = [*network.state_dict()]
    assert adopt(adopt(network, SHAPE), SHAPE) is network
    assert [*network.state_dict()] == names
    assert len(network._forward_hooks) == len(network._forward_pre_hooks) == 1


def test_a_copy_has_a_door_of_its_own():
    network = adopt(strange.Writing(SHAPE), SHAPE)
    copy = deepcopy(network)
    assert find_door(copy) not in {None, find_door(network)}
    x = images()
    copy(x)
    assert torch.equal(x, images())
    assert find_door(network).writes == {}  # type: ignore[union-attr]  # it has one


def test_a_network_that_keeps_what_it_computed_can_be_copied():
    network = strange.weight_norm(SHAPE).eval()
    with pytest.raises(RuntimeError):
        deepcopy(network)
    copy = copy_network(network)
    assert torch.equal(copy(images()), network(images()))
    with torch.no_grad():
        copy.get_parameter("conv.weight_g").mul_(2)
    assert not torch.equal(copy(images()), network(images()))
