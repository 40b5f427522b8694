"""experiment.toml: reads back, and its only final trial is the exported one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from automl_kd.config import load_experiment
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.comparison import Candidate, reference_length
from automl_kd.experiment.stages.comparison import trial as trial_of
from automl_kd.export.experiment_file import write_experiment
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.spec import Recipe, TeacherSpec
from tests import tiny


@pytest.mark.parametrize(("method", "from_file"), [("kd", False), ("kd", True), ("scratch", False)])
def test_it_trains_the_same_trial(tmp_path, method, from_file):
    data = tiny.DATA
    spec = tiny.taught(tmp_path, method, seed=5, width=7, recipe=Recipe(epochs=3, batch_size=16, last_epoch=0.5))
    if spec.teacher is not None:
        spec = replace(spec, options={"temperature": 2.0, "weight": 0.5})
    if from_file:
        save_weights(tiny.teacher(tiny.SHAPE), file := tmp_path / "teacher.pt")
        spec = replace(
            spec, teacher=TeacherSpec(model="tests.tiny:teacher", checkpoint=str(file), digest=digest_file(file))
        )
    (tmp_path / "experiment.toml").write_text(write_experiment(spec, "again"))
    experiment = load_experiment(tmp_path / "experiment.toml")
    assert experiment.data == data
    context = prepare_experiment(experiment, Roots(results=tmp_path, data=tmp_path), Silent())
    (entry,) = context.experiment.comparison.methods
    (seed,) = context.experiment.finalists.seeds
    found = trial_of(context, Candidate(entry, entry.combinations[0]), reference_length(context, 1.0), seed)
    known = replace(spec, data=context.experiment.data)
    assert found.key == known.key


def test_what_is_written_is_never_refused(tmp_path):
    """A method that makes its own students has no start to name, and shares that were learned are given."""
    files = [tmp_path / f"{number}.pt" for number in range(2)]
    for number, file in enumerate(files):
        torch.manual_seed(number)
        save_weights(tiny.teacher(tiny.SHAPE), file)
    one, two = (TeacherSpec(model="tests.tiny:teacher", checkpoint=str(file)) for file in files)
    several = replace(one, others=(two,), shares=(0.25, 0.75), learned_shares=True)
    inside = replace(tiny.spec(), method="subgraph", teacher=one, options={"params_limit": 60})
    for number, spec in enumerate((replace(tiny.taught(tmp_path, "kd"), teacher=several), inside)):
        (tmp_path / "experiment.toml").write_text(write_experiment(spec, f"again{number}"))
        experiment = load_experiment(tmp_path / "experiment.toml")
        assert not experiment.comparison.methods[0].init or spec.method == "kd"
        assert not experiment.teacher.learned_shares
        prepare_experiment(experiment, Roots(results=tmp_path, data=tmp_path), Silent())


def test_objects_of_a_program_are_told_of(tmp_path):
    spec = tiny.spec(space="model:pickled:/gone/Net-0.pkl@sha256-" + "0" * 64, width=4)
    (tmp_path / "experiment.toml").write_text(write_experiment(spec, "again"))
    assert "made by a Python program" in " ".join((tmp_path / "experiment.toml").read_text().split("\n# "))
    with pytest.raises(ConfigError, match="names an object of a Python program"):
        load_experiment(tmp_path / "experiment.toml")
