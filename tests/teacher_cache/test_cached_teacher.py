"""The door to the teacher: with a bank every method comes to the same bits, asks less, and shares with whoever asks."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.data import Batch, epoch_order
from automl_kd.errors import StopTrial
from automl_kd.methods import run_trial
from automl_kd.models.features import Outputs
from automl_kd.models.folding import fold_norms
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import InputShape
from automl_kd.spec import TeacherCacheOptions, TrialSpec
from automl_kd.teacher_cache.cached_teacher import EVIDENCE, WAIT_BATCHES, CachedTeacher, teacher_outputs
from automl_kd.training import trial
from automl_kd.training.training_run import TrainingRun
from tests import tiny
from tests.conformance.trials import EPOCHS, difference, left_by, quick, spec_of
from tests.teacher_cache.test_store import claimed_elsewhere

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")

TAPS = TeacherCacheOptions(keep="features")
STEPS = 6
"""Of an epoch: 88 images, 16 to a batch."""

MAPS = "kd, fitnet, fitnet.stages=pre_pool"
"""Losses that read a map."""

THOROUGH = (
    "distil stateful",
    "lkd joint",
    "distpro process",
    "distpro_search sequential",
    "lkd retrain",
    "subgraph search",
)


def trained(root: Path, spec: TrialSpec, folder: str, bank: TeacherCacheOptions, *, stop: int = 0) -> tiny.Recorder:
    recorder = tiny.Recorder(stop)
    place = dataclasses.replace(tiny.place(root, spec), trial=root / folder, teacher_cache=bank)
    run_trial(spec, recorder, place)
    return recorder


def uncounted(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in trial.PASSES}


def left(folder: Path) -> dict[str, object]:
    """All that a trial left but its checkpoints, which count passes."""
    return {
        name: found for name, found in left_by(folder).items() if Path(name).name not in {"checkpoint.pt", "search.pt"}
    }


@pytest.mark.parametrize("name", ["kd", *(pytest.param(name, marks=pytest.mark.slow) for name in THOROUGH)])
def test_with_a_bank_every_method_comes_to_the_same_bits(tmp_path, name):
    spec = spec_of(name, tmp_path)
    alone = trained(tmp_path, spec, "alone", TeacherCacheOptions(keep="off"))
    first, second = (trained(tmp_path, spec, folder, TAPS) for folder in ("first", "second"))
    for folder, banked in (("first", first), ("second", second)):
        assert not difference(left(tmp_path / "alone"), left(tmp_path / folder))
        assert not difference(alone.seen, {epoch: uncounted(one) for epoch, one in banked.seen.items()})
    one, two = first.seen[EPOCHS], second.seen[EPOCHS]
    assert one["teacher_passes"] > 0 == two["teacher_passes"]
    assert one["teacher_passes"] + one["teacher_passes_saved"] == two["teacher_passes_saved"]
    assert two["teacher_seconds_saved"] > 0
    assert not set(trial.PASSES) & set(alone.seen[EPOCHS])


def test_maps_of_texts_are_not_kept_and_nobody_is_told_of_a_full_cache(tmp_path):
    spec = spec_of("texts distil maps", tmp_path)
    alone, banked = (trained(tmp_path, spec, keep, TeacherCacheOptions(keep=keep)) for keep in ("off", "features"))
    assert not set(trial.PASSES) & set(banked.seen[EPOCHS])
    assert not difference(alone.seen, banked.seen)
    assert not difference(left(tmp_path / "off"), left(tmp_path / "features"))
    assert not list(tmp_path.rglob("epoch-*.bin"))


def test_students_methods_and_lengths_share_what_seeds_and_batches_do_not(tmp_path):
    def computed(spec: TrialSpec) -> float:
        return list(trained(tmp_path, spec, "again" + str(os.urandom(4).hex()), TAPS).seen.values())[-1][
            "teacher_passes"
        ]

    plain = spec_of("kd", tmp_path)
    assert computed(plain) == EPOCHS * STEPS
    recipe = plain.recipe
    longer = dataclasses.replace(recipe, epochs=EPOCHS + 1, lr=0.5, label_smoothing=0.1)
    assert computed(dataclasses.replace(plain, recipe=longer, options={"weight": 0.3})) == STEPS
    assert computed(tiny.taught(tmp_path, "kd", width=9, recipe=recipe)) == 0
    assert computed(tiny.taught(tmp_path, "weighted_losses", recipe=recipe)) == 0  # the same outputs: logits alone
    for changed in (
        dataclasses.replace(plain, seed=1),
        dataclasses.replace(plain, recipe=dataclasses.replace(recipe, batch_size=17)),
        dataclasses.replace(plain, recipe=dataclasses.replace(recipe, channels_last=False)),
        tiny.taught(tmp_path, "weighted_losses", recipe=recipe, options={"losses": MAPS}),
    ):
        assert computed(changed) == EPOCHS * STEPS
    torch.manual_seed(12)
    save_weights(tiny.teacher(tiny.SHAPE), tmp_path / "teachers" / tiny.lesson().key / "student.pt")
    assert computed(plain) == EPOCHS * STEPS  # another teacher in the same place


def test_a_run_that_ends_inside_an_epoch_asks_for_its_steps_alone(tmp_path):
    plain = spec_of("kd", tmp_path)
    short = dataclasses.replace(plain, recipe=dataclasses.replace(plain.recipe, last_epoch=0.5))
    first, again, whole = (
        trained(tmp_path, spec, folder, TAPS) for spec, folder in zip((short, short, plain), "abc", strict=True)
    )
    passes = EPOCHS * STEPS - STEPS // 2
    assert first.seen[EPOCHS]["teacher_passes"] == passes
    assert again.seen[EPOCHS]["teacher_passes_saved"] == passes
    assert whole.seen[EPOCHS]["teacher_passes"] == STEPS // 2  # what is left of the last epoch
    assert not difference(left(tmp_path / "a"), left(tmp_path / "b"))


@pytest.mark.parametrize("outputs", ["exact", "top1"])
def test_where_images_stand_still_one_epoch_serves_all_epochs_and_seeds(tmp_path, outputs):
    plain = still(tmp_path, "counting", outputs)
    # a pass for each batch of the images; then 16 images of each size of batch, 16 and 8, to see whether it matters
    assert EVIDENCE == 16
    for seed, computed in ((0, STEPS + 1 + 2), (1, 1 + 2)):
        last = banked_and_alone(tmp_path, dataclasses.replace(plain, seed=seed))
        assert (last["teacher_passes"], last["teacher_passes_saved"]) == (computed, EPOCHS * STEPS - computed)


def test_a_teacher_that_looks_at_neighbours_is_asked_about_images_that_stand_still(tmp_path):
    last = banked_and_alone(tmp_path, still(tmp_path, "comparing"))
    assert (last["teacher_passes"], last["teacher_passes_saved"]) == (STEPS + EPOCHS * STEPS, -STEPS)


@pytest.mark.parametrize("seed", range(4))
def test_a_teacher_of_another_opinion_in_smaller_batches_is_asked_about_the_last_of_each_epoch(tmp_path, seed):
    # so it is with many a convolution's last bits; the table is of batches of 16, and one in six has 8
    last = banked_and_alone(tmp_path, dataclasses.replace(still(tmp_path, "crowded"), seed=seed))
    assert (last["teacher_passes"], last["teacher_passes_saved"]) == (
        STEPS + 1 + EPOCHS,
        EPOCHS * (STEPS - 1) - STEPS - 1,
    )


@pytest.mark.parametrize("outputs", ["exact", "top1"])
def test_ordinary_rounding_costs_passes_and_no_bit_where_images_stand_still(tmp_path, outputs):
    # which sizes of batch round alike differs between processors, so how often it is asked does too
    last = banked_and_alone(tmp_path, still(tmp_path, "convolving", outputs))
    assert STEPS + 1 + 2 <= last["teacher_passes"] <= STEPS + EPOCHS * STEPS
    assert last["teacher_passes"] + last["teacher_passes_saved"] == EPOCHS * STEPS


def still(root: Path, model: str, outputs: str = "exact") -> TrialSpec:
    """Plain KD from one of the teachers below on images that look alike in every epoch."""
    spec, made = spec_of("kd", root), globals()[model](tiny.SHAPE)
    save_weights(made, root / "it.pt")
    teacher = dataclasses.replace(
        tiny.TEACHER, model=f"{__name__}:{model}", checkpoint=str(root / "it.pt"), outputs=outputs
    )
    return dataclasses.replace(spec, teacher=teacher, recipe=dataclasses.replace(spec.recipe, augment="none"))


def banked_and_alone(root: Path, spec: TrialSpec) -> Mapping[str, float]:
    """What a trial with a bank reports last, which leaves the same as one without."""
    trained(root, spec, f"alone {spec.seed}", TeacherCacheOptions(keep="off"))
    last = trained(root, spec, f"banked {spec.seed}", TAPS).seen[EPOCHS]
    assert not difference(left(root / f"alone {spec.seed}"), left(root / f"banked {spec.seed}"))
    return last


def test_auto_and_logits_keep_no_maps(tmp_path):
    mapped = tiny.taught(tmp_path, "weighted_losses", recipe=spec_of("kd", tmp_path).recipe, options={"losses": MAPS})
    for keep in ("auto", "logits"):
        assert not set(trial.PASSES) & set(trained(tmp_path, mapped, keep, TeacherCacheOptions(keep=keep)).seen[EPOCHS])
    assert "teacher_passes" in trained(tmp_path, mapped, "taps", TAPS).seen[EPOCHS]


@pytest.mark.parametrize("stop", [1, 2])
def test_a_broken_trial_continues_to_the_same_bits_and_counts_all_its_passes(tmp_path, stop):
    spec = spec_of("kd", tmp_path)
    whole = trained(tmp_path, spec, "whole", TeacherCacheOptions(keep="off"))
    with pytest.raises(StopTrial):
        trained(tmp_path, spec, "broken", TAPS, stop=stop)
    broken = trained(tmp_path, spec, "broken", TAPS)
    assert not difference(left(tmp_path / "whole"), left(tmp_path / "broken"))
    assert not difference(whole.seen, {epoch: uncounted(one) for epoch, one in broken.seen.items()})
    assert [one["teacher_passes"] for one in broken.seen.values()] == [STEPS, 2 * STEPS, 3 * STEPS]


class Scene:
    """A run of plain KD and its guide, with the batches that the loop would make."""

    def __init__(self, root: Path, bank: TeacherCacheOptions = TAPS, spec: TrialSpec | None = None) -> None:
        self.spec = spec or spec_of("kd", root)
        self.setting = trial.prepare_trial(
            self.spec, dataclasses.replace(tiny.place(root, self.spec), teacher_cache=bank)
        )
        self.run = TrainingRun(self.setting.student, self.setting.dataset, self.spec.recipe, self.spec.seed)
        self.teacher = trial.load_teacher(self.setting)
        self.guide = teacher_outputs(self.setting, self.teacher)
        fold_norms(self.teacher)  # as the guide does

    def batch(self, number: int, epoch: int = 1) -> Batch:
        rows = epoch_order(len(self.run.dataset.train), seed=self.run.order_seed, epoch=epoch)
        size = self.spec.recipe.batch_size
        return self.run.batch(rows[number * size : (number + 1) * size], epoch, number)

    def right(self, outputs: Outputs, batch: Batch) -> bool:
        with torch.no_grad():
            return torch.equal(outputs.logits, self.teacher(batch.inputs))

    def counts(self) -> tuple[int, int]:
        return self.setting.cache_stats.asked, self.setting.cache_stats.computed


def test_batches_of_another_kind_are_put_to_the_teacher(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    one = scene.batch(0)
    rows = torch.arange(16)
    others = [scene.run.batch(rows, 1), dataclasses.replace(one, part=(scene.run.number + 1, 0))]
    others.append(scene.run.batch(rows[:8], 1, 0))  # a piece that does not say so
    for other in others:
        assert scene.right(scene.guide(other), other)
    monkeypatch.setattr("automl_kd.distributed.size", lambda: 2)  # several processes split each batch
    assert scene.right(scene.guide(one), one)
    assert scene.counts() == (0, 0)
    assert not (tmp_path / "teachers" / tiny.lesson().key / "bank").exists()
    for piece in (0, 1):
        with distributed.whole_batch():  # there is no process group to ask for the part's number
            half = scene.run.batch(rows[piece * 8 : (piece + 1) * 8], 1, 0, piece, 2)
        for counts in ((2 * piece + 1, piece + 1), (2 * piece + 2, piece + 1)):
            assert scene.right(scene.guide(half), half)
            assert scene.counts() == counts


def test_what_another_process_computes_is_not_waited_for(tmp_path):
    scene = Scene(tmp_path)
    scene.guide(scene.batch(0, epoch=2))
    assert isinstance(scene.guide, CachedTeacher)
    folder = scene.guide.store.folder
    with claimed_elsewhere(folder / "epoch-0001.bin", 0, 2):
        found = scene.guide(scene.batch(0))
        assert scene.right(found, scene.batch(0))
        # batch 0 is in another's hands and so is 2: 1, 3 and 4 are computed ahead, then 0 after all
        assert WAIT_BATCHES == 3
        assert scene.counts() == (2, 2 + WAIT_BATCHES)
        other = Scene(tmp_path)
        for number in (0, 1, 3, 4):
            assert scene.right(other.guide(scene.batch(number)), scene.batch(number))
        assert other.counts() == (4, 0)
        assert scene.right(other.guide(scene.batch(2)), scene.batch(2))
        assert other.counts() == (5, 2)  # 5, the last of the epoch, and 2
        assert scene.right(scene.guide(scene.batch(5)), scene.batch(5))
        assert scene.counts() == (3, 2 + WAIT_BATCHES)


def test_beyond_the_limit_the_teacher_is_asked_and_the_trial_says_so(tmp_path):
    spec = spec_of("kd", tmp_path)
    whole = trained(tmp_path, spec, "whole", TeacherCacheOptions(keep="off"))
    small = trained(tmp_path, spec, "small", TeacherCacheOptions(keep="logits", limit_gb=1e-9))
    assert not difference(left(tmp_path / "whole"), left(tmp_path / "small"))
    last = small.seen[EPOCHS]
    assert last["teacher_passes"] == last["teacher_passes_unkept"] == EPOCHS * STEPS
    assert last["train_macs"] == whole.seen[EPOCHS]["train_macs"]


def test_a_disk_that_fails_costs_passes_and_nothing_else(tmp_path, monkeypatch):
    spec = spec_of("kd", tmp_path)
    trained(tmp_path, spec, "whole", TeacherCacheOptions(keep="off"))
    calls = []

    def full(*given: object) -> int:
        calls.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    last = trained(tmp_path, spec, "full", TAPS).seen[EPOCHS]
    assert len(calls) == 1
    assert not difference(left(tmp_path / "whole"), left(tmp_path / "full"))
    assert (last["teacher_passes_saved"], last["teacher_passes_unkept"]) == (-1, EPOCHS * STEPS)  # one was tried twice


class Changed(nn.Module):
    """A network that sees its images changed."""

    def __init__(self, change: Callable[[Tensor], Tensor], inner: nn.Module) -> None:
        super().__init__()
        self.change, self.inner = change, inner

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.inner(self.change(images))
        return out


def drawing(shape: InputShape) -> nn.Module:
    return Changed(nn.functional.dropout, tiny.teacher(shape))


def comparing(shape: InputShape) -> nn.Module:
    return Changed(lambda images: images - images.mean(dim=0), tiny.teacher(shape))


def crowded(shape: InputShape) -> nn.Module:
    """Counts bright pixels, the more of them the larger the batch."""
    return counting(shape, lambda images: (images > 0).float() * len(images))


def convolving(shape: InputShape) -> nn.Module:
    return tiny.teacher(shape)


def counting(shape: InputShape, change: Callable[[Tensor], Tensor] = lambda images: (images > 0).float()) -> nn.Module:
    """Counts bright pixels by whole weights: sums of small integers, which every processor adds up to the same."""
    pixels = shape.channels * shape.height * shape.width
    head = nn.Linear(pixels, shape.classes)
    with torch.no_grad():
        head.weight.copy_(torch.arange(pixels * shape.classes).reshape_as(head.weight) % 7 - 3)
        head.bias.zero_()
    return nn.Sequential(Changed(change, nn.Flatten()), head)


@pytest.mark.parametrize("augment", ["auto", "none"])
def test_a_teacher_that_draws_is_asked_each_time(tmp_path, augment):
    plain = spec_of("kd", tmp_path)
    teacher = dataclasses.replace(tiny.TEACHER, model=f"{__name__}:drawing", checkpoint=str(tmp_path / "it.pt"))
    save_weights(drawing(tiny.SHAPE), tmp_path / "it.pt")
    spec = dataclasses.replace(plain, teacher=teacher, recipe=dataclasses.replace(plain.recipe, augment=augment))
    seen = []
    for folder, bank in (("alone", TeacherCacheOptions(keep="off")), ("first", TAPS), ("second", TAPS)):
        seen.append({epoch: uncounted(one) for epoch, one in trained(tmp_path, spec, folder, bank).seen.items()})
    assert not difference(seen[0], seen[1])
    assert not difference(seen[0], seen[2])


@pytest.mark.parametrize("outputs", ["float16", "top1"])
def test_a_rounded_teacher_is_another_teacher_with_or_without_a_bank(tmp_path, outputs):
    exact = spec_of("kd", tmp_path)
    spec = dataclasses.replace(exact, teacher=dataclasses.replace(tiny.TEACHER, outputs=outputs))
    assert spec.key != exact.key
    for folder, bank in (("alone", TeacherCacheOptions(keep="off")), ("first", TAPS), ("second", TAPS)):
        trained(tmp_path, spec, folder, bank)
        assert not difference(left(tmp_path / "alone"), left(tmp_path / folder))
    trained(tmp_path, exact, "exact", TAPS)
    assert difference(left(tmp_path / "alone")["student.pt"], left(tmp_path / "exact")["student.pt"])
