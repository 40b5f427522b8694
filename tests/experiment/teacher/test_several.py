"""Several teachers in an experiment: what is said of each, their shares learned once, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from automl_kd import experiment as stages
from automl_kd.config import Experiment, load_experiment, parse_record
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.teacher_settings import settle_teacher, settle_view
from automl_kd.experiment.teacher_shares import learn_shares
from automl_kd.models import build_model
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.results.report.page import write_page
from automl_kd.results.store.teacher_shares import read_shares, write_shares
from automl_kd.space import InputShape
from automl_kd.spec import DataSpec, Preprocessing, TeacherSpec
from tests import tiny
from tests.experiment.teacher import coloured
from tests.experiment.test_run import Notes

OWN = Preprocessing(mean=(0.5,), std=(0.5,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images, a teacher that knows them, and one with random weights that takes larger images."""
    root: Path = tmp_path_factory.mktemp("teachers")
    coloured.train_teacher(root, coloured.load(root), OWN)
    (root / "teacher.pt").rename(root / "good.pt")
    torch.manual_seed(1)
    save_weights(build_model(coloured.MODEL, InputShape(3, 16, 16, len(coloured.COLOURS))), root / "random.pt")
    return root


def described(folder: Path, **changes) -> Experiment:
    """Random weights first, then the good teacher."""
    teacher = TeacherSpec(
        model=coloured.MODEL,
        checkpoint=str(folder / "random.pt"),
        resolution=16,
        others=(TeacherSpec(model=coloured.MODEL, checkpoint=str(folder / "good.pt"), preprocessing=OWN),),
    )
    plain = tiny.experiment(
        space="model:resnet8",
        method="kd",
        data=DataSpec(name=f"arrays:{folder / 'colours.npz'}"),
        teacher=dataclasses.replace(teacher, **changes.pop("teacher", {})),
    )
    return dataclasses.replace(plain, **changes)


def prepared(experiment: Experiment, root: Path) -> tuple[stages.ExperimentContext, list[str]]:
    notes = Notes()
    return prepare_experiment(experiment, Roots(results=root / "results", data=root), notes), notes.notes


def test_each_teacher_is_settled_by_itself(folder):
    settled = settle_teacher(described(folder, teacher={"shares": (1.0, 3.0)}).teacher)
    assert [one.digest for one in settled.members] == [
        digest_file(folder / "random.pt"),
        digest_file(folder / "good.pt"),
    ]
    assert settled.shares == (0.25, 0.75)
    assert settle_teacher(described(folder, teacher={"shares": (2.0, 2.0)}).teacher).shares == ()


def test_images_are_kept_as_the_teacher_with_the_largest_takes_them():
    first, large = (
        TeacherSpec(checkpoint="x", resolution=size, preprocessing=Preprocessing(crop=crop))
        for size, crop in ((32, 0.9), (64, 0.875))
    )
    found = settle_view(DataSpec(resolution=32), dataclasses.replace(first, others=(large,)))
    assert (found.view, found.crop) == (64, 0.875)


