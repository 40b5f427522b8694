"""In which numbers passes run, on which cards, and how many images are evaluated at once."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from automl_kd import distributed
from automl_kd.losses.cross_entropy import cross_entropy
from automl_kd.space import InputShape, TextShape
from automl_kd.spec import Recipe
from automl_kd.training.evaluate import (
    autocast,
    computes_bfloat16,
    evaluate,
    evaluation_batch,
    in_bfloat16,
    precision_of,
)
from tests import tiny

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)


class LogSoftmaxes(TorchDispatchMode):
    """The types in which logarithms of softmax are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._log_softmax.default:
            self.kinds.add(found.dtype)
        return found


@pytest.fixture
def card(monkeypatch, request):
    """A card of the compute capability asked for; torch answers from that."""
    major, minor = request.param
    computes_bfloat16.cache_clear()
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    properties = SimpleNamespace(major=major, minor=minor)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: properties)
    yield
    computes_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("card", "native"),
    [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True)],  # V100, T4, A100, H100
    indirect=["card"],
)
def test_bfloat16_only_where_the_card_has_it(card, native, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *given, enabled: asked.append((given, enabled)))
    autocast(CARD, Recipe())
    assert asked == [(("cuda", torch.bfloat16), native)]
    assert in_bfloat16(CARD, Recipe()) == native
    assert precision_of(nn.Linear(1, 1), CARD, Recipe()) == ("bfloat16" if native else "float32")
    assert not in_bfloat16(CARD, Recipe(amp=False))


def test_the_processor_computes_in_the_weights_own_numbers():
    assert precision_of(nn.Linear(1, 1), CPU, Recipe()) == "float32"
    assert precision_of(nn.Linear(1, 1).double(), CPU, Recipe()) == "float64"
    assert precision_of(nn.Linear(1, 1).half(), CPU, Recipe()) == "float16"
    assert precision_of(nn.Linear(1, 1).bfloat16(), CPU, Recipe()) == "bfloat16"
    assert precision_of(nn.ReLU(), CPU, Recipe()) == "float32"


@pytest.mark.parametrize(
    ("device", "batch", "grad_accumulation", "workers", "images"),
    [
        (CARD, 8, 1, 1, 16),
        (CARD, 64, 1, 1, 128),
        (CARD, 66, 3, 1, 44),
        (CARD, 64, 2, 4, 16),
        (CARD, 4096, 1, 1, 512),
    ],
)
def test_evaluation_takes_what_training_has_memory_for(monkeypatch, device, batch, grad_accumulation, workers, images):
    monkeypatch.setattr(distributed, "size", lambda: workers)
    assert evaluation_batch(device, Recipe(batch_size=batch, grad_accumulation=grad_accumulation), tiny.SHAPE) == images


@pytest.mark.parametrize(("side", "images"), [(8, 512), (32, 512), (64, 256), (96, 64), (224, 16), (1024, 16)])
def test_evaluation_on_the_processor_takes_what_caches_hold(side, images):
    shape = InputShape(channels=3, height=side, width=side, classes=10)
    assert evaluation_batch(CPU, Recipe(batch_size=8), shape) == images


@pytest.mark.parametrize(("longest", "texts"), [(16, 512), (64, 256), (128, 128), (512, 32), (4096, 16)])
def test_evaluation_of_long_texts_on_the_processor_takes_fewer(longest, texts):
    assert evaluation_batch(CPU, Recipe(batch_size=8), TextShape(width=12, longest=longest)) == texts


def test_evaluation_takes_all_images_at_once_where_they_are_few():
    data, seen = tiny.dataset(), []
    network = tiny.Net(tiny.SHAPE, 4)
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    evaluate(network, data, data.validation, Recipe(batch_size=2))
    assert seen == [30]


def test_cross_entropy_of_half_precision_is_computed_in_single():
    # log 2 = 0.6931...; in bfloat16, which has eight bits, it is 0.6914 or 0.6953
    logits, labels = torch.zeros(3, 2, dtype=torch.bfloat16), torch.tensor([0, 1, 0])
    loss = cross_entropy(logits, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-6)
    assert cross_entropy(logits.double(), labels, label_smoothing=0.1).dtype == torch.float64


def test_cross_entropy_leaves_nothing_to_a_cards_autocast():
    # CUDA's autocast lifts log_softmax, but not the one inside cross_entropy.
    on, kind = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with FakeTensorMode(), LogSoftmaxes() as made:
            logits = torch.zeros(3, 2, dtype=torch.bfloat16, device="cuda")
            cross_entropy(logits, torch.zeros(3, dtype=torch.int64, device="cuda"), label_smoothing=0.1)
    finally:
        torch.set_autocast_enabled("cuda", on)
        torch.set_autocast_dtype("cuda", kind)
    assert made.kinds == {torch.float32}
