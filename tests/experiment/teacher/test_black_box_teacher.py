"""A teacher that is a file: settled and checked before anything is trained, and taught from to the end."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import pytest
import torch

from automl_kd.config import load_experiment
from automl_kd.data import plain_view
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preflight.whole import check_everything
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.teacher_settings import settle_teacher
from automl_kd.methods import estimate_cost, run_trial
from automl_kd.methods.base import STEP
from automl_kd.models.costs.cost import count_cost
from automl_kd.space import InputShape
from automl_kd.spec import Preprocessing, TeacherCacheOptions, TeacherSpec, TrialSpec
from automl_kd.training.trial import load_teacher, prepare_trial
from tests import tiny
from tests.experiment.test_networks import Notes
from tests.models.black_box import files

KINDS = ("pt2", "onnx")


def teacher_in(folder, kind: str, network=None, **described) -> TeacherSpec:
    network = files.trained_net() if network is None else network
    return TeacherSpec(model=files.save(kind, network, folder).partition("@")[0], **described)


def spec_of(teacher: TeacherSpec, method: str = "kd", **changes) -> TrialSpec:
    return tiny.spec(method=method, teacher=settle_teacher(teacher), **changes)


def prepared(folder, teacher: TeacherSpec, **changes):
    notes = Notes()
    experiment = tiny.experiment(**{"method": "kd", "teacher": teacher, **changes})
    context = prepare_experiment(experiment, Roots(results=folder / "results", data=folder), notes)
    return context, notes.said


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_learns_from_it(tmp_path, kind):
    network = files.trained_net()
    spec = spec_of(teacher_in(tmp_path, kind, network))
    place, recorder = tiny.place(tmp_path, spec), tiny.Recorder()
    run_trial(spec, recorder, place)
    context = prepare_trial(spec, place)
    student, teacher = (count_cost(one, tiny.SHAPE) for one in (tiny.Net(tiny.SHAPE, 4), network))
    assert recorder.seen[3]["train_macs"] == 3 * len(context.dataset.train) * (STEP * student.macs + teacher.macs)
    assert estimate_cost(spec, place).epoch_macs == recorder.seen[3]["train_macs"] / 3
    images = plain_view(context.dataset, context.dataset.train, torch.arange(20))
    found = load_teacher(context)(images)
    torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_its_outputs_are_read_from_the_cache(tmp_path, kind):
    spec = spec_of(teacher_in(tmp_path, kind))
    seen = []
    for name in ("live", "first", "second"):
        options = TeacherCacheOptions(keep="off" if name == "live" else "logits")
        place = dataclasses.replace(tiny.place(tmp_path / name, spec), teachers=tmp_path, teacher_cache=options)
        run_trial(spec, recorder := tiny.Recorder(), place)
        seen.append(recorder.seen[3])
    assert seen[2]["teacher_passes"] == 0
    assert seen[1]["teacher_passes"] > 0
    assert {one["val_loss"] for one in seen} == {seen[0]["val_loss"]}


def test_another_runtime_keeps_outputs_of_its_own(tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    spec = spec_of(teacher_in(tmp_path, "onnx"))
    place = dataclasses.replace(
        tiny.place(tmp_path, spec), teachers=tmp_path, teacher_cache=TeacherCacheOptions(keep="logits")
    )
    for version in ("1.0.0", "1.0.1"):
        monkeypatch.setattr(onnxruntime, "__version__", version)
        shutil.rmtree(place.trial, ignore_errors=True)
        run_trial(spec, recorder := tiny.Recorder(), place)
        assert recorder.seen[3]["teacher_passes"] > 0


def test_the_key_follows_the_content_and_not_the_place(tmp_path):
    teacher = settle_teacher(teacher_in(tmp_path, "pt2"))
    (tmp_path / "else").mkdir()
    shutil.copy(tmp_path / "net.pt2", tmp_path / "else" / "moved.pt2")
    moved = settle_teacher(TeacherSpec(model=f"file:{tmp_path}/else/moved.pt2"))
    other = settle_teacher(teacher_in(tmp_path / "else", "pt2", tiny.Net(tiny.SHAPE, 3).eval()))
    keys = [tiny.spec(method="kd", teacher=one).key for one in (teacher, moved, other)]
    assert keys[0] == keys[1] != keys[2]
    assert settle_teacher(teacher) == teacher
    assert (moved.checkpoint, len(moved.digest)) == (f"{tmp_path}/else/moved.pt2", 64)
    spec = tiny.spec(method="kd", teacher=dataclasses.replace(teacher, macs=9))
    assert TrialSpec.from_json(spec.to_json()) == spec
    assert spec.key != keys[0]
    assert '"macs"' not in tiny.spec(method="kd", teacher=teacher).to_json()


def test_a_relative_file_lies_beside_the_experiment(tmp_path):
    files.save("onnx", files.trained_net(), tmp_path)
    (tmp_path / "mine.toml").write_text('name = "mine"\nspace = "model:resnet8"\nteacher.model = "file:net.onnx"\n')
    assert load_experiment(tmp_path / "mine.toml").teacher.model == f"file:{tmp_path}/net.onnx"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_noted_once_before_anything_is_trained(tmp_path, kind):
    context, said = prepared(tmp_path, teacher_in(tmp_path, kind))
    runtime = {"pt2": "torch ", "onnx": "onnxruntime "}[kind]
    (note,) = said
    assert note.startswith(f"teacher net.{kind}: images of 1x8x8, which its graph fixes; 3 outputs; run by {runtime}")
    assert context.teacher_macs == count_cost(files.trained_net(), tiny.SHAPE).macs
    assert context.experiment.teacher.total_classes == 3


def test_the_size_and_the_number_of_outputs_are_those_of_the_graph(tmp_path):
    network = files.trained_net(InputShape(1, 16, 16, 5))
    path = files.save_onnx(network, tmp_path / "net.onnx", size=(16, 16), batch=1)
    teacher = TeacherSpec(model=f"file:{path}", classes=(4, 0, 2), preprocessing=Preprocessing(mean=(0.3,), std=(0.6,)))
    context, said = prepared(tmp_path, teacher)
    settled = context.experiment.teacher
    assert (settled.resolution, settled.total_classes, context.experiment.data.view) == (16, 5, 16)
    assert "images of 1x16x16, which its graph fixes, 1 at a time; 5 outputs" in said[0]
    spec = tiny.spec(method="kd", teacher=settled, data=context.experiment.data)
    loaded = prepare_trial(spec, tiny.place(tmp_path, spec))
    images = plain_view(loaded.dataset, loaded.dataset.train, torch.arange(5))
    pixels = loaded.dataset.train.inputs[:5].float() / 255
    expected = network((pixels - 0.3) / 0.6)[:, [4, 0, 2]].detach()
    torch.testing.assert_close(load_teacher(loaded)(images), expected, rtol=1e-4, atol=1e-5)


def test_it_is_checked_under_other_kinds_of_preprocessing(tmp_path):
    experiment = tiny.experiment(method="kd", teacher=teacher_in(tmp_path, "onnx"))
    found = check_everything(experiment, Roots(results=tmp_path / "results", data=tmp_path), Silent())
    (table,) = found.tables.values()
    assert {row[3] for row in table.rows} == {""}  # it has no normalisations to look at
    params = count_cost(files.trained_net(), tiny.SHAPE).params
    assert found.lines[0] == (f"teacher net.onnx: {params} parameters, 9.26 k multiply-adds for an image of 1x8x8")


LOGITS_ALONE = (
    "and net.pt2 gives its logits alone; take kd, lkd without stages, or weighted_losses of kd, dkd, dist, lskd"
)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "prokt": ({"method": "prokt"}, f"method 'prokt' trains its teacher, {LOGITS_ALONE}"),
    "subgraph": ({"method": "subgraph"}, f"method 'subgraph' cuts its student out of its teacher, {LOGITS_ALONE}"),
    "losses": (
        {"method": "weighted_losses", "options": {"losses": "kd=0.9, fitnet=1"}},
        f"method 'weighted_losses' looks at feature maps of its teacher (stage2), {LOGITS_ALONE}",
    ),
    "pathways": ({"method": "distpro"}, "method 'distpro' looks at feature maps of its teacher (stem, stage1.pre"),
    "maps": ({"method": "lkd", "options": {"stages": "pre_pool"}}, "method 'lkd' looks at feature maps of its teacher"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_more_than_logits_is_refused(tmp_path, case):
    changes, sentence = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        prepared(tmp_path, teacher_in(tmp_path, "pt2"), **changes)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("losses", ["kd", "dkd", "dist", "lskd", "mlkd"])
def test_sums_of_losses_of_logits_are_not(tmp_path, losses):
    prepared(tmp_path, teacher_in(tmp_path, "pt2"), method="weighted_losses", options={"losses": losses})


def test_proxies_that_draw_the_teacher_anew_are_refused(tmp_path):
    search = dataclasses.replace(tiny.SEARCH, proxy_filter=("naswot", "kd_kd"))
    with pytest.raises(
        ConfigError, match=r"^proxy 'kd_kd' reads the teacher's maps, and net.pt2 gives its logits alone"
    ):
        prepared(tmp_path, teacher_in(tmp_path, "pt2"), search=search)


def test_probabilities_are_refused(tmp_path):
    path = files.save_onnx(files.trained_net(), tmp_path / "net.onnx", last=("Softmax",))
    with pytest.raises(ConfigError, match=r"^net.onnx returns probabilities, as .*; export the network without its so"):
        prepared(tmp_path, TeacherSpec(model=f"file:{path}"))
    logs = files.save_onnx(files.trained_net(), tmp_path / "logs.onnx", last=("LogSoftmax",))
    prepared(tmp_path, TeacherSpec(model=f"file:{logs}"))


def test_another_number_of_outputs_is_to_be_named(tmp_path):
    path = files.save_onnx(files.trained_net(InputShape(1, 8, 8, 5)), tmp_path / "net.onnx")
    for described, sentence in (
        ({}, "net.onnx has 5 outputs, and tests.tiny:source 3 classes; say by teacher.classes or teacher.class_names"),
        ({"total_classes": 4}, "net.onnx has 5 outputs, and teacher.total_classes = 4 names another number; drop it"),
        ({"classes": (0, 1, 5)}, "teacher.classes names output 5, and the teacher has outputs 0 to 4"),
    ):
        with pytest.raises(ConfigError) as caught:
            prepared(tmp_path, TeacherSpec(model=f"file:{path}", **described))
        assert str(caught.value).startswith(sentence)


def test_a_size_that_the_graph_does_not_take_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^net.pt2 takes images of 8 by 8 pixels, and would be given 16 by 16; set"):
        prepared(tmp_path, teacher_in(tmp_path, "pt2", resolution=16))


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ({"checkpoint": "weights.pt"}, "has its weights in its file, and teacher.checkpoint = 'weights.pt' would not"),
        ({"all_labels": True}, "teacher.all_labels is for a teacher that is trained here, and this one is a file"),
    ],
)
def test_what_goes_with_weights_alone_is_refused(tmp_path, described, sentence):
    with pytest.raises(ConfigError, match=sentence):
        settle_teacher(teacher_in(tmp_path, "pt2", **described))


def test_a_network_in_the_place_of_weights_is_refused():
    with pytest.raises(ConfigError, match=r'write teacher.model = "file:a/net.onnx" in its place, or save its weights'):
        settle_teacher(TeacherSpec(checkpoint="a/net.onnx"))


def test_macs_are_stated_of_files_alone():
    with pytest.raises(ValueError, match=r"^teacher.macs = 5 is for a model 'file:PATH', and those of 'resnet56' are"):
        TeacherSpec(macs=5)
    with pytest.raises(ValueError, match=r"^macs must be 0 \(counted\) or more, got -1"):
        TeacherSpec(model="file:net.onnx", macs=-1)
