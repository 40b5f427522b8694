"""Trials with several teachers: their logits, keys, cost, cache and measurement, and what such a teacher refuses."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from automl_kd.data import plain_view
from automl_kd.errors import ConfigError
from automl_kd.experiment.teacher_settings import settle_teacher
from automl_kd.methods import dry_run_method, estimate_cost, run_trial
from automl_kd.methods.base import STEP
from automl_kd.methods.from_file import measuring_trial
from automl_kd.methods.model_card import student_label
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.teacher_mean import member_networks
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.space import InputShape
from automl_kd.spec import Preprocessing, TeacherCacheOptions, TeacherSpec, TrialSpec
from automl_kd.teacher_cache.identity import cache_identity
from automl_kd.training.trial import load_teacher, prepare_trial
from tests import tiny
from tests.models.black_box import files

DATA = dataclasses.replace(tiny.DATA, view=16)


def filed(root, name: str, seed: int, shape: InputShape = tiny.SHAPE, **fields) -> TeacherSpec:
    """A teacher with random weights in a file."""
    torch.manual_seed(seed)
    save_weights(tiny.teacher(shape), root / name)
    digest = digest_file(root / name)
    return TeacherSpec(model="tests.tiny:teacher", checkpoint=str(root / name), digest=digest, **fields)


def two_teachers(root, **mean) -> TeacherSpec:
    """One that sees the students' images, and one with images, normalisation and classes of its own."""
    own = {
        "resolution": 16,
        "preprocessing": Preprocessing(mean=(0.3,), std=(0.6,)),
        "classes": (4, 0, 2),
        "total_classes": 5,
    }
    first, other = filed(root, "first.pt", 3), filed(root, "other.pt", 4, InputShape(1, 16, 16, 5), **own)
    return dataclasses.replace(first, others=(other,), **mean)


@pytest.fixture
def spec(tmp_path) -> TrialSpec:
    teacher = two_teachers(tmp_path, shares=(0.75, 0.25))
    return dataclasses.replace(tiny.spec(method="kd"), data=DATA, teacher=teacher)


def with_teacher(spec: TrialSpec, **fields) -> TrialSpec:
    assert spec.teacher is not None
    return dataclasses.replace(spec, teacher=dataclasses.replace(spec.teacher, **fields))


def with_other(spec: TrialSpec, **fields) -> TrialSpec:
    assert spec.teacher is not None
    return with_teacher(spec, others=(dataclasses.replace(spec.teacher.others[0], **fields),))


