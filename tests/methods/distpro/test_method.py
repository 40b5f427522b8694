"""The replay as a trial: search before it, exact resuming, what clipping saves, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from automl_kd.errors import ConfigError, StopTrial, UnknownNameError
from automl_kd.methods import METHODS, base, make_method, run_trial
from automl_kd.methods.distpro.process import Process, load_process, save_process
from automl_kd.methods.distpro.search import DistProSearch
from automl_kd.space import Architecture, Scalar
from automl_kd.spec import REMARK_FILE
from tests import tiny
from tests.methods.distpro.trials import (
    PATHWAYS,
    SHORT,
    Recorder,
    equal,
    load,
    place,
    spec,
    stripes,  # noqa: F401 - a fixture
    trained,
    without_latency,
)


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.slow
def test_search_then_replay_from_one_spec_continues_bit_for_bit(tmp_path, stop):
    options = {"search": 0.67, "clip": 0.0}
    whole = trained(tmp_path, "distpro", options, "unbroken")
    with pytest.raises(StopTrial):
        trained(tmp_path, "distpro", options, "broken", stop=stop)
    assert trained(tmp_path, "distpro", options, "broken").seen == whole.seen
    one, two = (tmp_path / name for name in ("unbroken", "broken"))
    assert equal(load(one / "student.pt"), load(two / "student.pt"))
    assert equal(*(without_latency(load(folder / "checkpoint.pt")) for folder in (one, two)))
    # Two of three epochs, on 77 of 96 images.
    assert load_process(one / "search" / "process.json").steps == 8


def saved(root: Path, *rows: float, style: str = "absolute") -> str:
    """A process whose first pathway has these alphas, the others 0."""
    pathways = tuple((p.teacher, p.student, p.transform) for p in make_search().pathways)
    alpha = tuple((row, *[0.0] * (PATHWAYS - 1)) for row in rows)
    axis = tuple(i / max(len(rows) - 1, 1) for i in range(len(rows)))
    process = Process(pathways=pathways, style=style, kd=1.0, steps=len(rows), axis=axis, alpha=alpha)
    save_process(process, root / "given.json")
    return str(root / "given.json")


def make_search() -> DistProSearch:
    method = make_method("distpro_search", SHORT)
    assert isinstance(method, DistProSearch)
    return method


def test_a_given_process_is_replayed_and_clipped_pathways_cost_nothing(tmp_path):
    always = trained(tmp_path, "distpro", {"process": saved(tmp_path, 1.0, 1.0)}, "always").seen[1]["train_macs"]
    # From 1 to 0 over 15 steps, clipped below 1/2: 8 of 15 count.
    half = trained(tmp_path, "distpro", {"process": saved(tmp_path, 1.0, 0.0)}, "half").seen[1]["train_macs"]
    student, teacher = (9 * width * 64 + 3 * width for width in (4, 16))
    connector = 4 * 16 * 64  # a 1x1 convolution on 8x8 positions, from the norm's 4 channels to the teacher's 16
    assert always == 96 * (3 * student + teacher + 3 * connector)
    assert half == 96 * round(3 * student + 8 / 15 * (teacher + 3 * connector))


def untold(root: Path, **changes: object) -> str:
    """A process that a search of ten updates found, in which nothing differs from chance."""
    found = load_process(Path(saved(root, 0.7, 0.3)))
    changes = {"slopes": (1.0,) * PATHWAYS, "errors": (1.0,) * PATHWAYS, "updates": 10, **changes}
    save_process(replace(found, **changes), root / "untold.json")  # type: ignore[arg-type]
    return str(root / "untold.json")


def test_pathways_that_a_search_could_not_tell_apart_have_equal_weights_and_the_trial_says_so(tmp_path):
    arms: dict[str, dict[str, Scalar]] = {
        "untold": {"process": untold(tmp_path)},
        "equal": {"replay": "equal"},
        "published": {"process": untold(tmp_path), "published": True},
    }
    for name, options in arms.items():
        trained(tmp_path, "distpro", options, name)
    ends = {name: load(tmp_path / name / "student.pt") for name in arms}
    assert equal(ends["untold"], ends["equal"])
    assert not equal(ends["untold"], ends["published"])
    said = (tmp_path / "untold" / REMARK_FILE).read_text(encoding="utf-8")
    assert said == (
        "the search could not tell the pathways apart, the largest slope being 1.0 standard errors after 10 updates; "
        "all have equal weights"
    )
    assert not (tmp_path / "published" / REMARK_FILE).exists()


def test_a_short_search_drops_no_pathway(tmp_path):
    told: dict[str, object] = {"slopes": (9.0,) * PATHWAYS}
    short = trained(tmp_path, "distpro", {"process": untold(tmp_path, **told)}, "short")
    long = trained(tmp_path, "distpro", {"process": untold(tmp_path, **told, updates=500)}, "long")
    assert long.seen[1]["train_macs"] < short.seen[1]["train_macs"]


def test_replays_differ_and_equal_weights_need_no_process(tmp_path):
    path = saved(tmp_path, 3.0, 0.6)
    students: dict[str, object] = {}
    arms: dict[str, dict[str, Scalar]] = {
        "process": {"process": path},
        "final": {"process": path, "replay": "final"},
        "equal": {"replay": "equal", "kd": 0.6},
        "style": {"process": path, "style": "scaled", "clip": 0.0},
    }
    for name, options in arms.items():
        trained(tmp_path, "distpro", options, name)
        students[name] = load(tmp_path / name / "student.pt")
    names = list(students)
    assert not any(equal(students[a], students[b]) for i, a in enumerate(names) for b in names[:i])
    assert not (tmp_path / "equal" / "search").exists()


def test_a_constant_process_equals_its_final_weights_bit_for_bit(tmp_path):
    path = saved(tmp_path, 0.7, 0.7)
    trained(tmp_path, "distpro", {"process": path}, "process")
    trained(tmp_path, "distpro", {"process": path, "replay": "final"}, "final")
    assert equal(*(load(tmp_path / name / "student.pt") for name in ("process", "final")))


def test_a_clip_that_drops_every_pathway_is_refused_before_the_search():
    with pytest.raises(ConfigError, match=r"clip = 0.5 lies above 0.0909, the weight of every pathway at the start"):
        make_method("distpro", {"style": "softmax"})
    make_method("distpro", {"style": "softmax", "process": "found.json"})


def test_a_process_is_transferred_to_another_student(tmp_path):
    trained(tmp_path, "distpro_search", {}, "searched")
    options: dict[str, Scalar] = {"process": str(tmp_path / "searched" / "process.json"), "clip": 0.0}
    other = replace(spec("distpro", options, epochs=2), architecture=Architecture.of({"width": 8}))
    recorder = Recorder()
    run_trial(other, recorder, place(tmp_path, "other"))
    assert set(recorder.seen) == {1, 2}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stages": "norm+pre_pool"}, ConfigError, "other pathways"),
        ({"stages": "stage9+pre_pool"}, UnknownNameError, "no feature layer or module is called 'stage9'"),
        ({"clip": 4.0}, ConfigError, "ever weighs 4 or more; lower clip"),
        ({"process": "/nowhere/process.json"}, ConfigError, "no process could be read from /nowhere/process.json"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        trained(tmp_path, "distpro", {"process": saved(tmp_path, 1.0, 1.0), **options}, "one")


@pytest.mark.parametrize("method", ["distpro_search", "distpro"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "softmix"}, "did you mean 'softmax'"),
        ({"connect": "upper"}, "no set of pathways"),
        ({"transforms": "4conv"}, "no transform is called '4conv'"),
        ({"order": "later"}, "order must be lagged or sequential"),
        ({"interval": 0}, "interval must be 1 or more"),
        ({"held_out": 1.0}, "held_out must lie between 0 and 1"),
        ({"alpha_lr": -0.1}, "alpha_lr must be 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"kd": 0.0}, "kd must be above 0"),
    ],
)
def test_options_out_of_range(method, options, message):
    with pytest.raises(ConfigError, match=message):
        make_method(method, options)


@pytest.mark.parametrize("options", [{"replay": "some"}, {"search": 0.0}, {"clip": -1.0}])
def test_replay_options_out_of_range(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} must"):
        make_method("distpro", options)


def test_the_work_of_a_search_is_what_its_passes_sum_to():
    # 4/5 of the images; a step is 3 passes of the student and 1 of the teacher, a hypergradient 3 + 3 of the student.
    assert METHODS["distpro_search"]().macs(student=10, teacher=20) == round(0.8 * (30 + 20 + 30))  # of half of a batch
    whole = make_method("distpro_search", {"share": 1.0})
    assert whole.macs(student=10, teacher=20) == round(0.8 * (30 + 20 + 60))
    fourth = make_method("distpro_search", {"share": 1.0, "interval": 4})
    assert fourth.macs(student=10, teacher=20) == round(0.8 * (30 + 20 + 15))
    # Its replay: a step of distillation, and a sixth of the epochs before it.
    assert METHODS["distpro"]().macs(student=10, teacher=20) == round(30 + 20 + 64 / 6)
    assert make_method("distpro", {"replay": "equal"}).macs(student=10, teacher=20) == 50


def test_the_search_is_part_of_the_training_s_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "loading", tiny.Delivering())
    seen = trained(tmp_path, "distpro", {"search": 0.67, "clip": 0.0}, "one").seen
    assert [seen[epoch]["images_delivered"] for epoch in (1, 2, 3)] == [30, 40, 50]  # two of the search


def test_costs_of_a_search_are_added_to_every_report():
    history = [{"seconds": 2.0, "teacher_passes": 3.0}, {"seconds": 5.0, "teacher_passes": 1.0, "val_accuracy": 0.5}]
    costs = base.search_costs(history)
    assert costs == {"seconds": 5.0, "teacher_passes": 4.0}
    assert base.search_costs([]) == {}
    recorder = tiny.Recorder()
    report = base.after_search(recorder, costs)
    report({"seconds": 1.0, "val_accuracy": 0.25}, epoch=1)
    assert recorder.seen == {1: {"seconds": 6.0, "teacher_passes": 4.0, "val_accuracy": 0.25}}