def test_the_cost_is_the_sum(folder, tmp_path):
    both, _ = prepared(described(folder), tmp_path)
    alone = [
        prepared(dataclasses.replace(both.experiment, teacher=one), tmp_path)[0].teacher_macs
        for one in both.experiment.teacher.members
    ]
    assert both.teacher_macs == sum(alone)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"shares": (1.0, 2.0, 3.0)},
            r"teacher.shares has another length than the number of teachers, 2, got \[1.0, 2.0, 3",
        ),
        ({"shares": (1.0, 0.0)}, r"teacher.shares must be above 0, got \[1.0, 0.0\]"),
        ({"temperature": 0.0}, "teacher.temperature must be above 0, got 0.0"),
        ({"others": (TeacherSpec(outputs="top2"),)}, r"teacher.others.0.outputs is for the table \[teacher\] alone"),
        (
            {"others": (TeacherSpec(learned_shares=True),)},
            r"teacher.others.0.learned_shares is for the table \[teacher",
        ),
        ({"others": (TeacherSpec(temperature=2.0),)}, r"teacher.others.0.temperature is for the table \[teacher\]"),
        ({"others": (TeacherSpec(others=(TeacherSpec(),)),)}, r"teacher.others.0.others is for the table \[teacher\]"),
    ],
)
def test_what_fits_no_teachers_is_refused_as_they_are_described(fields, sentence):
    plain = TeacherSpec(others=(TeacherSpec(),))
    with pytest.raises(ValueError, match=f"^{sentence}"):
        dataclasses.replace(plain, **fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"others": (), "shares": (1.0,)},
            r"teacher.shares is for several teachers, and there is one; add \[\[teacher",
        ),
        ({"others": (), "learned_shares": True}, "teacher.learned_shares is for several teachers"),
        ({"others": (), "temperature": 2.0}, "teacher.temperature is for several teachers"),
        ({"shares": (1.0, 2.0), "learned_shares": True}, "teacher.shares are given, and teacher.learned_shares asks"),
        (
            {"checkpoint": "", "resolution": 0},
            r"teacher \(tests.*\) brings no weights, and of several teachers none is",
        ),
        (
            {"others": (TeacherSpec(),)},
            r"teacher.others.0 \(resnet56\) brings no weights, and of several teachers none",
        ),
        (
            {"others": (TeacherSpec(classes=(1,)),)},
            "teacher.others.0: teacher.classes is for a teacher that brings its",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_trained(folder, fields, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        settle_teacher(described(folder, teacher=fields).teacher)


def test_a_file_of_an_experiment_names_each_teacher(folder, tmp_path):
    (tmp_path / "good.pt").write_bytes((folder / "good.pt").read_bytes())
    text = 'name = "x"\nspace = "model:resnet8"\n[teacher]\nmodel = "a:b"\nshares = [2, 1]\n[[teacher.others]]\n'
    (tmp_path / "mine.toml").write_text(f'{text}model = "a:c"\ncheckpoint = "good.pt"\nresolution = 16\n')
    found = load_experiment(tmp_path / "mine.toml").teacher
    other = TeacherSpec(model="a:c", checkpoint=str(tmp_path / "good.pt"), resolution=16)
    assert (found.others, found.shares) == ((other,), (2.0, 1.0))
    (tmp_path / "mine.toml").write_text(f'{text}model = "a:c"\ncheckpoint = "no.pt"\n')
    with pytest.raises(ConfigError, match=r"mine.toml: teacher.others.0.checkpoint = 'no.pt' names no file"):
        load_experiment(tmp_path / "mine.toml")


def test_the_same_file_twice_and_another_cut_are_said(folder, tmp_path):
    twice = TeacherSpec(model=coloured.MODEL, checkpoint=str(folder / "random.pt"), resolution=16)
    _, notes = prepared(described(folder, teacher={"others": (twice,)}), tmp_path)
    assert "two of the teachers are the same file: together they have the sum of their shares" in notes
    cut = dataclasses.replace(twice, preprocessing=Preprocessing(crop=0.5), checkpoint=str(folder / "good.pt"))
    _, notes = prepared(described(folder, teacher={"others": (cut,)}), tmp_path)
    assert any(note.startswith("all teachers see one view of each image, with data.crop = 1.0") for note in notes)


def test_proxies_that_read_a_teachers_maps_are_refused(folder, tmp_path):
    search = dataclasses.replace(tiny.SEARCH, proxy_filter=("diswot",))
    with pytest.raises(ConfigError, match=r"^proxy '.*' reads the teacher's maps, and .* together give logits only"):
        prepared(described(folder, search=search), tmp_path)


def test_the_best_shares_of_a_mixture_are_found():
    # Three quarters of the images come from the first part: with sure parts that is the likeliest share.
    likelihoods = torch.full((2, 400), -30.0, dtype=torch.float64)
    likelihoods[0, :300] = likelihoods[1, 300:] = -0.1
    assert learn_shares(likelihoods) == pytest.approx((0.75, 0.25), abs=1e-6)


def test_no_other_shares_are_likelier():
    logs = torch.log_softmax(2 * torch.randn(3, 500, generator=torch.Generator().manual_seed(0)).double(), 0)
    best = torch.tensor(learn_shares(logs), dtype=torch.float64)
    assert float(best.sum()) == pytest.approx(1)

    def likelihood(shares: torch.Tensor) -> float:
        return float(torch.logsumexp(logs + shares.log().unsqueeze(1), 0).mean())

    for place in range(3):
        moved = 0.98 * best
        moved[place] += 0.02
        assert likelihood(moved) < likelihood(best)


def test_the_teacher_that_knows_the_images_gets_the_share(folder, tmp_path):
    asked = described(folder, teacher={"learned_shares": True})
    context, notes = prepared(asked, tmp_path)
    first, good = context.experiment.teacher.shares
    assert first + good == pytest.approx(1)
    assert good > 0.9
    (said,) = [note for note in notes if note.startswith("shares of the teachers by 600 labelled training images: ")]
    assert said == context.shares["sentence"]
    again, _ = prepared(asked, tmp_path)
    assert again.teacher_training.key == context.teacher_training.key
    given = described(folder, teacher={"shares": (first, good)})
    assert prepared(given, tmp_path)[0].teacher_training.key == context.teacher_training.key


def test_learned_shares_are_kept_and_not_learned_again(folder, tmp_path):
    asked = described(folder, teacher={"learned_shares": True})
    context, _ = prepared(asked, tmp_path)
    write_shares(context.folder, {**context.shares, "shares": [0.4, 0.6]})
    assert prepared(asked, tmp_path)[0].experiment.teacher.shares == (0.4, 0.6)
    other = dataclasses.replace(asked, data=dataclasses.replace(asked.data, train_images=200))
    assert prepared(other, tmp_path)[0].experiment.teacher.shares != (0.4, 0.6)


def test_shares_are_not_learned_from_images_that_a_teacher_was_trained_on(folder, tmp_path):
    asked = described(folder, teacher={"learned_shares": True})
    data = prepared(asked, tmp_path)[0].experiment.data
    digest = data.digest
    trained = tmp_path / "student.pt"
    trained.write_bytes((folder / "good.pt").read_bytes())
    other = dataclasses.replace(asked.teacher.others[0], checkpoint=str(trained))
    asked = dataclasses.replace(asked, teacher=dataclasses.replace(asked.teacher, others=(other,)))
    for known in ({"digest": "0", "name": "x"}, {"digest": digest, "name": "x"}, {"digest": "0", "name": data.name}):
        (tmp_path / "student.json").write_text(json.dumps({"spec": {"data": known}}))
        if known["digest"] != digest and known["name"] != data.name:
            prepared(asked, tmp_path)
            continue
        with pytest.raises(ConfigError, match=r"^teacher.learned_shares looks at labelled training images, and .* was"):
            prepared(asked, tmp_path)


def test_shares_are_not_learned_from_a_few_labels(folder, tmp_path):
    asked = described(folder, teacher={"learned_shares": True})
    few = dataclasses.replace(asked, data=dataclasses.replace(asked.data, labelled_images=10))
    with pytest.raises(
        ConfigError, match=r"^teacher.learned_shares looks at labelled .*, and there are 10 where 20 or"
    ):
        prepared(few, tmp_path)


@pytest.mark.ray
def test_a_whole_search_by_two_teachers(ray_session, folder, tmp_path):
    asked = described(folder, teacher={"learned_shares": True}, space="search_spaces.resnet_depth:SPACE")
    asked = dataclasses.replace(asked, search=dataclasses.replace(tiny.SEARCH, trials=2))
    asked = dataclasses.replace(asked, recipe=dataclasses.replace(tiny.RECIPE, epochs=1, batch_size=64))
    roots, notes = Roots(results=tmp_path / "results", data=tmp_path), Notes()
    context = stages.run_stages(asked, roots, notes, accept_teacher=True)
    rows = context.table.read()
    names = f"{coloured.MODEL} + {coloured.MODEL}"
    assert set(rows["status"]) == {"complete"}
    assert set(rows.loc[rows["method"] == "kd", "teacher"]) == {names}
    assert list(rows.loc[rows["trial_kind"] == "teacher", "student"]) == [names]
    assert read_shares(context.folder) == context.shares
    page = write_page(context.folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert context.shares["sentence"] in page
    found = json.loads((context.folder / "preflight.json").read_text())
    assert [one["images"] > 0 for one in found["teachers"]] == [True, True]
    stored = json.loads((context.folder / "experiment.json").read_text())
    assert parse_record(Experiment, stored, "experiment.json").teacher == context.experiment.teacher
    again = stages.run_stages(asked, roots, Notes(), accept_teacher=True)
    assert len(again.table.read()) == len(rows)
