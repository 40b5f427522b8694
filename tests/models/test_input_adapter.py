"""Networks that take other images than a batch has: what their hooks make of images, and of outputs."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from automl_kd.models import build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.folding import fold_teacher
from automl_kd.models.input_adapter import InputAdapter, adapt, adapted, change_of_moments, find_adapter, resize_batch
from automl_kd.space import InputShape

DATA = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def images(size: int = 8, count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size))


def normalized(pixels: torch.Tensor, moments) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in moments)
    return (pixels - mean) / std


@pytest.mark.parametrize(
    "wanted", [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,), (0.5,)), ((0.0,), (1 / 255,))]
)
def test_images_are_what_the_network_itself_would_have_made_of_them(wanted):
    factor, shift = change_of_moments(DATA, wanted)
    seen: list[torch.Tensor] = []
    network = adapt(Listener(seen), InputAdapter(factor=factor, shift=shift))
    network(normalized(images(), DATA))
    torch.testing.assert_close(seen[0], normalized(images(), wanted), rtol=1e-5, atol=1e-5 / min(wanted[1]))


class Listener(nn.Module):
    """Keeps what it was given, and returns the mean of each channel."""

    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.seen = seen
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        self.seen.append(given)
        return given.mean((2, 3)) * self.weight


def test_equal_moments_change_nothing():
    assert change_of_moments(DATA, DATA) == ((), ())
    assert InputAdapter(*(0, *change_of_moments(DATA, DATA))).idle
    assert find_adapter(adapt(nn.Flatten(), InputAdapter())) is None


def test_colours_in_reverse_keep_their_own_moments():
    wanted = ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))  # of red, green and blue
    factor, shift = change_of_moments(DATA, wanted)
    seen: list[torch.Tensor] = []
    adapt(Listener(seen), InputAdapter(factor=factor, shift=shift, reverse=True))(normalized(images(), DATA))
    torch.testing.assert_close(seen[0], normalized(images(), wanted).flip(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [4, 6, 16])
def test_size_and_layout(size, layout):
    batch = images(12).contiguous(memory_format=layout)
    found = resize_batch(batch, size)
    expected = F.interpolate(images(12), (size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.is_contiguous(memory_format=layout)
    assert resize_batch(batch, 12) is batch


def test_outputs_are_those_of_the_classes():
    seen: list[torch.Tensor] = []
    network = adapt(Listener(seen), InputAdapter(outputs=(2, 0)))
    assert torch.equal(network(images()), images().mean((2, 3))[:, [2, 0]])
    with FeatureExtractor(network) as extractor:
        assert extractor(images()).logits.shape == (4, 2)


def test_copies_folded_copies_and_double_precision_have_it_too():
    shape = InputShape(3, 16, 16, 7)
    torch.manual_seed(0)
    network = adapt(build_model("resnet8", shape), InputAdapter(16, (2.0,) * 3, (0.1,) * 3, True, (6, 5, 1))).eval()
    expected = network(images())
    torch.testing.assert_close(deepcopy(network)(images()), expected)
    folded = fold_teacher(FeatureExtractor(network), images())
    assert not folded.reason
    torch.testing.assert_close(folded.teacher(images()).logits, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(deepcopy(network).double()(images().double()).float(), expected, rtol=1e-4, atol=1e-4)
    calls = torch.func.functional_call(network, dict(network.named_parameters()), (images(),))
    torch.testing.assert_close(calls, expected)


def test_numbers_made_in_an_evaluation_serve_training_too():
    network = adapt(
        build_model("resnet8", InputShape(3, 8, 8, 7)), InputAdapter(0, (2.0,) * 3, (0.1,) * 3, False, (1, 2))
    )
    with torch.inference_mode():
        network.eval()(images())
    network.train()(images()).sum().backward()
    assert all(one.grad is not None for one in network.parameters() if one.requires_grad)


def test_the_cost_is_that_of_its_own_images():
    plain, larger = InputShape(3, 8, 8, 7), InputShape(3, 16, 16, 7)
    network = adapt(build_model("resnet8", larger), InputAdapter(size=16))
    assert count_cost(network, plain) == count_cost(build_model("resnet8", larger), larger)


def test_an_adapter_for_a_while_leaves_no_trace():
    network = Listener([])
    with adapted(network, InputAdapter(outputs=(0,))):
        assert network(images()).shape == (4, 1)
    assert network(images()).shape == (4, 3)
    assert find_adapter(network) is None


def test_on_a_gpu_nothing_comes_back_to_the_processor():
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = adapt(nn.Flatten().cuda(), InputAdapter(4, (2.0,) * 3, (0.1,) * 3, True, (0, 7)))
        made = network(torch.empty(2, 3, 8, 8, device="cuda"))
    assert made.device.type == "cuda"
    assert made.shape == (2, 2)
