"""A folder is prepared, measured by the program in it and fitted, here as on a device."""

from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from automl_kd.errors import ConfigError, ExportError
from automl_kd.profiling import DeviceProfile, fit_profile, is_prepared, measure, measure_folder, prepare_folder
from automl_kd.profiling.preparing import choose_operators, draw_networks
from automl_kd.space import Architecture
from tests import tiny
from tests.profiling.made import TINY, made_profile, operators_of

PLAN = dataclasses.replace(TINY, rounds=1, operator_seconds=0.001, network_seconds=0.001)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("device") / "graphs"
    prepare_folder(folder, PLAN)
    return measure_folder(folder, lambda _done, _total, _file: None)


@pytest.fixture
def folder(measured, tmp_path) -> Path:
    """A copy that a test may damage."""
    copy: Path = tmp_path / "graphs"
    copy.mkdir()
    for path in measured.parent.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
        else:
            (copy / path.name).symlink_to(path)
    return copy


def content(path: Path):
    return json.loads(path.read_text())


def test_the_folder_holds_graphs_their_list_and_the_program(measured):
    folder = measured.parent
    items = content(folder / "list.json")["items"]
    networks, operators = ([one for one in items if kind in one] for kind in ("architecture", "operator"))
    assert len(networks) == 6
    distinct = {
        one for item in networks for one in operators_of(tiny.SPACE, Architecture.of(item["architecture"]), PLAN)
    }
    assert len(operators) == len(distinct)
    assert all((folder / item["file"]).exists() for item in items)
    assert sum(path.stat().st_size for path in folder.rglob("*.onnx")) < 200_000
    assert set(content(measured)["times"]) == {item["file"] for item in items}


