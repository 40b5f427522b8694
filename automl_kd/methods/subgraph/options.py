"""How the search inside a teacher goes: its options, apart from the search so that a method can have them as fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from automl_kd.methods.subgraph.factors import FactorKind, Remedy
from automl_kd.registry import check_fields
from automl_kd.spec import Recipe, require

FACTOR_KINDS: tuple[FactorKind, ...] = ("channel", "block", "stage")


@dataclass(frozen=True)
class SearchOptions:
    """How factors are found.

    `share`: epochs of the search, as a fraction of the recipe's, above 0; they come before these.
    `granularity`: which factors, of channel, block and stage, joined by "+".
    `weights`: "frozen" keeps the teacher's; "teacher" trains on from them, "random" from a fresh network.
    `remedy`: against the missing scale of factors before batch normalisation. `proximal`: "ista" or accelerated, "apg".
    `strength`: lambda2; 0 takes what moves a factor of average cost by two in the search, where one is the way to
    zero. It rises from zero over the fraction `ramp` of the steps, then by the factor `growth` with every epoch in
    which what is not zero does not fit the budget; while it fits, the penalty rests.
    `alpha`: the weights in the penalty: "equal", so that what stays is what is missed most, or a part's "cost" over the
    mean of its kind. By cost a short search takes the costly parts, as all that runs at full resolution, whatever they
    are worth: on CIFAR-10 at 16 pixels, resnet20, it left four of 16 channels to the whole first stage.
    `rate`: step of the factors; "apg" goes about ten times as far with each, so take a tenth. `search_lr`, `decay`:
    step of the weights and lambda1; small, as nothing normalises while statistics are frozen.
    `search_temperature`: of the objective; `search_ce`: weight of the labels in it.
    `score`: by which parts are ranked: "factor", "norm" (times the weights of normalisation), both over the layer's
    mean; or "taylor", |g dKL/dg| for its cost.
    """

    share: float = 0.25
    granularity: str = "channel+block"
    weights: Literal["frozen", "teacher", "random"] = "teacher"
    remedy: Remedy = "frozen"
    proximal: Literal["ista", "apg"] = "ista"
    strength: float = 0.0
    alpha: Literal["equal", "cost"] = "equal"
    ramp: float = 0.15
    growth: float = 1.5
    rate: float = 0.02
    search_lr: float = 1e-3
    decay: float = 5e-4
    search_temperature: float = 4.0
    search_ce: float = 0.0
    score: Literal["factor", "norm", "taylor"] = "factor"

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.share > 0, f"share must be above 0, got {self.share}")
        kinds = self.granularity.split("+")
        require(
            set(kinds) <= set(FACTOR_KINDS) and len(set(kinds)) == len(kinds),
            f"granularity joins some of {', '.join(FACTOR_KINDS)} by '+', got {self.granularity!r}",
        )
        require(0 <= self.ramp <= 1, f"ramp must lie in [0, 1], got {self.ramp}")
        require(self.growth >= 1, f"growth must be 1 (none) or more, got {self.growth}")
        require(self.rate > 0 and self.search_lr > 0, "rate and search_lr must be above 0")
        require(min(self.strength, self.decay, self.search_ce) >= 0, "strength, decay and search_ce must be 0 or more")
        require(self.search_temperature > 0, f"search_temperature must be above 0, got {self.search_temperature}")
        require(
            self.weights != "random" or self.remedy != "frozen",
            'weights = "random" have no statistics to keep; set remedy = "mean" or "max"',
        )

    @property
    def kinds(self) -> frozenset[FactorKind]:
        return frozenset(kind for kind in FACTOR_KINDS if kind in self.granularity.split("+"))

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe of the search: the trial's data and schedule, its own length, rate and decay."""
        return replace(
            recipe.stretched(self.share),
            optimizer="sgd",
            lr=self.search_lr,
            weight_decay=self.decay,
            schedule="cosine",
            warmup=0.0,
            ema=0.0,
        )
