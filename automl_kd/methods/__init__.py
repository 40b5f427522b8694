"""How one student is trained, start to end: one file each, and the table of their names."""

from __future__ import annotations

from collections.abc import Mapping

from automl_kd.config import parse
from automl_kd.methods.base import Method
from automl_kd.methods.distil import Distil
from automl_kd.methods.distpro import DistPro
from automl_kd.methods.distpro_search import DistProSearch
from automl_kd.methods.kd import PlainKD
from automl_kd.methods.lkd import LKD
from automl_kd.methods.prokt import ProKT
from automl_kd.methods.scratch import Scratch
from automl_kd.methods.subgraph import Subgraph
from automl_kd.registry import lookup
from automl_kd.space import Scalar
from automl_kd.spec import Place, Report, TrialSpec

METHODS: Mapping[str, type[Method]] = {
    "scratch": Scratch,
    "kd": PlainKD,
    "distil": Distil,
    "distpro_search": DistProSearch,
    "distpro": DistPro,
    "prokt": ProKT,
    "lkd": LKD,
    "subgraph": Subgraph,
}


def make_method(name: str, options: Mapping[str, Scalar]) -> Method:
    """The method called `name` with these options; what it does not know or take is a `ConfigError`."""
    return parse(lookup(METHODS, name, "method"), options, f"options of method {name!r}")


def carry_out(spec: TrialSpec, report: Report, place: Place) -> None:
    """The trainable for every spec: look up its method and run it."""
    make_method(spec.method, spec.options)(spec, report, place)
