"""Multiply-adds by hand, the same for whatever kernel and device, and as torchvision publishes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision import models

from automl_kd.models import build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.space import InputShape

CIFAR = InputShape(3, 32, 32, 10)
ROWS = InputShape(1, 6, 8, 5)
"""Images of six rows of eight, which the networks below take for six tokens of size 8."""


class Tokens(nn.Module):
    """A network of tokens from a layer and what to do with it."""

    def __init__(self, layer: nn.Module, run: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.layer, self.run = layer, run

    def forward(self, images: Tensor) -> object:
        return self.run(self.layer, images.squeeze(1))


def scripted_products(_: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("bij,bkj->bik", x, x) @ torch.bmm(x, x.new_ones(len(x), 8, 7))


def by_head(_: nn.Module, x: Tensor) -> Tensor:
    heads = x.unflatten(2, (4, 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads, heads)


def grouped(_: nn.Module, x: Tensor) -> Tensor:
    heads = x.unflatten(2, (4, 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads[:, :2], heads[:, :2], enable_gqa=True)


def attend(layer: nn.Module, x: Tensor) -> object:
    return layer(x, x, x, need_weights=False)


def plain(layer: nn.Module, x: Tensor) -> object:
    return layer(x)


def functional(_: nn.Module, x: Tensor) -> Tensor:
    return F.linear(F.conv1d(x, x.new_ones(4, 6, 3), padding=1), x.new_ones(5, 8))


def vectors(_: nn.Module, x: Tensor) -> Tensor:
    return (x @ x.new_ones(8)).sum() + x[0, 0].dot(x[0, 1])


ATTENTION = 6 * 6 * (8 + 8)  # of six tokens: scores and mixtures
PROJECTED = 6 * 4 * 8 * 8  # queries, keys, values and the way out
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor], object], int]] = {
    "products": (nn.Identity, scripted_products, 6 * 6 * 8 + 6 * 8 * 7 + 6 * 6 * 7),
    "functional": (nn.Identity, functional, 4 * 6 * 3 * 8 + 4 * 8 * 5),
    "vectors": (nn.Identity, vectors, 6 * 8 + 8),
    "linear": (lambda: nn.Linear(8, 5), plain, 6 * 8 * 5),
    "bilinear": (lambda: nn.Bilinear(8, 8, 5), lambda layer, x: layer(x, x), 6 * 8 * 8 * 5),
    "attention": (nn.Identity, by_head, ATTENTION),
    "grouped attention": (nn.Identity, grouped, ATTENTION),
    "multihead": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), attend, PROJECTED + ATTENTION),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        plain,
        PROJECTED + ATTENTION + 2 * 6 * 8 * 16,
    ),
    # Four gates of a long short-term memory, three of a gated unit, one of a plain one.
    "lstm": (lambda: nn.LSTM(8, 7, 2, batch_first=True), plain, 6 * 4 * (8 * 7 + 7 * 7 + 7 * 7 + 7 * 7)),
    "both ways": (lambda: nn.LSTM(8, 7, batch_first=True, bidirectional=True), plain, 2 * 6 * 4 * (8 * 7 + 7 * 7)),
    "projected": (lambda: nn.LSTM(8, 7, batch_first=True, proj_size=3), plain, 6 * (4 * (8 * 7 + 3 * 7) + 7 * 3)),
    "gru": (lambda: nn.GRU(8, 7, batch_first=True), plain, 6 * 3 * (8 * 7 + 7 * 7)),
    "rnn": (lambda: nn.RNN(8, 7, batch_first=True), plain, 6 * (8 * 7 + 7 * 7)),
    "cell": (lambda: nn.LSTMCell(8, 7), lambda layer, x: layer(x[:, 0]), 4 * (8 * 7 + 7 * 7)),
}


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor:UserWarning")
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize(
    ("name", "device"),
    # torch has no rule for the shapes of one kernel, the gated unit's on CUDA without cuDNN.
    [(name, device) for name in LAYERS for device in ("cpu", "meta", "cuda") if (name, device) != ("gru", "cuda")],
)
def test_by_hand_on_every_device(name: str, device: str):
    make, run, macs = LAYERS[name]
    # A fake tensor on "cuda" is sent where a real one would be, but for what asks the card itself, as cuDNN does.
    fake = FakeTensorMode() if device == "cuda" else nullcontext()
    with fake, torch.device(device), torch.backends.cudnn.flags(enabled=False):
        network = Tokens(make(), run).eval()
        images = torch.ones(1, 1, 6, 8)
        with torch.no_grad(), counting() as counter:
            network(images)
    assert counter.macs == macs


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor:UserWarning")
@pytest.mark.parametrize("name", ["lstm", "both ways", "projected", "gru", "rnn"])
def test_by_hand_of_cudnn(name: str):
    make, _, macs = LAYERS[name]
    kind = {"lstm": 2, "gru": 3, "rnn": 1}.get(name, 2)
    with FakeTensorMode(), torch.device("cuda"), torch.no_grad(), counting() as counter:
        layer: Any = make()
        directions = 2 if layer.bidirectional else 1
        state = torch.zeros(layer.num_layers * directions, 1, layer.proj_size or layer.hidden_size)
        memory = torch.zeros(layer.num_layers * directions, 1, layer.hidden_size) if kind == 2 else None
        sizes = (kind, layer.hidden_size, layer.proj_size, layer.num_layers)
        weights = list(layer.parameters())
        torch.ops.aten._cudnn_rnn(
            *(torch.ones(1, 6, 8), weights, len(weights) // layer.num_layers // directions, None, state, memory),
            *(*sizes, True, 0.0, False, layer.bidirectional, [], None),
        )
    assert counter.macs == macs


@pytest.mark.parametrize("name", ["attention", "multihead", "encoder", "lstm"])
def test_by_hand_with_gradients_in_inference_mode_and_in_scripts(name: str):
    make, run, macs = LAYERS[name]
    network, x = Tokens(make().eval(), run), torch.ones(1, 1, 6, 8)
    for mode in (nullcontext, torch.inference_mode):
        with mode(), counting() as counter:
            network(x)
        assert counter.macs == macs


def test_kernels_that_are_asked_for_by_name_count_the_same():
    heads = torch.ones(1, 4, 6, 2)
    with torch.no_grad(), counting() as counter, sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        F.scaled_dot_product_attention(heads, heads, heads)
    assert counter.macs == ATTENTION
    for name in ("encoder", "multihead"):
        make, run, macs = LAYERS[name]
        network = Tokens(make(), run).eval()
        with torch.no_grad(), counting() as counter:
            mha.set_fastpath_enabled(True)
            network(torch.ones(1, 1, 6, 8))
        assert counter.macs == macs


def test_a_student_of_encoder_layers_by_hand():
    shape = InputShape(3, 32, 32, 10)
    layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3)
    network = nn.Sequential(nn.Conv2d(3, 48, 4, 4), nn.Flatten(2), Tokens(encoder, lambda net, x: net(x.mT)))
    per_layer = 64 * 4 * 48 * 48 + 2 * 64 * 64 * 48 + 2 * 64 * 48 * 96
    assert count_cost(network, shape).macs == 64 * 48 * 48 + 3 * per_layer


def fused() -> tuple[bool, bool]:
    return mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()


class Failing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        assert fused() == (False, False)
        raise ZeroDivisionError


def test_settings_come_back_when_the_network_fails():
    before = fused()
    with pytest.raises(ZeroDivisionError):
        count_cost(Failing(), ROWS)
    assert fused() == before


CONVOLUTIONAL = {
    "resnet20": 40813184,
    "resnet8x4": 177048064,
    "wrn-16-2": 101106944,
    "vgg8": 96146432,
    "torchvision:resnet18": 37016576,
    "torchvision:mobilenet_v2": 6124928,
    "torchvision:shufflenet_v2_x0_5": 815392,
}
"""As counted before attention was: no kernel hides a convolution, so nothing may have changed."""


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks_count_what_they_always_did(name: str):
    assert count_cost(build_model(name, CIFAR), CIFAR).macs == CONVOLUTIONAL[name]


QUICK = ("resnet18", "mobilenet_v3_small", "vit_b_16", "swin_t", "squeezenet1_1")
SLOW = (
    *("alexnet", "vgg11", "vgg11_bn", "googlenet", "inception_v3", "densenet121", "resnet50", "resnext50_32x4d"),
    *("wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_large", "mnasnet0_5", "shufflenet_v2_x0_5", "squeezenet1_0"),
    *("shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_b1", "efficientnet_v2_s", "convnext_tiny", "vit_b_32"),
    *("regnet_x_400mf", "regnet_y_400mf", "swin_s", "swin_v2_t", "maxvit_t", "vit_h_14"),
)


def published(name: str) -> tuple[float, InputShape]:
    """The multiply-adds that torchvision states for a network, in 10^9 with three decimals, and for which images."""
    weights = list(models.get_model_weights(name))[-1]
    size = weights.transforms.keywords["crop_size"]
    return weights.meta["_ops"], InputShape(3, size, size, 1000)


def check_published(name: str) -> None:
    stated, shape = published(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # googlenet's and inception's, about initialisation
        network = on_meta(name)
    found = count_cost(network, shape).macs / 1e9
    assert found == pytest.approx(stated, rel=0.01, abs=0.0005)


def on_meta(name: str) -> nn.Module:
    """A network without numbers, which takes no time to make; regnet's widths are computed with real tensors."""
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        options = {"init_weights": False} if "inception" in name else {}
        network: nn.Module = models.get_model(name, weights=None, **options)
    return network.to("meta")


@pytest.mark.parametrize("name", QUICK)
def test_as_torchvision_publishes(name: str):
    check_published(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_as_torchvision_publishes_of_every_family(name: str):
    check_published(name)


@pytest.mark.slow
def test_no_family_of_torchvision_is_left_out():
    families = {models.get_model_builder(name).__module__ for name in models.list_models(module=models)}
    assert families == {models.get_model_builder(name).__module__ for name in (*QUICK, *SLOW)}
