"""Graphs without weights are carried out by onnxruntime as exports are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.export.graphs import StudentGraph, trace_program, write_onnx
from automl_kd.models import build_model, load_space
from automl_kd.models.imagenet.mobile import BlockSize, MobileNet, MobilePlan
from automl_kd.models.resnet import ResNet
from automl_kd.profiling.operators import OperatorGroup, list_operators
from automl_kd.profiling.preparing import repeat_group
from automl_kd.profiling.skeleton import make_skeleton
from automl_kd.profiling.tracing import trace_architecture, trace_network
from automl_kd.space import Architecture, InputShape, sample_architecture

SHAPE = InputShape(3, 32, 32, 10)
BLOCKS = (BlockSize(16, 32, 5, 2, 8, "hardswish"), BlockSize(16, 64, 3, 1, 16, "relu6"))
NETWORKS = {
    "residual": lambda: ResNet(SHAPE, [1, 1], [16, 16, 32]),
    "bottleneck": lambda: ResNet(SHAPE, [1, 1], [16, 32, 64], block="bottleneck"),
    "mobile": lambda: MobileNet(SHAPE, MobilePlan(stem=16, blocks=BLOCKS, head=32)),
}

FOREIGN_PARTS = [
    ("torchvision:mobilenet_v3_small", 9, {}),
    ("timm:ghostnet_050", 7, {"cat": 32}),
    ("torchvision:shufflenet_v2_x0_5", 0, {"cat": 16, "transpose": 16, "chunk": 13}),
]
"""Networks, how many convolutions take in a hard sigmoid, and by which functions numbers are moved."""

FOREIGN = [name for name, *_ in FOREIGN_PARTS]


def optimised(graph: bytes | str, tmp_path: Path) -> Counter[str]:
    """The nodes that onnxruntime makes of a graph, each with the activation that is fused into it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found = Counter[str]()
    for node in onnx.load(tmp_path / "optimised.onnx").graph.node:
        found[" ".join([node.op_type, *(one.s.decode() for one in node.attribute if one.name == "activation")])] += 1
    return found


def run_skeleton(trace):
    model = make_skeleton(trace)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    return session.run(None, {one.name: rng.random(one.shape, dtype=np.float32) for one in session.get_inputs()})


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_optimised_graphs_are_those_of_an_export(tmp_path, name):
    network = NETWORKS[name]().eval()
    write_onnx(trace_program(StudentGraph(network), InputShape(3, 32, 32, 10)), tmp_path / "export.onnx")
    skeleton = make_skeleton(trace_network(network, SHAPE)).SerializeToString()
    assert optimised(skeleton, tmp_path) == optimised(str(tmp_path / "export.onnx"), tmp_path)
    assert len(skeleton) < 20_000


@pytest.mark.parametrize("space", ["mobile", "resnet", "resnet224", "vit", "nasbench201"])
def test_every_space_has_skeletons_that_run(space):
    loaded = load_space(f"search_spaces.{space}:SPACE")
    for architecture in (Architecture.of(loaded.default), sample_architecture(loaded, np.random.default_rng(3))):
        trace = trace_architecture(loaded, architecture, SHAPE)
        (logits,) = run_skeleton(trace)
        assert logits.shape == (1, 10)
        # neither overflow nor numbers so small that a processor slows down
        assert np.isfinite(logits).all()
        assert (np.abs(logits) > 1e-30).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
def test_optimised_graphs_of_other_packages_are_those_of_an_export(tmp_path, name):
    network = build_model(name, SHAPE).eval()
    write_onnx(trace_program(StudentGraph(network), SHAPE), tmp_path / "export.onnx")
    skeleton = make_skeleton(trace_network(network, SHAPE)).SerializeToString()
    assert optimised(skeleton, tmp_path) == optimised(str(tmp_path / "export.onnx"), tmp_path)


@pytest.mark.parametrize(("name", "activation", "copies"), FOREIGN_PARTS)
def test_networks_of_other_packages_are_profiled_whole_and_by_layers(name, activation, copies):
    space = load_space(f"model:{name}")
    trace = trace_architecture(space, Architecture.of(space.default), SHAPE)
    (logits,) = run_skeleton(trace)
    assert np.isfinite(logits).all()
    groups = list_operators(trace)
    assert Counter(one.operator.activation for one in groups)["hardsigmoid"] == activation
    assert Counter(one.operations[0].name for one in groups if one.operator.kind == "copy") == copies
    for kind in ("chunk", "hardsigmoid"):
        for group in [one for one in groups if kind in {each.name for each in one.operations}][:1]:
            assert run_skeleton(repeat_group(group, copies=3))[0].shape == group.operations[-1].output.shape


class Parts(nn.Module):
    """Parts of unequal sizes, and one that leaves nothing out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(9, 10)

    def forward(self, x):
        first, second = x.split([1, 2], dim=1)
        whole = [one.mean((2, 3)) for one in torch.cat([second, x[:, :3], first, x, first], 1).chunk(4, 1)]
        assert [one.shape[1] for one in whole] == [3, 3, 3, 1]
        return self.fc(torch.cat(whole[:3], 1))


def test_parts_are_cut_as_torch_cuts_them():
    trace = trace_network(Parts(), SHAPE)
    model = make_skeleton(trace)
    sizes = [one for one in model.graph.node if one.op_type == "Split"]
    assert [len(one.output) for one in sizes] == [2, 4]
    assert not [one for one in model.graph.node if one.op_type == "Slice"]
    assert run_skeleton(trace)[0].shape == (1, 10)


@pytest.mark.parametrize("space", ["mobile", "resnet", "vit", "nasbench201"])
def test_every_operator_runs_by_itself_several_times(space):
    loaded = load_space(f"search_spaces.{space}:SPACE")
    trace = trace_architecture(loaded, sample_architecture(loaded, np.random.default_rng(0)), SHAPE)
    kinds: dict[object, OperatorGroup] = {}
    for group in list_operators(trace):
        kinds.setdefault((group.operator.kind, group.operator.activation, group.operator.residual), group)
    for group in kinds.values():
        outputs = run_skeleton(repeat_group(group, copies=3))
        assert len(outputs) == (1 if group.operations[0].name == "conv2d" else 3)
        assert outputs[0].shape == group.operations[-1].output.shape


@pytest.mark.parametrize("name", NETWORKS)
def test_repeated_convolutions_are_all_carried_out_and_fused(tmp_path, name):
    for group in list_operators(trace_network(NETWORKS[name](), SHAPE)):
        if group.operations[0].name == "conv2d":
            nodes = optimised(make_skeleton(repeat_group(group, copies=4)).SerializeToString(), tmp_path)
            assert sum(count for kind, count in nodes.items() if kind.startswith("Conv")) == 4
            assert nodes["Add"] == 0
            assert nodes["ReorderInput"] <= 1
            assert nodes["ReorderOutput"] <= 1


def test_an_operation_that_is_in_no_table_is_one_sentence():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 10)

        def forward(self, x):
            return self.fc(x.mean((2, 3)).cumprod(1))

    with pytest.raises(ConfigError, match="that use torch's function 'cumprod' cannot be profiled"):
        make_skeleton(trace_network(Odd(), SHAPE))
