"""Students of texts: their graphs at a stated length, their operators, and a profile of them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from automl_kd.config import Budget
from automl_kd.errors import ConfigError
from automl_kd.experiment import context as contexts
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.export.graphs import make_graph, trace_program, write_onnx
from automl_kd.models import build, load_space
from automl_kd.models.costs.cost import cost_of
from automl_kd.profiling import DeviceProfile, ProfilePlan, fit_profile, measure_folder, open_sizes, prepare_folder
from automl_kd.profiling.measure import measure_graph
from automl_kd.profiling.operators import Operator, OperatorGroup, list_operators
from automl_kd.profiling.preparing import repeat_group
from automl_kd.profiling.skeleton import make_skeleton
from automl_kd.profiling.tracing import Trace, trace_architecture
from automl_kd.space import Architecture, InputShape, SearchSpace, TextShape, Values, sample_architecture
from automl_kd.spec import DataSpec
from tests import tiny
from tests.data.text.words import write_set
from tests.methods.test_texts import TEACHER
from tests.profiling.made import made_profile
from tests.profiling.test_in_experiments import Noting
from tests.profiling.test_skeleton import optimised

SHAPE = TextShape(width=9, classes=4, vocabulary=50, longest=20)
SPACES = ["bert", "bilstm"]
SMALL: dict[str, Values] = {
    "bert": {"layers": 1, "width": 96, "heads": 3, "mlp": 1.0, "embedding": 32, "start": "fresh"},
    "bilstm": {"layers": 2, "embedding": 64, "hidden": 64},
}
PLAN = ProfilePlan(
    space="search_spaces.bilstm:SPACE", shape=SHAPE, networks=3, operators=1, rounds=1,
    operator_seconds=0.001, network_seconds=0.001,
)  # fmt: skip


def spaces(name: str) -> SearchSpace:
    return load_space(f"search_spaces.{name}:SPACE")


def traced(name: str, shape: InputShape = SHAPE, batch: int = 1) -> Trace:
    return trace_architecture(spaces(name), Architecture.of(SMALL[name]), shape, batch)


def run(model, **sizes):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    kinds: dict[str, Any] = {"tensor(int64)": np.int64, "tensor(bool)": np.bool_, "tensor(float)": np.float32}
    given = {
        one.name: np.ones([sizes.get(size, size) for size in one.shape], kinds[one.type])
        for one in session.get_inputs()
    }
    return session.run(None, given)


@pytest.mark.parametrize("name", SPACES)
def test_multiply_adds_are_those_that_are_counted(name):
    space = spaces(name)
    for seed in range(3):
        drawn = sample_architecture(space, np.random.default_rng(seed))
        groups = list_operators(trace_architecture(space, drawn, SHAPE))
        assert sum(one.operator.macs for one in groups) == cost_of(space, drawn, SHAPE).macs


def test_operators_have_the_length_in_their_shapes_and_the_vocabulary_in_none():
    found = {one.operator.kind: one.operator for one in list_operators(traced("bert"))}
    # 3 heads of 32 channels: scores of 9 by 9 tokens, and as many multiply-adds for the values
    attention = Operator(
        "scaled_dot_product_attention", ((1, 3, 9, 32),) * 3 + ((1, 1, 1, 9),), (1, 3, 9, 32), macs=2 * 3 * 9 * 9 * 32
    )
    assert found["scaled_dot_product_attention"] == attention
    assert found["embedding"] == Operator("embedding", ((1, 9),), (1, 9, 96))  # of segments, the last one
    more = trace_architecture(
        spaces("bert"), Architecture.of(SMALL["bert"]), dataclasses.replace(SHAPE, vocabulary=5000)
    )
    assert [one.operator for one in list_operators(more)] == [one.operator for one in list_operators(traced("bert"))]


def test_what_is_done_with_masks_is_no_operator():
    kinds = Counter(one.operator.kind for one in list_operators(traced("bert")))
    assert kinds == {
        "embedding": 2, "add": 4, "linear": 6, "layer_norm": 3, "copy": 3, "scaled_dot_product_attention": 1, "gelu": 1,
        "to": 1, "mul": 2, "sum": 2, "hardtanh": 1,
    }  # fmt: skip


def test_a_recurrent_student_has_an_operator_for_each_direction_of_each_layer():
    found = [one.operator for one in list_operators(traced("bilstm")) if one.operator.kind == "lstm"]
    assert [one.macs for one in found] == [4 * 9 * 64 * (64 + 64)] * 2 + [4 * 9 * 64 * (128 + 64)] * 2


@pytest.mark.parametrize("name", SPACES)
def test_graphs_run_at_the_stated_length_for_any_batch(name):
    skeleton = make_skeleton(traced(name))
    assert len(skeleton.SerializeToString()) < 20_000
    for sizes in ({"batch": 1, "length": 9}, {"batch": 2, "length": 9}):
        (logits,) = run(skeleton, **sizes)
        assert logits.shape == (sizes["batch"], 4)
        assert np.isfinite(logits).all()
    if name == "bert":
        assert run(skeleton, batch=1, length=5)[0].shape == (1, 4)


@pytest.mark.parametrize("name", SPACES)
def test_every_operator_runs_by_itself_several_times(name):
    kinds: dict[str, OperatorGroup] = {one.operator.kind: one for one in list_operators(traced(name))}
    for group in kinds.values():
        outputs = run(make_skeleton(repeat_group(group, copies=3)))
        assert [one.shape for one in outputs[:1]] == [group.operations[0].output.shape]
        assert len(outputs) == 3 * len(group.operations[0].outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_optimised_graphs_are_those_of_an_export(tmp_path, name):
    """But for what a recurrent one asks once of the sizes of its texts."""
    network = build(spaces(name), Architecture.of(SMALL[name]), SHAPE, seed=0).eval()
    names = ("input_ids", "attention_mask")
    write_onnx(trace_program(make_graph(network, SHAPE), SHAPE), tmp_path / "export.onnx", names=names)
    exported = optimised(str(tmp_path / "export.onnx"), tmp_path)
    found = optimised(make_skeleton(traced(name)).SerializeToString(), tmp_path)
    once = {"Shape": 2, "Squeeze": 1, "Range": 1, "Expand": 1, "Concat": 1, "Slice": 1} if name == "bilstm" else {}
    assert exported - found == once
    assert not found - exported


def test_the_program_gives_a_graph_the_length_that_is_stated(tmp_path):
    (tmp_path / "net.onnx").write_bytes(make_skeleton(traced("bilstm")).SerializeToString())
    assert measure_graph(tmp_path / "net.onnx", 1, 0.01, open_sizes(SHAPE))["median_ms"] > 0
    with pytest.raises(Exception, match=r"2 by 9|9 by 2"):  # its places are those of nine tokens
        measure_graph(tmp_path / "net.onnx", 1, 0.01, {"length": 2})


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> DeviceProfile:
    folder: Path = tmp_path_factory.mktemp("device") / "graphs"
    prepare_folder(folder, PLAN)
    assert json.loads((folder / "list.json").read_text())["sizes"] == {"batch": 1, "length": 9}
    return fit_profile(measure_folder(folder, lambda _done, _total, _file: None))


def test_a_profile_states_its_length_and_predicts(profile, tmp_path):
    profile.write(tmp_path / "here.json")
    again = DeviceProfile.read(tmp_path / "here.json")
    assert again.plan.shape == SHAPE
    point = Architecture.of(SMALL["bilstm"])
    assert again.predict(spaces("bilstm"), point, SHAPE) == profile.predict(spaces("bilstm"), point, SHAPE) > 0


def test_another_length_is_said_in_a_sentence(profile):
    other = dataclasses.replace(SHAPE, width=12)
    assert profile.describe_for(SHAPE).endswith(profile.describe_error())
    assert profile.describe_for(other).endswith(
        "; it was measured with texts of 9 tokens, and these are texts of 12 tokens, so it may be further off"
    )
    with pytest.raises(
        ConfigError, match=r"holds no operator a quarter as large .*; make a profile of this space, and"
    ):
        profile.predict(spaces("bilstm"), Architecture.of(SMALL["bilstm"]), dataclasses.replace(SHAPE, width=200))


def test_a_profile_of_images_is_refused_for_texts():
    with pytest.raises(ConfigError, match="holds no operator of the kind, for a layer 'embedding'; make a profile of"):
        made_profile().predict(spaces("bert"), Architecture.of(SMALL["bert"]), SHAPE)


def test_a_longer_text_takes_longer_where_all_is_known():
    plan = dataclasses.replace(PLAN, space="search_spaces.bert:SPACE", networks=6)
    made = made_profile(plan)
    point = Architecture.of(SMALL["bert"])
    lengths = [made.predict(spaces("bert"), point, dataclasses.replace(SHAPE, width=width)) for width in (6, 9, 12, 18)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_an_experiment_s_limit_is_predicted_at_the_length_of_its_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(contexts, "measure_latency", lambda *_: pytest.fail("nothing is timed"))
    table = write_set(tmp_path / "set")
    data = DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"))
    made = made_profile(dataclasses.replace(PLAN, space="search_spaces.bert:SPACE", networks=6))
    made.write(tmp_path / "phone.json")
    watcher = Noting()
    context = prepare_experiment(
        tiny.experiment(
            space="search_spaces.bert:SPACE",
            data=data,
            teacher=TEACHER,
            budget=Budget(profile=str(tmp_path / "phone.json")),
        ),
        Roots(results=tmp_path / "results", data=tmp_path),
        watcher,
    )
    shape, point = context.dataset.student_shape, Architecture.of(SMALL["bert"])
    assert context.latency_ms(point) == made.predict(spaces("bert"), point, shape)
    (note,) = [one for one in watcher.notes if "latency_ms" in one]
    assert f"measured with texts of 9 tokens, and these are texts of {shape.width} tokens" in note
