"""Counts of batches lie on the processor, and normalisation and state dicts stay what they are."""

from __future__ import annotations

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from automl_kd.models.norm_counts import count_on_processor
from automl_kd.models.sync_norm import share_norms


def network() -> nn.Sequential:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, track_running_stats=False)]
    return nn.Sequential(*norms, nn.Flatten(), nn.BatchNorm1d(12), nn.LayerNorm(12))


def test_the_counts_alone_leave_the_card():
    with FakeTensorMode():
        with torch.device("cuda"):
            found, images = network(), torch.zeros(4, 3, 2, 2)
        share_norms(found[1:2], 2)  # which looks at the count where there is no momentum
        count_on_processor(found)
        found(images)
        devices = {name: value.device.type for name, value in found.state_dict().items()}
    counts = {"0.num_batches_tracked", "1.num_batches_tracked", "4.num_batches_tracked"}
    assert {name for name, device in devices.items() if device == "cpu"} == counts
    assert set(devices) == set(network().state_dict())


def test_they_go_on_counting():
    plain, moved = network(), network()
    count_on_processor(moved)
    for _ in range(3):
        images = torch.randn(4, 3, 2, 2)
        assert torch.equal(plain(images), moved(images))
    one, two = plain.state_dict(), moved.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert two["1.num_batches_tracked"] == 3
