"""Zero-cost proxies: scores of untrained students, by name. May import `losses` and below.

A name with a colon, `my_lab.proxies:MINE`, refers to an `ProxyEntry` defined elsewhere. A Python program calls the
proxies of the table as plain functions, `automl_kd.proxies.naswot(model, images)`; see `proxies.functions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from automl_kd.errors import ConfigError
from automl_kd.proxies.activations.az_nas import AZ_EXPRESSIVITY, AZ_PROGRESSIVITY, AZ_TRAINABILITY
from automl_kd.proxies.activations.linear_regions import LINEAR_REGIONS
from automl_kd.proxies.activations.meco import MECO, MECO_OPT
from automl_kd.proxies.activations.naswot import NASWOT
from automl_kd.proxies.activations.swap import SWAP, SWAP_REGULARISED
from automl_kd.proxies.activations.zen import ZEN
from automl_kd.proxies.aggregate import Aggregate, parse_aggregate, require_aggregate
from automl_kd.proxies.base import ProxyEntry
from automl_kd.proxies.counts.l2_norm import L2_NORM
from automl_kd.proxies.counts.live_convolutions import LIVE_CONV_COUNT, LIVE_CONV_WEIGHTS
from automl_kd.proxies.counts.longest_path import LONGEST_PATH
from automl_kd.proxies.counts.macs import MACS
from automl_kd.proxies.counts.params import PARAMS
from automl_kd.proxies.functions import ProxyCallable, describe_proxies
from automl_kd.proxies.gradients.epe_nas import EPE_NAS
from automl_kd.proxies.gradients.fisher import FISHER
from automl_kd.proxies.gradients.grad_norm import GRAD_NORM
from automl_kd.proxies.gradients.gradsign import GRADSIGN
from automl_kd.proxies.gradients.grasp import GRASP
from automl_kd.proxies.gradients.jacob_cov import JACOB_COV
from automl_kd.proxies.gradients.logsynflow import LOGSYNFLOW
from automl_kd.proxies.gradients.ntk_condition import NTK_CONDITION
from automl_kd.proxies.gradients.plain import PLAIN_PROXY
from automl_kd.proxies.gradients.snip import SNIP
from automl_kd.proxies.gradients.synflow import SYNFLOW
from automl_kd.proxies.gradients.vkdnw import VKDNW
from automl_kd.proxies.gradients.zico import ZICO
from automl_kd.proxies.teacher.diswot import RELATION, SEMANTIC
from automl_kd.proxies.teacher.kd_losses import KD_LOSSES
from automl_kd.registry import lookup, name_type

PROXIES: Mapping[str, ProxyEntry] = {
    "params": ProxyEntry(proxy=PARAMS, source="the number of parameters"),
    "macs": ProxyEntry(proxy=MACS, source="the number of multiply-adds"),
    "live_conv_weights": ProxyEntry(proxy=LIVE_CONV_WEIGHTS, source="the number of weights of convolutions"),
    "live_conv_count": ProxyEntry(proxy=LIVE_CONV_COUNT, source="the number of convolutions"),
    "longest_path": ProxyEntry(proxy=LONGEST_PATH, source="the most convolutions in a row"),
    "gradsign": ProxyEntry(proxy=GRADSIGN, source="Zhang, Jia 2022, arXiv:2110.08616"),
    "ntk_condition": ProxyEntry(proxy=NTK_CONDITION, source="Chen et al. 2021, arXiv:2102.11535"),
    "vkdnw": ProxyEntry(proxy=VKDNW, source="Tybl, Neumann 2025, arXiv:2502.04975"),
    "l2_norm": ProxyEntry(proxy=L2_NORM, source="Abdelfattah et al. 2021, arXiv:2101.08134"),
    "grad_norm": ProxyEntry(proxy=GRAD_NORM, source="Abdelfattah et al. 2021, arXiv:2101.08134"),
    "plain": ProxyEntry(proxy=PLAIN_PROXY, source="Abdelfattah et al. 2021, arXiv:2101.08134"),
    "snip": ProxyEntry(proxy=SNIP, source="Lee et al. 2019, arXiv:1810.02340"),
    "fisher": ProxyEntry(proxy=FISHER, source="Turner et al. 2020, arXiv:1906.04113"),
    "grasp": ProxyEntry(proxy=GRASP, source="Wang et al. 2020, arXiv:2002.07376"),
    "zico": ProxyEntry(proxy=ZICO, source="Li et al. 2023, arXiv:2301.11300"),
    "jacob_cov": ProxyEntry(proxy=JACOB_COV, source="Mellor et al. 2020, arXiv:2006.04647v1"),
    "epe_nas": ProxyEntry(proxy=EPE_NAS, source="Lopes et al. 2021, arXiv:2102.08099"),
    "naswot": ProxyEntry(proxy=NASWOT, source="Mellor et al. 2021, arXiv:2006.04647"),
    "swap": ProxyEntry(proxy=SWAP, source="Peng et al. 2024, arXiv:2403.04161", initialisation="normal"),
    "swap_regularised": ProxyEntry(
        proxy=SWAP_REGULARISED, source="Peng et al. 2024, arXiv:2403.04161", initialisation="normal"
    ),
    "linear_regions": ProxyEntry(
        proxy=LINEAR_REGIONS, source="Chen et al. 2021, arXiv:2102.11535", initialisation="normal"
    ),
    "meco": ProxyEntry(proxy=MECO, source="Jiang et al. 2023, NeurIPS"),
    "meco_opt": ProxyEntry(proxy=MECO_OPT, source="Jiang et al. 2023, NeurIPS"),
    "zen": ProxyEntry(proxy=ZEN, source="Lin et al. 2021, arXiv:2102.01063", initialisation="normal"),
    "az_expressivity": ProxyEntry(
        proxy=AZ_EXPRESSIVITY, source="Lee, Ham 2024, arXiv:2403.19232", initialisation="normal"
    ),
    "az_progressivity": ProxyEntry(
        proxy=AZ_PROGRESSIVITY, source="Lee, Ham 2024, arXiv:2403.19232", initialisation="normal"
    ),
    "az_trainability": ProxyEntry(
        proxy=AZ_TRAINABILITY, source="Lee, Ham 2024, arXiv:2403.19232", initialisation="normal"
    ),
    "synflow": ProxyEntry(proxy=SYNFLOW, source="Tanaka et al. 2020, arXiv:2006.05467"),
    "logsynflow": ProxyEntry(proxy=LOGSYNFLOW, source="Cavagnero et al. 2023, arXiv:2207.05135"),
    "diswot_relation": ProxyEntry(
        proxy=RELATION, source="Dong et al. 2023, arXiv:2303.15678", initialisation="normal", needs_teacher=True
    ),
    "diswot_semantic": ProxyEntry(
        proxy=SEMANTIC, source="Dong et al. 2023, arXiv:2303.15678", initialisation="normal", needs_teacher=True
    ),
    **KD_LOSSES,
}

AGGREGATES: Mapping[str, Aggregate] = {
    "diswot": Aggregate("rank_sum", ("diswot_relation", "diswot_semantic")),
    "az_nas": Aggregate("log_rank_sum", ("az_expressivity", "az_progressivity", "az_trainability", "macs")),
    "found_nb201": require_aggregate(
        "log_rank_sum(0.5*max(kd_fitnet;0.5)+2*meco+0.5*min(kd_nst;diswot_relation)+min(kd_pkt;linear_regions))"
    ),
}
"""Aggregates with a name; others are written out, as "rank_sum(naswot+synflow)" or "log_rank_sum(naswot+macs)".

