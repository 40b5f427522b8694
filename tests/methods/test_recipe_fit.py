"""Recipes that a method cannot follow are refused in a sentence; the others train, with one view for both networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from automl_kd.errors import ConfigError
from automl_kd.losses.cross_entropy import CrossEntropy
from automl_kd.methods import estimate_cost, make_method, run_trial
from automl_kd.methods.recipe_fit import require_recipe
from automl_kd.spec import Recipe, TeacherCacheOptions
from automl_kd.teacher_cache import cached_teacher
from tests import tiny

MIXED = Recipe(epochs=2, batch_size=16, mixup=0.5, cutmix=1.0)


@pytest.mark.parametrize(
    ("method", "options", "recipe", "sentence"),
    [
        (
            "weighted_losses",
            {"losses": "dkd"},
            {"mixup": 0.1},
            "loss 'dkd' needs one label for each image, and recipe.mixup",
        ),
        (
            "weighted_losses",
            {"losses": "kd, ofa=1"},
            {"cutmix": 1.0},
            "loss 'ofa' needs one label .* recipe.cutmix mixes",
        ),
        ("prokt", {"losses": "crd"}, {"mixup": 0.1}, "loss 'crd' needs one label for each image"),
        ("lkd", {}, {"mixup": 0.1}, "method 'lkd' needs one label for each image"),
        ("distpro_search", {}, {"mixup": 0.1}, "method 'distpro_search' needs one label for each image"),
        ("distpro", {}, {"cutmix": 0.1}, "method 'distpro' needs one label for each image"),
        ("lkd", {}, {"loss": "bce"}, "steps of cross entropy, and recipe.loss is 'bce'; set recipe.loss = 'ce'"),
        ("distpro_search", {}, {"optimizer": "lamb"}, "alike, and recipe.optimizer is 'lamb'; change that"),
        ("lkd", {}, {"decay_norms": False}, "alike, and recipe.decay_norms is false; change that"),
        ("weighted_losses", {"losses": "crd"}, {"repeats": 2}, "loss 'crd' remembers each image once in a batch"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tmp_path, method, options, recipe, sentence):
    spec = tiny.spec(method=method, options=options, recipe=Recipe(batch_size=16, **recipe))
    with pytest.raises(ConfigError, match=sentence):
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))


def test_a_replay_without_a_search_may_mix():
    require_recipe(MIXED, make_method("distpro", {"replay": "equal"}), "distpro")
    with pytest.raises(ConfigError, match="needs one label"):
        require_recipe(MIXED, make_method("distpro", {}), "distpro")


EVERYTHING: dict[str, Any] = {
    "augment": "random-resized-crop",
    "policy": "rand",
    "jitter": 0.3,
    "erasing": 0.2,
    "ema": 0.9,
    "decay_norms": False,
    "train_resolution": 6,
}


@pytest.mark.parametrize("loss", ["ce", "bce"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("scratch", {}),
        ("kd", {}),
        ("weighted_losses", {"losses": "kd=0.5, dist=0.1, ce=0.5"}),
        ("prokt", {}),
        ("subgraph", {"divisor": 1, "search_ce": 0.5}),
    ],
)
def test_the_other_methods_train_by_a_full_recipe(tmp_path, method, options, loss):
    recipe = dataclasses.replace(MIXED, loss=loss, optimizer="lamb", lr=0.01, **EVERYTHING)
    spec, recorder = tiny.taught(tmp_path, method, options=options, recipe=recipe), tiny.Recorder()
    paths = tiny.place(tmp_path, spec)
    run_trial(spec, recorder, paths)
    assert sorted(recorder.seen) == [1, 2]
    assert "test_accuracy" in recorder.seen[2]
    kept = torch.load(paths.trial / "student.pt", weights_only=True)
    assert all(bool(value.isfinite().all()) for value in kept.values())


def test_teacher_and_student_see_the_same_mixed_images(tmp_path, monkeypatch):
    seen: dict[str, list[torch.Tensor]] = {"student": [], "teacher": []}
    plain, live = CrossEntropy.__call__, cached_teacher.LiveTeacher.__call__

    def teacher(self, batch):
        seen["teacher"].append(batch.inputs.clone())
        return live(self, batch)

    def student(self, outputs, teacher_out, batch):
        if batch.part:  # not one whose cost is counted
            assert batch.second_labels is not None
            seen["student"].append(batch.inputs.clone())
        return plain(self, outputs, teacher_out, batch)

    monkeypatch.setattr(cached_teacher.LiveTeacher, "__call__", teacher)
    monkeypatch.setattr(CrossEntropy, "__call__", student)
    spec = tiny.taught(
        tmp_path, "weighted_losses", options={"losses": "kd"}, recipe=dataclasses.replace(MIXED, epochs=1)
    )
    run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))
    pairs = list(zip(seen["student"], seen["teacher"], strict=True))
    assert len(pairs) == 6
    assert all(torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize("changes", [{}, {"repeats": 2}, {"policy": "trivial", "mix_probability": 0.5}])
def test_the_cache_holds_what_the_teacher_says_of_mixed_images(tmp_path, changes):
    recipe = dataclasses.replace(MIXED, **changes)
    results: list[Any] = []
    for keep in ("off", "logits", "logits"):
        spec = tiny.taught(tmp_path, "kd", recipe=recipe)
        paths = dataclasses.replace(
            tiny.place(tmp_path, spec), trial=tmp_path / f"{len(results)}", teacher_cache=TeacherCacheOptions(keep=keep)
        )
        recorder = tiny.Recorder()
        run_trial(spec, recorder, paths)
        results.append((torch.load(paths.trial / "student.pt"), recorder.seen[2]))
    (alone, _), (first, _), (second, metrics) = results
    assert all(torch.equal(alone[name], first[name]) and torch.equal(alone[name], second[name]) for name in alone)
    assert (metrics["teacher_passes"], metrics["teacher_passes_saved"]) == (0, 12)


def test_the_cost_of_training_follows_its_resolution(tmp_path):
    plain = tiny.taught(tmp_path, "scratch")
    small = dataclasses.replace(plain, recipe=dataclasses.replace(plain.recipe, train_resolution=4))
    # width 4: 36 weights at each pixel and 12 of the classifier; 88 images, three passes
    costs = [estimate_cost(one, tiny.place(tmp_path, one)).epoch_macs for one in (plain, small)]
    assert costs == [88 * 3 * (36 * 64 + 12), 88 * 3 * (36 * 16 + 12)]
    recorder = tiny.Recorder()
    run_trial(small, recorder, tiny.place(tmp_path, small))
    assert recorder.seen[1]["macs"] == 36 * 64 + 12
    assert recorder.seen[1]["train_macs"] == costs[1]


def test_a_student_trains_on_small_images_and_is_measured_on_large_ones(tmp_path):
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    forward = tiny.Net.forward

    def listen(self, images):
        if isinstance(images.shape[2], int):  # not a tracer's
            sizes[self.training].add(images.shape[2])
        return forward(self, images)

    spec = tiny.taught(tmp_path, "kd", recipe=dataclasses.replace(tiny.RECIPE, train_resolution=5))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny.Net, "forward", listen)
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))
    assert sizes == {True: {5}, False: {5, 8}}  # where the cost of training is counted, 5 outside of it
