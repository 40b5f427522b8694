"""What a bank's folder is named by: machines of another kind, whose kernels round otherwise, keep one of their own."""

from __future__ import annotations

import pytest

from automl_kd.teacher_cache import identity as guide_identity
from automl_kd.teacher_cache.identity import kind_of
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