The code released with DisWOT adds the two similarities themselves in its ranking script. The relation is some hundred
times smaller, so that sum ranks almost as the semantic similarity does alone; with ranks both count.

"found_nb201" is ours: what `benchmarks/nasbench201_proxy.toml` found with 1,000 labels of CIFAR-10 on NAS-Bench-201.
Kendall there is 0.826 on CIFAR-10, 0.814 on CIFAR-100 and 0.767 on ImageNet16-120, which had no part in the choice;
most of it is meco, which alone and without labels has 0.798, 0.765 and 0.742. It was not tried on other cells. The same
search over scores made anew, some of which differ in last digits, found another formula, of 0.835, 0.815 and 0.772. It
does worse on DisWOT's ResNets (0.534 against 0.609); the page in `benchmarks/leaderboards/` has both.
"""


def aggregate_of(name: str) -> Aggregate | None:
    """The aggregate that `name` stands for, in the table or written out; None if it is a single proxy's."""
    return AGGREGATES.get(name) or parse_aggregate(name)


def expand_proxies(names: Iterable[str]) -> tuple[str, ...]:
    """The proxies behind `names`, each once: aggregates by their members. `UnknownNameError` for a name of neither."""
    members: dict[str, None] = {}
    for name in names:
        aggregate = aggregate_of(name)
        for member in (name,) if aggregate is None else aggregate.members:
            lookup({**dict.fromkeys(AGGREGATES if aggregate is None else ()), **PROXIES}, member, "proxy")
            members[member] = None
    return tuple(members)


def proxy_entry(name: str) -> ProxyEntry:
    """The table's entry, or the one that `module:attribute` refers to; `ConfigError` if that is something else."""
    found: object = lookup(PROXIES, name, "proxy")
    if not isinstance(found, ProxyEntry):
        raise ConfigError(
            f"{name!r} is {name_type(found)}, and a ProxyEntry was wanted; "
            "wrap the function as ProxyEntry(proxy=function, source=...) and name that"
        )
    return found


PROXY_FUNCTIONS = describe_proxies(PROXIES)


def __getattr__(name: str) -> ProxyCallable:
    """A proxy as a plain function."""
    if name not in PROXY_FUNCTIONS:
        raise AttributeError(f"module 'automl_kd.proxies' has no attribute {name!r}")
    return PROXY_FUNCTIONS[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *PROXY_FUNCTIONS})
