"""Proxies and transformers: those that read maps of convolutions refuse them, the others score them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_kd import proxies
from automl_kd.errors import ConfigError
from automl_kd.models import build_model
from automl_kd.space import InputShape, sample_architecture
from search_spaces import mobile, vit

SHAPE = InputShape(3, 32, 32, 5)
REFUSED = ("az_expressivity", "az_progressivity", "az_trainability", "linear_regions", "logsynflow", "meco", "meco_opt")
SCORED = ("epe_nas", "fisher", "grad_norm", "gradsign", "grasp", "jacob_cov", "ntk_condition", "plain", "snip")
WITH_TEACHER = ("diswot_relation", "kd_at", "kd_nst", "kd_pkt", "kd_sp")


@pytest.fixture(scope="module")
def small():
    values = {**vit.SPACE.default, "patch": 8, "relative": True}
    torch.manual_seed(0)
    return vit.build_vit(values, SHAPE)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(10, 3, 32, 32, generator=generator), torch.arange(10) % 5


@pytest.mark.parametrize("name", [*REFUSED, "synflow", "vkdnw"])
def test_a_proxy_of_convolutions_refuses_a_transformer_in_a_sentence(name, small, batch):
    with pytest.raises(ConfigError, match=r"49 of the 50 layers of this network are linear, as in transformers; leave"):
        proxies.PROXY_FUNCTIONS[name](small, *batch)


@pytest.mark.parametrize("name", [*SCORED, *WITH_TEACHER])
def test_other_proxies_score_a_transformer(name, small, batch):
    torch.manual_seed(1)
    teacher = build_model("resnet8", SHAPE) if name in WITH_TEACHER else None
    assert np.isfinite(proxies.PROXY_FUNCTIONS[name](small, *batch, teacher=teacher))


@pytest.mark.parametrize("name", ["grasp", "naswot", "synflow", "zen", "diswot_relation", "meco", "az_trainability"])
def test_mobile_networks_are_scored_with_squeezing_and_hard_swish(name, batch):
    point = {**sample_architecture(mobile.SPACE, np.random.default_rng(0)).as_dict(), "activation": "hardswish"}
    values = {**point, "se3": True, "se5": True, "resolution": 100}
    torch.manual_seed(0)
    student, teacher = mobile.build_mobile(values, SHAPE), build_model("torchvision:mobilenet_v3_small", SHAPE)
    assert np.isfinite(proxies.PROXY_FUNCTIONS[name](student, *batch, teacher=teacher))
