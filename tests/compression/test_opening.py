"""What a compression opens by itself is never what refuses it: sizes of images, teachers, limits, memory, forms."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from automl_kd.api.compressing import bring_profile
from automl_kd.compression import KeptPlan, measured_speed, opening
from automl_kd.compression.opening import OWN_PROFILE, open_at, profile_students, try_export
from automl_kd.compression.request import CompressRequest
from automl_kd.config import Budget, Resources
from automl_kd.errors import ConfigError, ExportError
from automl_kd.experiment import Roots, networks
from automl_kd.experiment.preflight import memory
from automl_kd.export import ExportOptions
from automl_kd.models import build_model
from automl_kd.space import InputShape, Values
from tests import tiny
from tests.compression.test_planning import SPEED, plan, request_of
from tests.data.pictures import fill
from tests.experiment.test_networks import Notes
from tests.models.black_box.files import save_pt2
from tests.profiling.made import TINY, made_profile

FAST = dataclasses.replace(SPEED, step=1e-7, teacher=1e-7)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> str:
    top: Path = tmp_path_factory.mktemp("photos")
    for part, count in (("train", 12), ("val", 4), ("test", 4)):
        fill(top / part, ("ant", "bee"), count)
    return f"folder:{top}"


def asked(photos: str, **changes: Any) -> CompressRequest:
    request: CompressRequest = request_of(**{"data": {"name": photos}, "hours": 5.0, "params": 0, **changes})
    return request


def open_first(request: CompressRequest, root: Path) -> tuple[Any, dict[str, Any], list[str]]:
    """The context at the first resolution, its sections, and what was said."""
    notes = Notes()
    roots = Roots(results=root / "results", data=root)
    _, context, sections = open_at(request, opening.first_resolution(request), roots, notes)
    return context, sections, notes.said


def test_a_teacher_of_one_size_sees_its_own(tmp_path, photos):
    shape = InputShape(3, 32, 32, 2)
    graph = save_pt2(build_model("resnet8", shape).eval(), tmp_path / "teacher.pt2", shape)
    context, sections, said = open_first(asked(photos, teacher={"model": f"file:{graph}"}), tmp_path)
    assert context.experiment.teacher.resolution == 32
    assert "teacher" not in sections
    assert "the teacher takes no images of 96 pixels, so it sees them at its own size, 32" in said
    forced = asked(photos, teacher={"model": f"file:{graph}", "resolution": 64})
    with pytest.raises(ConfigError, match="takes images of 32 by 32 pixels"):
        open_first(forced, tmp_path)


def test_images_are_no_larger_than_the_limits_leave_students_for(tmp_path, photos):
    measured = []

    def measure(context, _address):
        measured.append(context.dataset.shape.height)
        return FAST

    experiment, _, _ = plan(tmp_path, asked(photos, hours=500.0, budget=Budget(macs=20_000_000)), measure)
    assert measured == [96, experiment.data.resolution]  # 224 pixels, which there is time for, leave none
    assert experiment.data.resolution in {128, 160}


@pytest.mark.long
def test_a_profile_says_how_large_images_are(tmp_path, photos):
    shape = InputShape(3, 64, 64, 2)
    made_profile(dataclasses.replace(TINY, space="search_spaces.mobile:SPACE", shape=shape)).write(
        tmp_path / "phone.json"
    )
    budget = Budget(latency_ms=1000.0, profile=str(tmp_path / "phone.json"))
    experiment, _, _ = plan(tmp_path, asked(photos, budget=budget), lambda _context, _address: FAST)
    assert experiment.data.resolution == 64


def test_limits_that_the_default_alone_keeps_are_no_refusal(tmp_path, photos):
    context, _, _ = open_first(asked(photos, budget=Budget(params=100_000)), tmp_path)
    assert context.cost(context.baseline).params <= 100_000
    with pytest.raises(ConfigError, match="none of 500 architectures of 'mobile' meets the budget: params <= 9"):
        open_first(asked(photos, budget=Budget(params=9)), tmp_path / "less")


def test_a_way_of_teaching_that_is_asked_for_gets_none_of_our_options(tmp_path):
    torch.save(build_model("resnet8", InputShape(1, 8, 8, 10)).state_dict(), tmp_path / "teacher.pt")
    teacher = {"model": "resnet8", "checkpoint": str(tmp_path / "teacher.pt")}
    ours, _, _ = plan(tmp_path, request_of(teacher=teacher))
    assert ours.options == {"temperature": 1.0, "weight": 1.0}
    named = ("method=weighted_losses", "options.losses=kd=1")
    other, _, _ = plan(tmp_path / "other", request_of(teacher=teacher, overrides=named))
    assert other.options == {"losses": "kd=1"}
    searched = ('hyperparameters={"method.temperature"={low=1.0, high=4.0}}',)
    assert plan(tmp_path / "more", request_of(teacher=teacher, overrides=searched))[0].options == {}


def test_one_student_is_held_against_itself_on_labels_alone(tmp_path):
    experiment, _, _ = plan(tmp_path, request_of(params=0, space="model:resnet8"))
    assert experiment.finalists.baselines == ("default-scratch", "found-labels")


def test_a_network_that_no_slices_can_be_taken_of_is_a_teacher_all_the_same(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("The size of tensor a (1000) must match the size of tensor b (10)")

    monkeypatch.setattr(networks, "start_warm", fail)
    assert plan(tmp_path, request_of())[0].student.init == "fresh"


class Begun(Exception):
    """Ray was about to start."""


@pytest.mark.parametrize(("address", "at_once"), [("", 4), ("10.0.0.1:6379", 0)])
def test_speed_is_measured_with_as_many_trainings_as_fit_into_memory(tmp_path, monkeypatch, address, at_once):
    """As the run will have; the memory of a cluster's machines is not that of this one."""
    given: list[int] = []

    def begin(_address: str, resources: Resources) -> None:
        given.append(resources.max_concurrent)
        raise Begun

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(measured_speed, "session", begin)
    monkeypatch.setattr(memory, "machine_bytes", lambda: 4 * 10**9)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    context, sections, _ = open_first(request_of(), tmp_path)
    with pytest.raises(Begun):
        measured_speed.measure_speed(context, address)
    assert given == [at_once]
    assert "trial" not in sections  # which would hold on another machine, too


