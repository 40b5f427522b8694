"""TPE: the tree-structured Parzen estimator, as Optuna implements it.

Bergstra, Bardenet, Bengio, Kégl. Algorithms for Hyper-Parameter Optimization. Advances in Neural Information
Processing Systems 24, 2011, section 4.

An Optuna study and its sampler normally carry state from one question to the next. Here a study is made from the
outcomes, in order of their index, and a fresh sampler, seeded from (seed, index, draw), proposes directly. A proposal
adds nothing to the study, so there are no running trials to report and none to discard.

Asked again about the same outcomes, the best of many draws from the density of good points is mostly the same point, of
no use where the first candidate was ruled out. So the number of those draws falls with the candidate's number.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_kd.errors import ConfigError
from automl_kd.samplers.base import SearchObjective, require_single
from automl_kd.samplers.history import History, Observation, judge_outcome
from automl_kd.space import Architecture, Choice, Domain, FloatRange, Scalar, SearchSpace, is_active
from automl_kd.spec import Outcome


@dataclass(frozen=True, eq=False)
class TPE:
    """Tree-structured Parzen estimator of Optuna (Bergstra et al. 2011, Neural Information Processing Systems 24).

    `startup`, at least 1: proposals are random until there are so many outcomes. `candidates`, at least 1: of so many
    draws from the density of good points, the one with the highest ratio of densities is proposed as draw 0, and of
    `candidates // (draw + 1)` of them, but one at least, as a later draw.
    """

    space: SearchSpace
    objectives: Sequence[SearchObjective]
    seed: int
    startup: int = 10
    candidates: int = 24
    history: History = field(default_factory=History, init=False, repr=False)

    def __post_init__(self) -> None:
        require_single(self.objectives, "tpe")
        if min(self.startup, self.candidates) < 1:
            raise ConfigError(
                f"sampler 'tpe' got startup {self.startup} and candidates {self.candidates}; choose at least 1 for both"
            )

    def ask(self, index: int, draw: int = 0) -> Architecture:
        with silence_optuna():
            return self.propose(index, draw)

    def propose(self, index: int, draw: int) -> Architecture:
        study = self.history.derive(self.study)
        sampler = self.sampler(index, draw)
        question = create_trial(state=TrialState.RUNNING)
        joint = sampler.sample_relative(study, question, sampler.infer_relative_search_space(study, question))
        values: dict[str, Scalar] = {}
        for name, parameter in self.space.parameters.items():
            if not is_active(parameter, values):
                continue
            distribution = distribution_of(parameter.domain)
            if name in joint:
                value = joint[name]
            elif distribution.single():
                value = single_option(parameter.domain)
            else:
                value = sampler.sample_independent(study, question, name, distribution)
            values[name] = clip_to_domain(parameter.domain, value)
        return Architecture.of(values)

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        self.history.add(index, judge_outcome(index, architecture, outcome, self.objectives))

    def sampler(self, index: int, draw: int) -> optuna.samplers.TPESampler:
        """Of all parameters jointly. Each choice is named, since versions of Optuna have other defaults.

        `constant_liar` off: it is about running trials, of which the study has none. `group` off: parameters that some
        points lack are drawn each by itself.
        """
        state = np.random.SeedSequence([self.seed, index, draw]).generate_state(1)
        return optuna.samplers.TPESampler(
            seed=int(state[0]),
            n_startup_trials=self.startup,
            n_ei_candidates=max(1, self.candidates // (draw + 1)),
            multivariate=True,
            group=False,
            constant_liar=False,
        )

    def study(self, observed: Sequence[Observation]) -> optuna.Study:
        with silence_optuna():
            study = optuna.create_study(direction="minimize")
        study.add_trials([self.trial(one) for one in observed])
        return study

    def trial(self, observed: Observation) -> FrozenTrial:
        """Optuna ranks pruned trials behind complete ones, by how far they came and then by their last value."""
        params = observed.architecture.as_dict()
        distributions = {name: distribution_of(self.space.parameters[name].domain) for name in params}
        (loss,) = observed.losses
        if observed.stopped is None:
            return create_trial(state=TrialState.COMPLETE, params=params, distributions=distributions, value=loss)
        return create_trial(
            state=TrialState.PRUNED,
            params=params,
            distributions=distributions,
            intermediate_values={observed.stopped: loss},
        )


def distribution_of(domain: Domain) -> BaseDistribution:
    """Optuna's word for a domain. Its integer ranges must end on a multiple of the step."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.options)
    if isinstance(domain, FloatRange):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    return IntDistribution(domain.low, domain.options[-1], step=domain.step)


def single_option(domain: Domain) -> Scalar:
    assert not isinstance(domain, FloatRange)
    return domain.options[0]


def clip_to_domain(domain: Domain, value: Scalar) -> Scalar:
    """`value` as the space has it: a logarithmic range may be left by a rounding error."""
    if isinstance(domain, FloatRange):
        return float(min(max(float(value), domain.low), domain.high))
    return value


@contextmanager
def silence_optuna() -> Iterator[None]:
    """Silences the line that Optuna logs for each new study, and version 4's warning on joint sampling."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
