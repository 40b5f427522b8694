"""The search for a student inside its teacher: weights and factors of the super-graph, trained together.

Jindong Gu, Volker Tresp. Search for Better Students to Learn Distilled Knowledge. 2020. arXiv:2001.11612. The
objective, KL(teacher || super-graph) + lambda1 |w|_2 + lambda2 sum_j alpha_j |g_j|_1, is known from the abstract and
from a survey's quotation. The body of the paper could not be recovered: where the factors multiply, the proximal steps,
alpha as relative cost, schedules and all constants are our reconstruction, and options. The student's loss is computed
at a temperature and multiplied by its square.

A factor whose layer is followed by batch normalisation has no scale: all factors of the layer could shrink together for
free, down to a dead network. Remedy "frozen" gives them one: normalisation keeps the teacher's statistics and weights,
so what shrinks is missed. Remedies "mean" and "max" keep batch statistics and hold each layer's mean or largest factor
at one. These undo what the penalty does to all channels equally, so a channel that nothing depends on falls only once
it is already below the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.config import Budget
from automl_kd.data import Batch, Dataset
from automl_kd.errors import DivergedError
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.methods.subgraph.budget import PartScores, within_countable_budget
from automl_kd.methods.subgraph.factors import Measure, SubgraphFactors, alphas, part_costs
from automl_kd.methods.subgraph.options import SearchOptions
from automl_kd.models.pruning.coupling import Coupling
from automl_kd.models.pruning.surgery import attach, fold_gates
from automl_kd.spec import Recipe
from automl_kd.tasks.soft_targets import kd_loss
from automl_kd.teacher_cache.cached_teacher import TeacherOutputs
from automl_kd.training import checkpoint, loop, training_run
from automl_kd.training.optimizers import learning_rate

CHECKPOINT_FILE = checkpoint.SEARCH_FILE

TRAVEL = 2.0
"""How far the penalty alone moves a factor of average cost in a search, which begins at one: a fixed strength, as 0.01,
moved none further than 0.009 in 94 steps.
"""

BUDGET_STEPS = 10
"""Between two looks at what is not zero: with one an epoch a strong penalty left a fifth of the budget used."""


class SubgraphSearchRun:
    """A search under way: `run` holds the super-graph, its optimizer and how far it has come.

    `budget`: the smallest that a student is wanted for; while the parts that are not zero fit it, nothing is penalised.
    `multiplier`: how far the penalty has grown. `relative_costs`: the alphas since the last look. `cache_stats`: as of
    `TrainingRun`.
    """

    def __init__(
        self,
        model: nn.Module,
        ask_teacher: TeacherOutputs,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        *,
        coupling: Coupling,
        options: SearchOptions,
        budget: Budget,
        least: Mapping[str, int],
        cache_stats: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        prepare(model, options)
        self.ask_teacher, self.coupling, self.options, self.budget = ask_teacher, coupling, options, budget
        self.run = training_run.TrainingRun(model, dataset, recipe, seed, cache_stats=cache_stats)
        self.factors = SubgraphFactors(coupling, options.kinds, least, self.run.device)
        self.gates: dict[str, Tensor] = {}
        self.relative_costs: Tensor | None = None
        self.multiplier = 1.0
        # Where only a latency is limited, nobody measures it in between: the penalty neither grows nor rests.
        self.countable = bool(budget.params or budget.macs)
        self.measure: Measure = "params" if budget.params and not budget.macs else "macs"
        self.strength = options.strength or TRAVEL / self.reach()

    def reach(self) -> float:
        """How far a penalty of one would move a factor in the whole search, up to the steps' schedule."""
        recipe, steps = self.run.recipe, self.run.steps
        total = sum(learning_rate(recipe, step, steps) for step in range(recipe.total_steps(steps)))
        return self.options.rate * total / self.options.search_lr

    def state(self) -> checkpoint.State:
        state = {"run": self.run.state(), "factors": self.factors.state(), "multiplier": self.multiplier}
        return state if self.relative_costs is None else {**state, "relative_costs": self.relative_costs}

    def restore(self, state: checkpoint.State) -> None:
        self.run.restore(state["run"])
        self.factors.restore(state["factors"])
        self.multiplier, self.relative_costs = state["multiplier"], state.get("relative_costs")

    def finish(self, folder: Path, checkpoint_minutes: float = 0.0) -> PartScores:
        """Search to the end, continuing from `folder` if something is there; the last state stays there.

        At the end the factors are multiplied into the super-graph's weights, which then need no gates. Parts that are
        zero keep their weights: what fills a budget may be among them, and would be dead.
        `checkpoint_minutes`: as for `fit_student`.
        """
        checkpoints = checkpoint.Checkpoints(folder / CHECKPOINT_FILE, self.state, checkpoint_minutes)
        if (state := checkpoint.load_checkpoint(checkpoints.path, self.run.device)) is not None:
            self.restore(state)
        epochs = self.run.recipe.epochs
        with self.gated():
            for epoch in range(len(self.run.history) + 1, epochs + 1):
                self.epoch(epoch, checkpoints)
                if epoch == epochs or checkpoints.seconds_unsaved() > loop.SAVE_SECONDS:
                    checkpoints.save()
        found = score_parts(self.factors, self.run.student, self.options, self.measure)
        gates = {name: gate.detach() for name, gate in self.factors.gates().items()}
        fold_gates(
            self.run.student, self.coupling, {name: torch.where(gate > 0, gate, 1) for name, gate in gates.items()}
        )
        return found

    @contextmanager
    def gated(self) -> Iterator[None]:
        handles = attach(self.run.student, self.coupling, self.gates)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def epoch(self, epoch: int, checkpoints: checkpoint.Checkpoints | None = None) -> None:
        """One pass over the training images, or the rest of one."""
        run = self.run
        set_mode(run.student, self.options)
        loss = run.pass_over(epoch, self.step, checkpoints, self.refuse)
        distributed.average(run.student.buffers())
        run.sound.refuse(epoch)
        strength, cost = self.strength * self.multiplier, self.coupling.cost(self.factors.alive())
        if self.countable and not within_countable_budget(cost, self.budget):
            self.multiplier *= self.options.growth
        run.end_epoch({"train_loss": loss, "strength": strength, "params": cost.params, "macs": cost.macs})
        self.relative_costs = None

    def refuse(self, loss: Tensor, epoch: int) -> None:
        refuse_nonfinite_search("loss", loss, epoch)
        refuse_nonfinite_search("sum of factors", self.factors.values.detach().sum(), epoch)

    def weights(self) -> Tensor:
        """The alphas (parts,) at the widths of what is not zero; zeros while that fits the budget.

        Without the penalty, factors of parts that are missed return, and parts that are not stay where they are.
        """
        alive = self.factors.alive()
        by_cost = self.options.alpha == "cost"
        weights = (
            alphas(self.factors, alive, self.measure) if by_cost else torch.ones_like(self.factors.values.detach())
        )
        met = self.countable and within_countable_budget(self.coupling.cost(alive), self.budget)
        return torch.zeros_like(weights) if met else weights

    @property
    def removed(self) -> int:
        """Parts whose factor is zero; waits for the device."""
        return int((self.factors.values.detach() == 0).sum())

    def step(self, batch: Batch, step: int) -> Tensor:
        """Weights by the optimizer, factors by a proximal step, both from the gradient at the same point."""
        run, options = self.run, self.options
        if self.relative_costs is None or step % BUDGET_STEPS == 0:
            self.relative_costs = self.weights()
        rate = learning_rate(run.recipe, step, run.steps)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        loss = run.differentiate(self.objective, batch)
        run.advance()  # clips the weights' gradients alone: the factors are not among them
        assert self.factors.values.grad is not None
        self.factors.values.grad = distributed.mean_over_group(self.factors.values.grad)
        penalty = self.strength_at(step) * self.relative_costs
        # The factors' step falls with the weights' schedule.
        size = options.rate * rate / options.search_lr
        self.factors.step(size, penalty, options.remedy, accelerate=options.proximal == "apg")
        return loss

    def objective(self, batch: Batch) -> Tensor:
        self.gates.update(self.factors.gates())
        teacher_out = self.ask_teacher(batch).logits
        logits = self.run.student(batch.inputs)
        loss = kd_loss(logits.float(), teacher_out.float(), self.options.search_temperature)
        if self.options.search_ce:
            loss = loss + self.options.search_ce * label_loss(logits, batch)
        return loss

    def strength_at(self, step: int) -> float:
        """lambda2: rising linearly at first, then by epochs."""
        rising = self.options.ramp * self.run.recipe.total_steps(self.run.steps)
        return self.strength * self.multiplier * min(1.0, (step + 1) / max(rising, 1.0))