class Branching(tiny.Net):
    """A network that does something else for bright images, which no graph can."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = super().forward(images if float(images.mean()) > -100 else -images)
        return found


def branching(values: Values, shape: InputShape) -> nn.Module:
    return Branching(shape, int(values["width"]))


BRANCHING = dataclasses.replace(tiny.SPACE, build=branching)


def test_students_that_cannot_be_exported_are_refused_before_they_are_trained(tmp_path):
    pytest.importorskip("onnx")
    request = request_of(params=0, space="tests.compression.test_opening:BRANCHING")
    context, _, _ = open_first(request, tmp_path)
    with pytest.raises(ExportError, match=r"cannot be traced by torch\.export"):
        try_export(context, ExportOptions(), Notes())
    with pytest.raises(ExportError, match=r"cannot be traced by torch\.export"):
        plan(tmp_path / "plan", request)
    try_export(context, ExportOptions(onnx=False, pt2=False), Notes())
    able, _, _ = open_first(request_of(params=0, space="tests.tiny:SPACE"), tmp_path / "able")
    try_export(able, ExportOptions(), Notes())


def test_students_that_cannot_be_profiled_are_timed_by_torch(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise ConfigError("students that use torch's function 'f' cannot be profiled; leave it out")

    monkeypatch.setattr(opening, "profile_this_machine", refuse)
    request = request_of(params=0, space="tests.tiny:SPACE", budget=Budget(latency_ms=1000.0))
    context, sections, said = open_first(request, tmp_path)
    assert context.device_profile is None
    assert "profile" not in sections.get("budget", {})
    assert any("latencies are those of torch on this machine, as a profile cannot be made" in one for one in said)
    assert not (tmp_path / "results" / "mine").exists()
    assert profile_students(context, request, Notes())[1] == ""


def test_a_profile_of_this_machine_moves_with_its_folder(tmp_path):
    kept = KeptPlan(file=tmp_path / "p", request={}, sections={"budget": {"profile": f"/gone/{OWN_PROFILE}96.json"}})
    bring_profile(kept, tmp_path)
    assert kept.sections["budget"]["profile"] == str(tmp_path / f"{OWN_PROFILE}96.json")
    users = KeptPlan(file=tmp_path / "p", request={}, sections={"budget": {"profile": "/gone/phone.json"}})
    bring_profile(users, tmp_path)
    assert users.sections["budget"]["profile"] == "/gone/phone.json"
    bring_profile(KeptPlan(file=tmp_path / "p", request={}), tmp_path)
