"""Zero-cost proxies: scores of untrained students, by name.

A name with a colon, `my_lab.proxies:MINE`, refers to an `Entry` defined elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from automl_kd.errors import ConfigError
from automl_kd.proxies import diswot
from automl_kd.proxies.base import Entry, OfOutputs
from automl_kd.proxies.grad_norm import grad_norm
from automl_kd.proxies.macs import macs
from automl_kd.proxies.naswot import naswot
from automl_kd.proxies.params import params
from automl_kd.proxies.synflow import synflow
from automl_kd.registry import lookup

PROXIES: Mapping[str, Entry] = {
    "params": Entry(proxy=params, source="the number of parameters"),
    "macs": Entry(proxy=macs, source="the number of multiply-adds"),
    "grad_norm": Entry(proxy=grad_norm, source="Abdelfattah et al. 2021, arXiv:2101.08134", needs_gradient=True),
    "naswot": Entry(proxy=naswot, source="Mellor et al. 2021, arXiv:2006.04647"),
    "synflow": Entry(proxy=synflow, source="Tanaka et al. 2020, arXiv:2006.05467", needs_gradient=True),
    "diswot_relation": Entry(
        proxy=OfOutputs(diswot.relation),
        source="Dong et al. 2023, arXiv:2303.15678",
        initialisation="normal",
        needs_teacher=True,
    ),
    "diswot_semantic": Entry(
        proxy=OfOutputs(diswot.semantic),
        source="Dong et al. 2023, arXiv:2303.15678",
        initialisation="normal",
        needs_teacher=True,
    ),
}

AGGREGATES: Mapping[str, tuple[str, ...]] = {"diswot": ("diswot_relation", "diswot_semantic")}
"""Rank sums: an architecture's ranks under the members, within the set that is scored, added up.

The code released with DisWOT adds the two similarities themselves in its ranking script. The relation is some hundred
times smaller, so that sum ranks almost as the semantic similarity does alone; with ranks both count.
"""


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """The proxies behind `names`, each once: aggregates by their members. `UnknownNameError` for a name of neither."""
    members: dict[str, None] = {}
    for name in names:
        lookup({**dict.fromkeys(AGGREGATES), **PROXIES}, name, "proxy")
        members.update(dict.fromkeys(AGGREGATES.get(name, (name,))))
    return tuple(members)


def entry(name: str) -> Entry:
    """The table's entry, or the one that `module:attribute` refers to; `ConfigError` if that is something else."""
    found: object = lookup(PROXIES, name, "proxy")
    if not isinstance(found, Entry):
        raise ConfigError(
            f"{name!r} is a {type(found).__name__}, and a proxy's Entry was wanted; "
            "wrap the function as Entry(proxy=function, source=...) and name that"
        )
    return found
