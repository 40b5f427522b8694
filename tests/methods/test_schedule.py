"""A schedule of knobs: each stage by its values, to the same bits wherever it was broken or copied from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from automl_kd.errors import StopTrial
from automl_kd.methods import METHODS
from automl_kd.methods.model_card import load_trained_student
from automl_kd.methods.schedule import STEADY, StageEnd, StageReporter, follow, schedule_parts
from automl_kd.spec import Recipe, Stage, TrialSpec, read_schedule, schedule_text
from automl_kd.training.checkpoint import branch
from tests import tiny
from tests.conformance.trials import difference, left_by, quick, run

__all__ = ["quick"]

SIX = Recipe(epochs=6, batch_size=16, lr=0.02)
ONE = Stage(0.0, {"recipe.lr": 0.05, "method.temperature": 2.0})
TWO = Stage(1 / 3, {"recipe.lr": 0.01, "recipe.weight_decay": 0.1, "method.temperature": 5.0})
THREE = Stage(2 / 3, {"recipe.lr": 0.03, "method.temperature": 5.0, "method.weight": 0.5})


def taught(root: Path, *schedule: Stage, **changes) -> TrialSpec:
    return tiny.taught(root, "kd", **{"recipe": SIX, "schedule": schedule, **changes})


def test_stages_as_epochs_by_hand():
    spec = tiny.spec(recipe=Recipe(epochs=6, lr=1.0), options={"seconds": 0.5})
    late = Stage(0.5, {"recipe.lr": 3.0, "method.seconds": 0.1})
    one, two = schedule_parts(dataclasses.replace(spec, schedule=(late,)))
    assert (one.last, one.spec.recipe.lr, one.spec.options) == (3, 1.0, {"seconds": 0.5})
    assert (two.last, two.spec.recipe.lr, two.spec.options) == (6, 3.0, {"seconds": 0.1})
    # what a stage does not name stays as the one before left it
    first, then = Stage(0.0, {"recipe.lr": 2.0, "recipe.weight_decay": 0.0}), Stage(0.9, {"recipe.lr": 4.0})
    (*_, last) = schedule_parts(dataclasses.replace(spec, schedule=(first, then)))
    assert (last.spec.recipe.lr, last.spec.recipe.weight_decay) == (4.0, 0.0)
    # 0.4, 0.5 and 0.9 of two epochs are after one, one and two: the second stage replaces the first, the third is empty
    short = dataclasses.replace(spec.recipe, epochs=2)
    stages = tuple(Stage(start, {"recipe.lr": start}) for start in (0.4, 0.5, 0.9))
    assert [(part.last, part.spec.recipe.lr) for part in schedule_parts(tiny.spec(recipe=short, schedule=stages))] == [
        (1, 1.0),
        (2, 0.5),
    ]


def test_what_a_stage_repeats_is_not_passed_on():
    recorder = tiny.Recorder()
    reporter = StageReporter(recorder, epochs=3)
    reporter.last = 2
    reporter({"a": 1.0}, epoch=1)
    with pytest.raises(StageEnd):
        reporter({"a": 2.0}, epoch=2)
    reporter.last = 3
    for epoch in (1, 2, 3):
        reporter({"a": 10.0 * epoch}, epoch=epoch)
    assert recorder.seen == {1: {"a": 1.0}, 2: {"a": 2.0}, 3: {"a": 30.0}}


def test_a_schedule_changes_the_name_of_a_trial_and_its_absence_none():
    plain = tiny.spec()
    assert "schedule" not in json.loads(plain.to_json())
    assert TrialSpec.from_json(plain.to_json()) == plain
    changing = tiny.spec(schedule=(ONE, TWO))
    assert TrialSpec.from_json(changing.to_json()) == changing
    assert len({plain.key, changing.key, tiny.spec(schedule=(ONE,)).key}) == 3
    assert read_schedule(schedule_text(changing.schedule)) == changing.schedule
    assert (schedule_text(()), read_schedule("")) == ("", ())


@pytest.mark.parametrize("starts", [(0.5, 0.5), (0.5, 0.2), (1.0,), (-0.1,)])
def test_stages_out_of_order_or_range_are_refused(starts):
    with pytest.raises(ValueError, match="stages of a schedule start at rising fractions"):
        tiny.spec(schedule=tuple(Stage(start, {}) for start in starts))


@pytest.mark.usefixtures("quick")
class TestTraining:
    def test_the_values_that_the_trial_has_anyway_change_nothing(self, tmp_path):
        same = {"recipe.lr": 0.02, "method.temperature": 4.0}
        changing = run(taught(tmp_path, Stage(0.0, same), Stage(0.5, same)), tmp_path, "changing")
        plain = run(taught(tmp_path), tmp_path, "plain")
        assert not difference(plain.seen, changing.seen)
        one, two = (left_by(tmp_path / name) for name in ("plain", "changing"))
        assert not difference({**one, "student.json": ""}, {**two, "student.json": ""})

    def test_each_stage_has_its_values(self, tmp_path):
        seen = run(taught(tmp_path, ONE, TWO, THREE), tmp_path, "trial").seen
        assert list(seen) == [1, 2, 3, 4, 5, 6]
        # the last step of an epoch of 6: peak * (1 + cos(pi * (step / steps))) / 2
        steps = torch.arange(6, 37, 6) - 1
        shape = 0.5 * (1 + torch.cos(torch.pi * steps / 36))
        peaks = torch.tensor([0.05, 0.05, 0.01, 0.01, 0.03, 0.03])
        torch.testing.assert_close(torch.tensor([one["lr"] for one in seen.values()]), peaks * shape)
        with pytest.raises(StopTrial):
            run(taught(tmp_path, ONE, TWO, THREE), tmp_path, "third", stop=5)
        state = torch.load(tmp_path / "third" / "checkpoint.pt", weights_only=True)
        decay = state["optimiser"]["param_groups"][0]["weight_decay"]
        assert decay == 0.1  # of the second stage, and the third kept it
        others = [run(taught(tmp_path, *stages), tmp_path, str(len(stages))).seen for stages in ((ONE,), (ONE, TWO))]
        assert [[other[epoch]["train_loss"] == seen[epoch]["train_loss"] for epoch in seen] for other in others] == [
            [True, True, False, False, False, False],
            [True, True, True, True, False, False],
        ]

    @pytest.mark.parametrize("stop", [2, 3])
    def test_stopped_anywhere_it_comes_to_the_same_bits(self, tmp_path, stop):
        spec = taught(tmp_path, ONE, TWO, THREE)
        whole = run(spec, tmp_path, "whole")
        with pytest.raises(StopTrial):
            run(spec, tmp_path, "stopped", stop=stop)
        assert not difference(whole.seen, run(spec, tmp_path, "stopped").seen)
        assert not difference(left_by(tmp_path / "whole"), left_by(tmp_path / "stopped"))

    def test_weights_taken_over_come_to_what_the_schedule_comes_to_from_scratch(self, tmp_path):
        giver, taker = taught(tmp_path, ONE), taught(tmp_path, ONE, TWO)
        with pytest.raises(StopTrial):
            run(giver, tmp_path, "giver", stop=2)
        branch(tmp_path / "giver", tmp_path / "taker")
        run(giver, tmp_path, "giver")
        branch(tmp_path / "giver", tmp_path / "taker")  # it is there: nothing is copied over it
        copied, scratch = (run(taker, tmp_path, name) for name in ("taker", "scratch"))
        assert not difference(scratch.seen, copied.seen)
        assert not difference(left_by(tmp_path / "scratch"), left_by(tmp_path / "taker"))
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("_")]

    def test_a_trial_without_a_checkpoint_gives_nothing(self, tmp_path):
        branch(tmp_path / "nothing", tmp_path / "taker")
        assert not (tmp_path / "taker").exists()

    def test_the_card_names_the_whole_trial(self, tmp_path):
        spec = taught(tmp_path, ONE, TWO)
        run(spec, tmp_path, "trial")
        card = json.loads((tmp_path / "trial" / "student.json").read_text())
        assert TrialSpec.from_json(json.dumps(card["spec"])) == spec
        load_trained_student(tmp_path / "trial")

    def test_a_sum_of_losses_with_layers_follows_too(self, tmp_path):
        stages = [
            Stage(start, {"method.losses": f"kd=1.0, fitnet={weight}, fitnet.stages=pre_pool"})
            for start, weight in ((0.0, 0.1), (0.5, 10.0))
        ]
        spec = tiny.taught(tmp_path, "weighted_losses", recipe=SIX, schedule=tuple(stages))
        whole = run(spec, tmp_path, "whole")
        with pytest.raises(StopTrial):
            run(spec, tmp_path, "stopped", stop=4)
        assert not difference(whole.seen, run(spec, tmp_path, "stopped").seen)
        assert whole.seen[4]["train_loss"] > whole.seen[3]["train_loss"]


def test_stages_that_are_behind_the_checkpoint_are_not_begun(tmp_path):
    spec, begun = tiny.spec(recipe=SIX, schedule=(ONE, TWO, THREE)), []
    place = tiny.place(tmp_path, spec)
    place.trial.mkdir(parents=True)
    torch.save({"history": [{}, {}, {}]}, place.trial / "checkpoint.pt")
    follow(spec, tiny.Recorder(), place, lambda one, report, place: begun.append(one.recipe.lr))
    assert begun == [0.01, 0.03]


def test_what_may_change_is_said_by_the_methods_and_exists():
    live = {
        name: {item.name for item in dataclasses.fields(kind) if item.metadata.get("live")}  # type: ignore[arg-type]
        for name, kind in METHODS.items()
    }
    assert live["kd"] == {"temperature", "weight"}
    assert "losses" in live["weighted_losses"]
    assert set(STEADY) <= {item.name for item in dataclasses.fields(Recipe)}
