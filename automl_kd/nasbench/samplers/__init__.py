"""Samplers for a table of measured architectures, with hundreds of seeds stepped together.

The samplers of `automl_kd.samplers` again, in numpy over seeds, because a look-up costs less than one proposal of a
sampler. After the same outcomes they propose the same, with the same probabilities (tested); local search does so until
it knows all neighbours of its best point, NSGA-II at the end of each generation. A seed's run depends on its seed and
the settings alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, get_type_hints

from automl_kd.errors import ConfigError
from automl_kd.nasbench.samplers.batched_session import NOTHING, BatchedHistory, BatchedSession, Guidance
from automl_kd.nasbench.samplers.bench import Bench
from automl_kd.nasbench.samplers.draws import SeededDraws
from automl_kd.nasbench.samplers.evolution import Evolution, Scalarised
from automl_kd.nasbench.samplers.gaussian_process import GaussianProcess
from automl_kd.nasbench.samplers.halving import Asha, Halving
from automl_kd.nasbench.samplers.local_search import BatchedLocalSearch
from automl_kd.nasbench.samplers.nsga2 import BatchedNSGA2
from automl_kd.nasbench.samplers.random_search import Random
from automl_kd.nasbench.samplers.tpe import BatchedTPE
from automl_kd.registry import suggestion
from automl_kd.samplers import fits_option
from automl_kd.space import Scalar

__all__ = [
    "NOTHING",
    "PAIRS",
    "TABLE_SAMPLERS",
    "BatchedHistory",
    "Bench",
    "Guidance",
    "TableSampler",
    "explore",
    "make_table_sampler",
]


class TableSampler(Protocol):
    """A sampler of tables. It must not keep anything between runs, nor read accuracies of other trials."""

    def run(self, session: BatchedSession) -> None:
        """Run trials until the session closes."""


TABLE_SAMPLERS: Mapping[str, Callable[..., TableSampler]] = {
    "random": Random,
    "local": BatchedLocalSearch,
    "evolution": Evolution,
    "tpe": BatchedTPE,
    "gp": GaussianProcess,
    "asha": Asha,
    "halving": Halving,
    "nsga2": BatchedNSGA2,
    "scalarised": Scalarised,
}
"""Each is a frozen dataclass whose fields are its options."""

PAIRS = ("random", "nsga2", "scalarised")
"""Samplers that can follow accuracy and latency together; the last two need a latency."""


def make_table_sampler(name: str, options: Mapping[str, Scalar]) -> TableSampler:
    """The sampler called `name`; `ConfigError` for an unknown one, and for options it has not or that do not fit."""
    if name not in TABLE_SAMPLERS:
        raise ConfigError(f"no sampler of tables is called {name!r}; {suggestion(name, TABLE_SAMPLERS)}")
    hints = {option: kind for option, kind in get_type_hints(TABLE_SAMPLERS[name]).items() if option in fields_of(name)}
    for option, value in options.items():
        if option not in hints:
            hint = suggestion(option, hints) if hints else "it has none"
            raise ConfigError(f"sampler {name!r} has no option {option!r}; {hint}")
        if not fits_option(value, hints[option]):
            raise ConfigError(
                f"option {option!r} of sampler {name!r} is {value!r}; write it as {hints[option].__name__}"
            )
    try:
        return TABLE_SAMPLERS[name](**options)
    except ValueError as error:
        raise ConfigError(f"sampler {name!r} cannot run: {error}") from error


def fields_of(name: str) -> tuple[str, ...]:
    return tuple(getattr(TABLE_SAMPLERS[name], "__dataclass_fields__", {}))


def explore(
    searcher: TableSampler,
    bench: Bench,
    seeds: Sequence[int],
    queries: int,
    *,
    seconds: float = float("inf"),
    guidance: Guidance | None = None,
) -> BatchedHistory:
    """Run `searcher` with every one of `seeds`: at most `queries` trials each, and `seconds` of simulated time."""
    session = BatchedSession(bench, SeededDraws(seeds), queries, seconds=seconds, guidance=guidance)
    searcher.run(session)
    return session.history()