def prepare(model: nn.Module, options: SearchOptions) -> None:
    """Which weights are trained: normalisation's never, or it would undo the factors; the others as asked."""
    model.requires_grad_(options.weights != "frozen")
    for norm in norms(model):
        if norm.affine:
            norm.weight.requires_grad_(False)


def set_mode(model: nn.Module, options: SearchOptions) -> None:
    model.train()
    if options.remedy == "frozen":
        for norm in norms(model):
            norm.eval()


def norms(model: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def refuse_nonfinite_search(name: str, value: Tensor, epoch: int) -> None:
    if not math.isfinite(value.item()):
        raise DivergedError(f"the search's {name} became {value.item()} in epoch {epoch}; lower search_lr or rate")


def score_parts(factors: SubgraphFactors, model: nn.Module, options: SearchOptions, measure: Measure) -> PartScores:
    """What each part is worth by `options.score`; parts without a factor are kept before all others."""
    coupling, alive = factors.coupling, factors.alive()
    values = factors.values.detach()
    if options.score == "taylor":
        values = factors.taylor * (values > 0) / part_costs(factors, coupling.whole, measure).clamp(min=1)
    parts = dict(zip(factors.names, torch.split(values.cpu().double(), factors.sizes), strict=True))
    channels = {}
    for group in coupling.free:
        found = parts.get(group.name, torch.full((group.size,), math.inf, dtype=torch.float64))
        if options.score == "norm" and group.name in parts:
            found = found * norm_weights(model, coupling, group.name)
        rescaled = options.score != "taylor" and group.name in parts
        channels[group.name] = found / found.mean() if rescaled and found.any() else found
    blocks = dict.fromkeys(coupling.blocks, math.inf)
    for name, block in coupling.blocks.items():
        for part in (name, block.stage):
            if part in parts:
                blocks[name] = parts[part].item() * (1 if math.isinf(blocks[name]) else blocks[name])
    top = [value for value in blocks.values() if not math.isinf(value)]
    if top and options.score != "taylor" and (mean := sum(top) / len(top)):
        blocks = {name: value / mean for name, value in blocks.items()}
    return PartScores(channels, {name: 0.0 if name in alive.removed else value for name, value in blocks.items()})


def norm_weights(model: nn.Module, coupling: Coupling, group: str) -> Tensor:
    """|gamma| of a group's channels, averaged over its normalisation layers; ones if it has none."""
    weights = [
        module.weight.detach().abs().cpu().double()
        for module in (model.get_submodule(layer.name) for layer in coupling.touching[group])
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine
    ]
    return torch.stack(weights).mean(dim=0) if weights else torch.ones(coupling.groups[group].size).double()