def test_the_mean_is_that_of_each_teacher_in_its_own_way(tmp_path, spec):
    dataset = prepare_trial(spec, tiny.place(tmp_path, spec)).dataset
    images = plain_view(dataset, dataset.train, torch.arange(8))
    alone = []
    for one in spec.teacher.members:
        single = dataclasses.replace(spec, teacher=one)
        alone.append(load_teacher(prepare_trial(single, tiny.place(tmp_path, single)))(images))
    teacher = load_teacher(prepare_trial(spec, tiny.place(tmp_path, spec)))
    assert not any(one.requires_grad for one in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    expected = 0.75 * torch.softmax(alone[0] / 4, 1) + 0.25 * torch.softmax(alone[1] / 4, 1)
    torch.testing.assert_close(torch.softmax(teacher(images) / 4, 1), expected, rtol=1e-5, atol=1e-6)


def test_a_trial_learns_from_both_and_pays_for_both(tmp_path, spec):
    recorder, place = tiny.Recorder(), tiny.place(tmp_path, spec)
    run_trial(spec, recorder, place)
    context = prepare_trial(spec, place)
    macs = [count_cost(one, context.dataset.shape).macs for one in member_networks(load_teacher(context))]
    epoch = len(context.dataset.train) * (STEP * context.cost.macs + sum(macs))
    assert estimate_cost(spec, place).epoch_macs == epoch
    assert recorder.seen[3]["train_macs"] == 3 * epoch
    assert macs[1] == pytest.approx(4 * macs[0], rel=0.01)  # of 16 x 16 pixels


def test_other_shares_and_another_temperature_teach_other_students(tmp_path, spec):
    losses = set()
    for one in (spec, with_teacher(spec, shares=()), with_teacher(spec, temperature=1.0)):
        recorder = tiny.Recorder()
        run_trial(one, recorder, tiny.place(tmp_path, one))
        losses.add(recorder.seen[3]["val_loss"])
    assert len(losses) == 3


def test_its_key_follows_files_shares_and_temperature_and_no_path(spec):
    moved = with_other(with_teacher(spec, checkpoint="/elsewhere/a.pt"), checkpoint="/elsewhere/b.pt")
    assert moved.key == with_teacher(spec, learned_shares=True).key == spec.key
    others = [
        dataclasses.replace(spec, teacher=spec.teacher.members[0]),
        with_teacher(spec, shares=()),
        with_teacher(spec, temperature=2.0),
        with_teacher(spec, digest="0"),
        with_other(spec, digest="0"),
        with_other(spec, weights="ema"),
        with_other(spec, classes=(0, 1, 2)),
        with_other(spec, preprocessing=Preprocessing()),
        with_other(spec, model="resnet8"),
    ]
    assert len({spec.key, *(one.key for one in others)}) == 1 + len(others)


def test_a_spec_is_read_back_and_one_teacher_is_written_as_before(spec):
    assert TrialSpec.from_json(spec.to_json()) == spec
    single = dataclasses.replace(spec, teacher=spec.teacher.members[0])
    assert TrialSpec.from_json(single.to_json()) == single
    assert not {"others", "shares", "learned_shares", "temperature"} & set(json.loads(single.to_json())["teacher"])


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_one_that_is_a_file_costs_beside_others_what_it_costs_alone(tmp_path, spec, kind):
    box = settle_teacher(TeacherSpec(model=files.save(kind, files.trained_net(), tmp_path, batch=4)))
    both = dataclasses.replace(spec, teacher=dataclasses.replace(spec.teacher.members[0], others=(box,)))
    context = prepare_trial(both, tiny.place(tmp_path, both))
    alone = [
        count_cost(load_teacher(dataclasses.replace(context, spec=dataclasses.replace(both, teacher=one))), tiny.SHAPE)
        for one in both.teacher.members
    ]
    together = count_cost(load_teacher(context), tiny.SHAPE)
    assert (together.params, together.macs) == tuple(map(sum, zip(*map(dataclasses.astuple, alone), strict=True)))
    assert alone[1].macs > 0
    identity = cache_identity(context, (), "exact", still=True)
    assert ("onnxruntime" in str(identity.get("runtime"))) == (kind == "onnx")


def test_the_cache_serves_the_mean_and_no_other(tmp_path, spec):
    def computed(one: TrialSpec, folder: str) -> float:
        place = dataclasses.replace(
            tiny.place(tmp_path, one), trial=tmp_path / folder, teacher_cache=TeacherCacheOptions(keep="logits")
        )
        recorder = tiny.Recorder()
        run_trial(one, recorder, place)
        return recorder.seen[3]["teacher_passes"]

    assert computed(spec, "first") > 0 == computed(spec, "again")
    first, again = (torch.load(tmp_path / name / "student.pt", weights_only=True) for name in ("first", "again"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert computed(dataclasses.replace(spec, teacher=spec.teacher.members[0]), "alone") > 0
    for name, other in {
        "shares": with_teacher(spec, shares=()),
        "temperature": with_teacher(spec, temperature=2.0),
        "classes": with_other(spec, classes=(0, 1, 2)),
    }.items():
        assert computed(other, name) > 0
    torch.manual_seed(9)
    save_weights(tiny.teacher(InputShape(1, 16, 16, 5)), tmp_path / "other.pt")
    assert computed(spec, "another file") > 0


def test_together_they_are_measured_under_all_their_names(tmp_path, spec):
    measured = measuring_trial(spec.teacher, spec.data, spec.recipe)
    recorder, place = tiny.Recorder(), tiny.place(tmp_path, measured)
    run_trial(measured, recorder, place)
    assert recorder.seen[1]["params"] == sum(
        sum(one.numel() for one in tiny.teacher(InputShape(1, 8, 8, classes)).parameters()) for classes in (3, 5)
    )
    assert student_label(measured, place.trial) == "tests.tiny:teacher + tests.tiny:teacher"


MAPS = r"looks at feature maps of its teacher \(.*pre_pool.*\)"


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        (
            "weighted_losses",
            {"losses": "kd, at, at.stages=pre_pool"},
            MAPS,
        ),
        ("distpro", {"stages": "pre_pool"}, MAPS),
        ("lkd", {"stages": "pre_pool"}, MAPS),
        ("prokt", {}, "trains its teacher"),
        ("subgraph", {"params_limit": 1000}, "cuts its student out of its teacher"),
    ],
)
def test_methods_that_need_more_than_logits_are_refused(tmp_path, spec, method, options, reason):
    one = dataclasses.replace(spec, method=method, options=options)
    sentence = (
        rf"^method '{method}' {reason}, and tests.tiny:teacher \+ tests.tiny:teacher together give logits only; name "
    )
    with pytest.raises(ConfigError, match=sentence):
        dry_run_method(one, prepare_trial(spec, tiny.place(tmp_path, spec)).dataset, tiny.place(tmp_path, one))


@pytest.mark.parametrize(("method", "options"), [("kd", {}), ("weighted_losses", {"losses": "kd, dist"}), ("lkd", {})])
def test_methods_that_read_logits_alone_pass(tmp_path, spec, method, options):
    one = dataclasses.replace(spec, method=method, options=options)
    dry_run_method(one, prepare_trial(spec, tiny.place(tmp_path, spec)).dataset, tiny.place(tmp_path, one))