def test_the_program_stands_alone():
    text = Path(measure.__file__).read_text()
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {node.module if isinstance(node, ast.ImportFrom) else one.name for node in nodes for one in node.names}
    assert {str(one).split(".")[0] for one in named} - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_the_program_says_how_to_use_it(measured):
    command = [sys.executable, "-I", str(measured.parent / "measure.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--device DEVICE" in done.stdout


def test_a_profile_is_of_what_was_measured(measured, tmp_path):
    profile = fit_profile(measured)
    record = content(measured)
    assert (profile.threads, profile.runtime, profile.date) == (1, "onnxruntime", record["date"])
    assert profile.networks[0][1]["median_ms"] == record["times"]["networks/0000.onnx"]["median_ms"]
    assert profile.operators[0][1]["median_ms"] == record["times"]["operators/0000.onnx"]["median_ms"] / 8
    assert profile.networks[0][0] == Architecture.of(tiny.SPACE.default)
    profile.write(tmp_path / "profile.json")
    again = DeviceProfile.read(tmp_path / "profile.json")
    assert again.to_record() == profile.to_record()
    for width in range(2, 16):
        point = Architecture.of({"width": width})
        latency = profile.predict(tiny.SPACE, point, tiny.SHAPE)
        assert latency > 0
        assert again.predict(tiny.SPACE, point, tiny.SHAPE) == latency


def test_an_interrupted_run_goes_on(folder):
    record = content(folder / "measured.json")
    gone = sorted(record["times"])[::2]
    kept = {file: time for file, time in record["times"].items() if file not in gone}
    (folder / "measured.json").write_text(json.dumps({**record, "finished": False, "times": kept}))
    with pytest.raises(ConfigError, match=r"measured.json is not finished \(\d+ graphs so far\); run measure.py again"):
        fit_profile(folder / "measured.json")
    told = []
    measure_folder(folder, lambda done, total, file: told.append((done, total, file)))
    again = content(folder / "measured.json")
    assert again["finished"]
    assert {file: again["times"][file] for file in kept} == kept
    assert set(again["times"]) == set(record["times"])
    assert told[-1][:2] == (len(record["times"]), len(record["times"]))


def test_of_several_rounds_the_quickest_counts(folder):
    record, plan = content(folder / "measured.json"), content(folder / "list.json")
    times = {file: {**time, "median_ms": 1e-9} for file, time in record["times"].items()}
    times["networks/0001.onnx"]["median_ms"] = 1e9
    (folder / "measured.json").write_text(json.dumps({**record, "times": times}))
    (folder / "list.json").write_text(json.dumps({**plan, "rounds": 2}))
    measure_folder(folder, lambda _done, _total, _file: None)
    again = content(folder / "measured.json")["times"]
    assert again["networks/0000.onnx"]["median_ms"] == 1e-9
    assert again["networks/0001.onnx"]["median_ms"] < 1e9
    assert {one["rounds"] for one in again.values()} == {2}


def test_another_device_or_list_is_measured_anew(folder):
    record = content(folder / "measured.json")
    (folder / "measured.json").write_text(json.dumps({**record, "runtime_version": "0.1", "times": {"old": {}}}))
    measure_folder(folder, lambda _done, _total, _file: None)
    assert set(content(folder / "measured.json")["times"]) == set(record["times"])


def test_what_was_measured_elsewhere_is_refused(folder, tmp_path):
    record = content(folder / "measured.json")
    (folder / "measured.json").write_text(json.dumps({**record, "list": "another"}))
    with pytest.raises(ConfigError, match="was measured of other graphs than those listed beside it"):
        fit_profile(folder / "measured.json")
    (tmp_path / "measured.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="is no folder of automl-kd profile --prepare"):
        fit_profile(tmp_path / "measured.json")
    for text, sentence in (("{}", "holds no measurements"), ("[", "no measurements could be read")):
        (tmp_path / "measured.json").write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            fit_profile(tmp_path / "measured.json")


def test_a_graph_that_cannot_be_run_is_one_sentence(folder):
    (folder / "networks").unlink()
    (folder / "networks").mkdir()
    (folder / "networks" / "0000.onnx").write_bytes(b"no graph")
    (folder / "measured.json").unlink()
    with pytest.raises(ExportError, match="failed with exit code 1"):
        measure_folder(folder, lambda _done, _total, _file: None)


def test_a_folder_of_another_plan_is_refused(measured):
    assert is_prepared(measured.parent, PLAN)
    assert not is_prepared(measured.parent / "none", PLAN)
    with pytest.raises(ConfigError, match="was prepared for other networks, inputs, threads or times"):
        is_prepared(measured.parent, dataclasses.replace(PLAN, batch=2))


def test_what_is_no_profile_is_refused(tmp_path):
    path = tmp_path / "profile.json"
    record = made_profile().to_record()
    cases = (
        ("[1]", "is no profile of a device"),
        (json.dumps({**record, "version": 9}), "is a profile of version 9, and this program reads 1"),
        (json.dumps({**record, "operators": [{"operator": {}}]}), "is no profile of a device .KeyError"),
        ("", "no profile could be read"),
    )
    for text, sentence in cases:
        path.write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            DeviceProfile.read(path)


def test_networks_are_drawn_once_each_and_the_default_first():
    drawn = draw_networks(tiny.SPACE, 10, 0)
    assert drawn[0] == Architecture.of(tiny.SPACE.default)
    assert len(set(drawn)) == 10
    assert draw_networks(tiny.SPACE, 10, 0) == drawn != draw_networks(tiny.SPACE, 10, 1)
    assert len(draw_networks(tiny.SPACE, 100, 0)) == 14  # all that there are


def test_operators_are_chosen_from_small_to_large_of_every_kind():
    from automl_kd.profiling.operators import list_operators
    from automl_kd.profiling.tracing import trace_architecture

    groups = {
        one.operator: one
        for width in range(2, 16)
        for one in list_operators(trace_architecture(tiny.SPACE, Architecture.of({"width": width}), tiny.SHAPE))
    }
    chosen = [one.operator for one in choose_operators(list(groups.values()), 1)]
    assert [one.kind for one in chosen] == ["conv"] * 8 + ["linear"] * 8 + ["mean"] * 8
    sizes = [one.macs for one in chosen if one.kind == "conv"]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 9 * 15 * 64
    assert len(list(choose_operators(list(groups.values()), 999))) == len(groups)


@pytest.mark.parametrize("changes", [{"networks": 0}, {"threads": 0}, {"operator_seconds": 0.0}])
def test_numbers_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(TINY, **changes)
