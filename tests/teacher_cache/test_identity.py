"""What a bank's folder is named by: machines of another kind, whose kernels round otherwise, keep one of their own."""

from __future__ import annotations

import dataclasses

import pytest

from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.spec import Recipe, TeacherCacheOptions, teacher_trial
from automl_kd.teacher_cache import identity as guide_identity
from automl_kd.teacher_cache.cached_teacher import CachedTeacher, stand_still, teacher_outputs
from automl_kd.teacher_cache.identity import cache_identity, kind_of
from automl_kd.training.batches import run_number
from automl_kd.training.trial import prepare_trial
from tests import tiny
from tests.conformance.trials import EPOCHS, difference, quick, spec_of
from tests.teacher_cache.test_cached_teacher import STEPS, TAPS, left, trained

__all__ = ["quick"]

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) Processor
cpu MHz\t\t: 2100.000
cache size\t: 307200 KB
cpu cores\t: 2
flags\t\t: fpu sse2 avx avx2 avx512f md_clear
"""

NEOVERSE = """\
processor\t: 3
BogoMIPS\t: 2100.00
Features\t: fp asimd sve crc32
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""


@pytest.mark.usefixtures("quick")
def test_another_kind_of_machine_asks_the_teacher_and_leaves_what_others_kept(tmp_path, monkeypatch):
    spec = spec_of("kd", tmp_path)

    def computed(folder: str) -> float:
        return trained(tmp_path, spec, folder, TAPS).seen[EPOCHS]["teacher_passes"]

    assert computed("here") == EPOCHS * STEPS
    with monkeypatch.context() as patch:
        patch.setattr(guide_identity, "processor", lambda: ("x86_64", "another"))
        assert computed("there") == EPOCHS * STEPS
        assert computed("there again") == 0
    with monkeypatch.context() as patch:
        patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX")
        assert computed("with other kernels") == EPOCHS * STEPS
    assert computed("here again") == 0
    assert not difference(left(tmp_path / "here"), left(tmp_path / "here again"))


def test_a_kind_by_hand():
    known = ["GenuineIntel", "6", "207", "Intel(R) Xeon(R) Processor", "2", "307200 KB", "avx avx2 avx512f sse2"]
    assert kind_of(XEON.splitlines()) == known
    assert kind_of(NEOVERSE.splitlines()) == ["0x41", "0xd40", "asimd sve"]


def test_cores_clocks_and_what_no_kernel_looks_at_make_no_kind():
    other = XEON.replace("processor\t: 0", "processor\t: 1").replace("2100.000", "3400.125").replace(" md_clear", "")
    assert kind_of((XEON + "\n" + other).splitlines()) == kind_of(XEON.splitlines())
    without = XEON.replace(" avx512f", "")
    assert kind_of(without.splitlines()) != kind_of(XEON.splitlines())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("changes", [{"policy": "trivial"}, {"mixup": 0.2}, {"repeats": 2}, {"erasing": 0.1}])
def test_other_views_have_other_outputs(tmp_path, changes):
    spec = spec_of("kd", tmp_path)
    other = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, **changes))
    context, changed = (prepare_trial(one, tiny.place(tmp_path, one)) for one in (spec, other))
    identities = [cache_identity(one, (), "exact", still=False) for one in (context, changed)]
    assert "recipe" not in identities[0]
    assert identities[1] == {**identities[0], "recipe": changes}
    numbers = [run_number(one.dataset, one.spec.recipe, one.spec.seed) for one in (context, changed)]
    assert numbers[0] != numbers[1]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"loss": "bce"}, {"train_resolution": 6}, {"optimizer": "lamb"}])
def test_what_the_teacher_does_not_see_changes_no_outputs(tmp_path, changes):
    spec = spec_of("kd", tmp_path)
    other = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, **changes))
    contexts = (prepare_trial(one, tiny.place(tmp_path, one)) for one in (spec, other))
    one, two = (cache_identity(context, (), "exact", still=False) for context in contexts)
    assert one == two


@pytest.mark.parametrize("changes", [{"policy": "rand"}, {"mixup": 0.2}, {"erasing": 0.5}, {"repeats": 2}])
def test_only_plain_images_stand_still(changes):
    plain = Recipe(batch_size=16, augment="none")
    assert stand_still(tiny.dataset(), plain)
    assert not stand_still(tiny.dataset(), dataclasses.replace(plain, **changes))
    assert not stand_still(dataclasses.replace(tiny.dataset(), transform=lambda images, _words: images), plain)


def test_a_transform_is_cached_only_if_it_is_said_to_be_repeatable(tmp_path):
    name = "tests.data.own_transforms:darken"
    kept = []
    for deterministic in (False, True):
        spec = spec_of("kd", tmp_path)
        data = dataclasses.replace(spec.data, transform=name, transform_deterministic=deterministic)
        one = dataclasses.replace(spec, data=data)
        assert one.teacher is not None
        save_weights(
            tiny.teacher(tiny.SHAPE), tmp_path / "teachers" / teacher_trial(one.teacher, data).key / "student.pt"
        )
        paths = dataclasses.replace(tiny.place(tmp_path, one), teacher_cache=TeacherCacheOptions(keep="logits"))
        asked = teacher_outputs(prepare_trial(one, paths), tiny.teacher(tiny.SHAPE).eval())
        kept.append(isinstance(asked, CachedTeacher))
    assert kept == [False, True]
