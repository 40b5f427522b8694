"""A training step starts no more operators on a GPU than it did; and what counts them counts right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from automl_kd.models import network_called
from automl_kd.space import InputShape
from automl_kd.spec import Recipe
from benchmarks.perf.launches.counting import LaunchCounter
from benchmarks.perf.launches.scene import CACHED, LIVE, SCRATCH, FakeScene, count_launches
from benchmarks.perf.launches.walk import walk_backward


@pytest.fixture
def fake_gpu() -> None:
    try:
        with FakeTensorMode():
            nn.Parameter(torch.zeros(2, device="cuda")).sum()
    except RuntimeError as error:
        pytest.skip(f"this build of torch makes no fake CUDA tensors: {error}")


def of_part(found: dict[tuple[str, str], int], part: str) -> int:
    return sum(count for (one, _), count in found.items() if one == part)


@pytest.mark.parametrize(("method", "most"), [(SCRATCH, 82), (LIVE, 155), (CACHED, 105)])
def test_a_step_starts_no_more_operators_than_it_did(fake_gpu, method, most):
    # 128 images in batches of 48, the last of which has 32
    first, step, last = count_launches(method, FakeScene(recipe=Recipe(batch_size=48, amp=False)))[1:]
    assert 60 <= step.total() <= most
    assert last == step
    assert of_part(step, "batch") <= 11
    assert of_part(step, "optimizer") <= 1
    assert of_part(step, "metrics") <= 2
    assert of_part(first, "batch") > 2 * 11  # the windows of the epoch


@pytest.mark.parametrize(("method", "most"), [(SCRATCH, 161), (LIVE, 186), (CACHED, 186)])
def test_a_step_on_texts_starts_no_more_operators_and_waits_for_nothing(fake_gpu, method, most):
    # A fake card has no numbers: whatever a step wanted to read of it would be an error.
    scene = FakeScene(recipe=Recipe(batch_size=48, amp=False, optimizer="adamw", lr=1e-3), texts=True)
    first, step, last = count_launches(method, scene)[1:]
    assert 60 <= step.total() <= most
    assert last == step
    assert of_part(step, "batch") <= 11
    assert (of_part(first, "teacher") > 0) == (method == LIVE)  # it is asked about all texts at once
    assert of_part(step, "teacher") == 0
    assert of_part(step, "optimizer") <= 2


def test_adamw_goes_over_all_weights_at_once(fake_gpu):
    recipe = Recipe(batch_size=64, amp=False, optimizer="adamw", lr=0.001)
    step = count_launches(SCRATCH, FakeScene(recipe=recipe))[2]
    assert of_part(step, "optimizer") <= 2  # of 29 weights


def test_operators_are_counted_by_hand(fake_gpu):
    with FakeTensorMode(), LaunchCounter() as counter:
        there, here = torch.zeros(4, 4, device="cuda"), torch.zeros(4)
        counter.found.clear()
        with counter.during("one"):
            torch.empty_like(there).copy_(there.t()[:2].expand(2, 4)[0])  # copy_ alone
            here.add_(1)
        there.relu().sum().item()
    assert dict(counter.found) == {("one", "copy_"): 1, ("", "relu"): 1, ("", "sum"): 1}


def test_a_walked_backward_pass_is_torchs():
    torch.manual_seed(0)
    network = network_called("resnet8", InputShape(channels=3, height=8, width=8, classes=5))
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 5
    slopes = []
    for way in (torch.Tensor.backward, walk_backward):
        for times in (1, 2):  # the second pass adds to the first one's
            way(F.cross_entropy(network(images), labels) * times)
        slopes.append([value.grad for value in network.parameters()])
        network.zero_grad()
    assert all(map(torch.equal, *slopes))
