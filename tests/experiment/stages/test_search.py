"""What a search has begun stays, and proxies see the teacher that the experiment has trained."""

import dataclasses
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

from automl_kd.config import to_record
from automl_kd.errors import ResultError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.proxy_filter import make_probes
from automl_kd.experiment.stages.search import Searching, require_trials
from automl_kd.methods import run_trial
from automl_kd.models.features import Outputs
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.score import score_architectures
from automl_kd.results.store.folder import open_folder
from automl_kd.results.store.scores import read_scores
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe
from tests import tiny

PROXIES = ("diswot_relation", "kd_kd")

Scores = dict[tuple[int, str], float]
"""By width and proxy."""


def lab(folder, trials: int) -> Any:
    plain = tiny.experiment()
    search = dataclasses.replace(plain.search, trials=trials)
    return SimpleNamespace(folder=folder, experiment=dataclasses.replace(plain, search=search))


def test_fewer_trials_than_were_begun_are_refused(tmp_path):
    require_trials(lab(tmp_path, 1))  # nothing was begun
    (tmp_path / "proposals.jsonl").write_text('{"width": 4}\n' * 7 + '{"wid')
    for enough in (7, 8):
        require_trials(lab(tmp_path, enough))
    said = r"has begun 7 trials, and search.trials is 6: .*; set it to 7 or more, or give this search another name"
    with pytest.raises(ResultError, match=said):
        require_trials(lab(tmp_path, 6))


def searched(root, proxy_teacher: Literal["random", "trained"]) -> tuple[ExperimentContext, Scores]:
    """Train the teacher of a search on digits and ask for its first trial; the scores that it kept."""
    search = dataclasses.replace(tiny.SEARCH, proxy_filter=PROXIES, pool=3, probe_images=8, proxy_teacher=proxy_teacher)
    teacher = dataclasses.replace(tiny.TEACHER, recipe=Recipe(epochs=1, batch_size=64))
    data = DataSpec(name="digits")
    asked = tiny.experiment(name=proxy_teacher, method="kd", search=search, data=data, teacher=teacher)
    context = prepare_experiment(asked, Roots(results=root, data=root), Silent())
    training = context.teacher_training
    if not context.teachers.exists():
        run_trial(training, tiny.Recorder(), context.trial_paths(training, "cpu"))
    open_folder(context.folder, to_record(context.experiment))
    assert Searching(context).ask(0) is not None
    kept = read_scores(context.folder)
    return context, {
        (width, proxy): score
        for width in range(2, 16)
        for proxy, score, key in zip(kept["proxy"], kept["score"], kept["architecture_id"], strict=True)
        if key == Architecture.of({"width": width}).key
    }


def test_a_trained_proxy_teacher_is_the_one_that_the_experiment_trains(tmp_path):
    context, trained = searched(tmp_path, "trained")
    _, random = searched(tmp_path, "random")
    assert len(trained) == 6
    assert trained.keys() == random.keys()
    assert all(abs(score - random[one]) > 1e-3 * abs(score) for one, score in trained.items())

    # by hand: the checkpoint's network on the images of the probe
    dataset = context.dataset
    teacher = tiny.Net(dataset.shape, 16).eval()
    load_weights(teacher, context.teachers / context.teacher_training.key / "student.pt")
    (plain,) = make_probes(dataset, ["naswot"], context.experiment.teacher, images=8, draws=1, seed=0)
    with torch.no_grad():
        maps = teacher.relu(teacher.norm(teacher.stem(plain.images)))
        vectors = maps.mean((2, 3))
        outputs = Outputs(teacher.classifier(vectors), {"pre_pool": maps, "pooled": vectors})
    probe = Probe(plain.images, plain.labels, plain.shape, outputs)
    students = [Architecture.of({"width": width}) for width in sorted({width for width, _ in trained})]
    by_hand = score_architectures(tiny.SPACE, students, PROXIES, [probe], seed=0)
    expected = {(int(one.architecture.as_dict()["width"]), one.proxy): one.value for one in by_hand}
    assert trained == pytest.approx(expected, rel=1e-4)
