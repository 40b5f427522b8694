"""What can be tried of a user's own method without data: a mistake in it is found before its teacher is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from automl_kd.errors import ConfigError
from automl_kd.methods import METHODS, dry_run_method
from automl_kd.methods.own_method import require_usable
from tests import tiny


@dataclass(frozen=True)
class Fine:
    needs_teacher: ClassVar[bool] = True

    def macs(self, student, teacher):
        return 3 * student + teacher

    def __call__(self, spec, report, paths):
        return [len(str(one)) for one in (spec, report, paths, tiny)]


@dataclass(frozen=True)
class OneNumber(Fine):
    def macs(self, student):  # type: ignore[override]  # the mistake
        return 3 * student


@dataclass(frozen=True)
class Nothing(Fine):
    def macs(self, student, teacher):
        return 0


@dataclass(frozen=True)
class Words(Fine):
    def macs(self, student, teacher):
        return f"{student}"


@dataclass(frozen=True)
class Failing(Fine):
    def macs(self, student, teacher):
        return student / (teacher - teacher)


@dataclass(frozen=True)
class OtherCall(Fine):
    def __call__(self, spec, report):  # type: ignore[override]  # the mistake
        return spec, report


@dataclass(frozen=True)
class OtherCost(Fine):
    def cost(self, spec):
        return spec


@dataclass(frozen=True)
class Counting(Fine):
    def macs(self, student, teacher):
        return np.int64(3 * student + teacher)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            OneNumber(),
            r"macs of method 'own' cannot be called with \(student, teacher\): too many positional arguments",
        ),
        (Nothing(), "macs of method 'own' returns 0, where the multiply-adds of one training image were wanted"),
        (Words(), "macs of method 'own' returns '1000000', where"),
        (Failing(), r"macs of method 'own' fails \(ZeroDivisionError: .*\); let it return the multiply-adds"),
        (OtherCall(), r"__call__ of method 'own' cannot be called with \(spec, report, paths\)"),
        (OtherCost(), r"cost of method 'own' cannot be called with \(spec, paths\)"),
    ],
)
def test_a_mistake_is_a_sentence(method: Any, said: str):
    with pytest.raises(ConfigError, match=f"^{said}"):
        require_usable(method, "own")


@pytest.mark.parametrize("method", [Fine(), Counting(), tiny.Pretend(), *(kind() for kind in METHODS.values())])
def test_a_method_that_works_passes(method: Any):
    require_usable(method, "own")


def test_a_dry_run_tries_methods_of_users_alone(tmp_path):
    spec = tiny.spec(method="tests.methods.test_own_method:OneNumber", teacher=tiny.TEACHER)
    with pytest.raises(ConfigError, match="cannot be called with"):
        dry_run_method(spec, tiny.dataset(), tiny.place(tmp_path, spec))
